"""Streams that are pickled for another process: which rank they are of, and how they go on over a newer corpus."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

import securedata as sd
from securedata.errors import GenerationChanged
from securedata.torch.stream.opened import marks_of
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.sources.recordings import clip

MANY = 12


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"u{n}.wav", 0.02, seed=n) for n in range(MANY)])


def test_marks_are_looked_up_in_the_newer_corpus(root: Root) -> None:
    with sd.EncryptedAudioStream(root, refresh=True) as stream:
        running = iter(stream)
        heard = [next(running).utterance for _ in range(5)]
        stream.load_state_dict(stream.with_objects(stream.state_dict()))
        data = pickle.dumps(stream)
    remove_paths(root, [f"{heard[0]}.wav"])
    add_clips(root, [clip("later.wav", 0.02, seed=99)])
    with pickle.loads(data) as again:
        heard += [sample.utterance for sample in again]
    assert sorted(heard) == sorted([*(f"u{n}" for n in range(MANY)), "later"])


def test_runs_of_an_older_corpus_are_never_begun_again_in_silence(root: Root) -> None:
    with sd.EncryptedAudioStream(root, refresh=True) as stream:
        next(iter(stream))
        stream.load_state_dict(stream.state_dict())
        data = pickle.dumps(stream)
        stream.set_epoch(1)
        later = pickle.dumps(stream)
    add_clips(root, [clip("later.wav", 0.02, seed=99)])
    with pytest.raises(GenerationChanged, match="with_objects"):
        pickle.loads(data)
    with pickle.loads(later) as again:
        assert len(list(again)) == MANY + 1


def test_rank_is_that_of_the_process_that_reads(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        data = pickle.dumps(stream)  # by a driver, which is no rank
    heard = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        with pickle.loads(data) as again:
            heard += [sample.utterance for sample in again]
    assert sorted(heard) == sorted(f"u{n}" for n in range(MANY))


def test_later_epochs_have_all_rows_again(root: Root) -> None:
    with sd.EncryptedAudioStream(root, refresh=True) as stream:
        running = iter(stream)
        heard = [next(running).utterance for _ in range(3)]
        stream.with_objects(stream.state_dict())
        heard += [next(running).utterance for _ in range(2)]  # it does not disturb who goes on
        stream.load_state_dict(stream.with_objects(stream.state_dict()))
        assert len(stream) == MANY - 5
        heard += [sample.utterance for sample in stream]
        assert len(set(heard)) == MANY
        stream.set_epoch(1)
        assert len(list(stream)) == MANY
        assert "seen" not in stream.state_dict()


def test_pieces_of_a_recording_that_was_split_have_marks_of_their_own() -> None:
    first, other = bytes(range(16)), bytes(16)
    rows = {"object_id": [other, first, first], "origin": [first, None, None], "start": [None, None, 5]}
    kinds = {"object_id": pa.binary(16), "origin": pa.binary(16), "start": pa.int64(), "recording": pa.large_string()}
    alone = pa.table({name: pa.array(rows.get(name, [None] * 3), kind) for name, kind in kinds.items()})
    marks = marks_of(alone)
    assert marks[0] == marks[1], "sealed again, it is the same recording"
    assert marks[1] != marks[2]
    pieces = ["ann@0-5.wav", "ann@5-5.wav", None]
    split = alone.slice(0, 1).take([0, 0, 0]).set_column(3, "recording", pa.array(pieces, pa.large_string()))
    assert len(set(marks_of(split).tolist())) == 3
    assert marks_of(split)[2] == marks[0]
    assert len(marks_of(alone.slice(0, 0))) == 0
