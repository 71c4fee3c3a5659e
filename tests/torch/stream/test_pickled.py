"""Streams that are pickled for another process: which rank they are of, and how they go on over a newer corpus."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import securedata as sd
from securedata.errors import GenerationChanged
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
