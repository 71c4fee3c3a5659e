"""Streams over packs: one request for a run of recordings, the same recordings, and what a removal leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import securedata as sd
from securedata.storage.base import Download, Wanted
from securedata.storage.local import LocalStorage
from tests.kit.corpora.recorded import Root, flip, make_corpus, remove_paths
from tests.kit.sources.recordings import clip

MANY = 60


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = make_corpus(tmp_path, [clip(f"u{n}.wav", 0.05, seed=n) for n in range(MANY)])
    assert sd.pack(made).objects == MANY
    return made


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """The ranges of packs that storage was asked for."""
    seen: list[Wanted] = []
    real = LocalStorage.start

    def note(self: LocalStorage, wanted: Sequence[Wanted], in_flight: int) -> Download:
        seen.extend(one for one in wanted if one.key.startswith("packs/"))
        return real(self, wanted, in_flight)

    monkeypatch.setattr(LocalStorage, "start", note)
    return seen


def test_run_of_recordings_is_one_request(root: Root, requests: list[Wanted]) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        samples = {sample.utterance: sample.waveform.numpy() for sample in stream}
    assert len(requests) == 1
    assert all(np.array_equal(samples[one.path.removesuffix(".wav")], one.audio) for one in root.clips)


def test_blocks_are_shuffled_in_the_window(root: Root, requests: list[Wanted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.torch.stream.base.BLOCK_BYTES", 16_000)
    monkeypatch.setattr("securedata.torch.stream.reading.BLOCK_BYTES", 16_000)
    with sd.EncryptedAudioStream(root, shuffle=32_000) as stream:
        heard = [sample.utterance for sample in stream]
        assert stream._state.origins[0].block in (9, 10)
    assert sorted(heard) == sorted(f"u{n}" for n in range(MANY))
    assert len(requests) < 12  # 7 blocks; two that touch can become one
    with sd.EncryptedAudioStream(root, shuffle=32_000) as stream:
        running = iter(stream)
        first = [next(running).utterance for _ in range(25)]
        stream.load_state_dict(stream.state_dict())
        assert sorted(first + [sample.utterance for sample in stream]) == sorted(heard)


def test_hole_of_a_removed_recording_is_read_over(root: Root, requests: list[Wanted]) -> None:
    remove_paths(root, ["u3.wav", "u30.wav"])
    with sd.EncryptedAudioStream(root) as stream:
        assert len({sample.utterance for sample in stream}) == MANY - 2
    assert len(requests) == 1


def test_cut_pack_is_an_error_that_says_so(root: Root) -> None:
    [pack] = [path for path in Path(root, "packs").rglob("*") if path.is_file()]
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.truncate(pack.stat().st_size - 100)
    with sd.EncryptedAudioStream(root) as stream, pytest.raises(sd.errors.Truncated, match="was cut or extended"):
        list(stream)


def test_damaged_block_in_the_cache_is_fetched_again(root: Root, tmp_path: Path, requests: list[Wanted]) -> None:
    with sd.EncryptedAudioStream(root, cache=tmp_path / "cache") as stream:
        assert len(list(stream)) == MANY
        assert len(list(stream)) == MANY
        assert len(requests) == 1  # the block is in the cache
        [entry] = [path for path in (tmp_path / "cache").rglob("*") if path.stat().st_size > MANY * 1_600]
        flip(entry, 0.5)
        samples = {sample.utterance: sample.waveform.numpy() for sample in stream}
        assert all(np.array_equal(samples[one.path.removesuffix(".wav")], one.audio) for one in root.clips)
        assert not entry.exists()
