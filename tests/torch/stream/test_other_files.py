"""Files that are no recordings, among them: streams of audio leave them out, whether or not the head counts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.parts.reader import PartwiseCorpus
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import Clip, clip

NAMES = sorted(f"u{n}" for n in range(21))
OTHER = {"format": "", "subtype": "", "sample_rate": 0, "channels": 0, "frames": 0, "media_type": "application/json"}


def others(*names: str) -> list[Clip]:
    return [Clip(f"{name}.json", b"{}", "person", columns=OTHER) for name in names]


def clips(names: list[str]) -> list[Clip]:
    return [clip(f"{name}.wav", 0.02, speaker="person") for name in names]


def make(tmp_path: Path) -> Root:
    root = make_corpus(tmp_path, clips(NAMES[:13]) + others("a", "b", "c", "d", "e"))
    add_clips(root, others("f", "g"))
    add_clips(root, clips(NAMES[13:]) + others("h"))
    return root


def names(samples: Any) -> list[str]:
    return [sample.utterance for sample in samples]


def go_on_with_two_ranks(root: Root) -> list[str]:
    """An epoch that is interrupted, with what its loop was given."""
    heard: list[str] = []
    with sd.EncryptedAudioStream(root) as stream:
        loader = DataLoader(stream, batch_size=2, num_workers=2, multiprocessing_context="fork", collate_fn=names)
        for step, batch in enumerate(loader, 1):
            heard += batch
            if step == 3:
                break
        state = json.loads(json.dumps(stream.state_dict(loader, 3)))
    lengths = []
    for rank in range(2):
        with sd.EncryptedAudioStream(root, rank=rank, world=2, uneven="pad") as stream:
            stream.load_state_dict(state)
            rest = names(stream)
            assert len(rest) == len(stream)
            lengths.append(len(rest))
            heard += rest
    assert lengths == [8, 8]  # 15 are left
    return heard


def test_recordings_alone_come_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path)
    read: list[int] = []
    real = PartwiseCorpus._read_parts

    def note(self: PartwiseCorpus, numbers: Any, columns: Any) -> Any:
        read.extend(numbers)
        return real(self, numbers, columns)

    monkeypatch.setattr(PartwiseCorpus, "_read_parts", note)
    with sd.EncryptedAudioStream(root) as stream:
        assert len(read) == 1  # as without other files
        assert len(stream) == len(NAMES)
        assert stream.stats().other_files == 8
        assert "21 recordings, 8 other files left out" in repr(stream)
        assert sorted(names(stream)) == NAMES
        [entry] = stream.lineage().entries
        assert entry.rows == len(NAMES)
    heard = go_on_with_two_ranks(root)
    assert sorted(set(heard)) == NAMES
    assert len(heard) == len(NAMES) + 1
    with sd.EncryptedAudioStream(root, speaker="person", split="") as exact:
        assert (len(exact), exact.stats().other_files) == (len(NAMES), 8)
        exact.load_state_dict(sd.EncryptedAudioStream(root).state_dict())  # the same rows, however they were counted
    with sd.EncryptedStream(root) as every:
        assert len(list(every)) == len(every) == len(NAMES) + 8
        assert every.stats().other_files == 0


def test_a_head_that_does_not_count_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("securedata.corpus.state.tables.count_others", lambda table: 0)
        root = make(tmp_path)
    with sd.EncryptedAudioStream(root) as stream:
        running = iter(stream)
        heard = [next(running).utterance for _ in range(9)]
        state = stream.with_objects(stream.state_dict())
        stream.load_state_dict(state)
        assert sorted(heard + names(stream)) == NAMES
