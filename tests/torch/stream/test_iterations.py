"""Which iteration a state is of, when there were several, or the epoch was set during one: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

MANY = 17
ALL = sorted(f"u{n}" for n in range(MANY))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"{name}.wav", 0.02) for name in ALL])


@pytest.fixture
def stream(root: Root) -> Iterator[sd.EncryptedAudioStream]:
    with sd.EncryptedAudioStream(root) as opened:
        yield opened


def names(samples: Any) -> list[str]:
    return [sample.utterance for sample in samples]


def some(running: Iterator[sd.Sample], many: int) -> list[str]:
    return [next(running).utterance for _ in range(many)]


def loader(stream: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(stream, batch_size=2, num_workers=2, multiprocessing_context="fork", collate_fn=names, **options)


def test_a_state_is_of_the_iteration_that_began_last(stream: sd.EncryptedAudioStream) -> None:
    first = iter(stream)
    some(first, 5)
    heard = some(iter(stream), 3)
    stream.load_state_dict(stream.state_dict())
    assert sorted(heard + names(stream)) == ALL


def test_no_state_is_of_two_iterations_at_once(stream: sd.EncryptedAudioStream) -> None:
    first, second = iter(stream), iter(stream)
    order = some(first, 3)
    assert some(second, 2) == order[:2]  # neither moves the other
    with pytest.raises(InvalidArgument, match="after another began"):
        stream.state_dict()
    assert some(second, 1) == order[2:]
    third = iter(stream)
    assert some(third, 3) == order
    assert stream.state_dict()["runs"] == [[1, 1, 1, 3]]


def test_an_epoch_that_is_set_meanwhile_is_the_next_ones(stream: sd.EncryptedAudioStream) -> None:
    order = names(stream)
    running = iter(stream)
    heard = some(running, 4)
    stream.set_epoch(1)
    assert stream.state_dict() == stream.state_dict() | {"epoch": 1, "runs": []}
    assert heard + names(running) == order
    with pytest.raises(InvalidArgument, match=r"after set_epoch\(\)"):
        stream.state_dict()
    assert some(iter(stream), 4) != order[:4]
    assert stream.state_dict() == stream.state_dict() | {"epoch": 1, "runs": [[1, 1, 1, 4]]}


def test_a_state_that_is_loaded_meanwhile_is_the_next_ones(stream: sd.EncryptedAudioStream) -> None:
    running = iter(stream)
    heard = some(running, 4)
    stream.load_state_dict(stream.state_dict())
    some(running, 1)
    with pytest.raises(InvalidArgument, match=r"or load_state_dict\(\)"):
        stream.state_dict()
    assert sorted(heard + names(stream)) == ALL


def test_steps_of_an_epoch_are_not_taken_for_the_next_ones(stream: sd.EncryptedAudioStream) -> None:
    batches = loader(stream)
    running = iter(batches)
    heard = next(running) + next(running)
    state = stream.state_dict(batches, 2)
    stream.set_epoch(1)
    with pytest.raises(InvalidArgument, match="no iteration has begun since"):
        stream.state_dict(batches, 2)
    assert stream.state_dict()["epoch"] == 1
    heard_next = next(iter(batches))
    next_ = stream.state_dict(batches, 1)
    stream.load_state_dict(state)
    with pytest.raises(InvalidArgument, match="no iteration has begun since"):
        stream.state_dict(batches, 3)
    assert sorted(heard + names(stream)) == ALL
    stream.load_state_dict(next_)
    assert sorted(heard_next + names(stream)) == ALL


def test_what_workers_took_is_not_hidden_by_a_look(stream: sd.EncryptedAudioStream) -> None:
    running = iter(loader(stream))
    next(running)
    some(iter(stream), 1)
    with pytest.raises(InvalidArgument, match="have read ahead"):
        stream.state_dict()


def test_workers_begin_the_epoch_in_which_their_loader_did(stream: sd.EncryptedAudioStream) -> None:
    order = [name for batch in loader(stream) for name in batch]
    batches = loader(stream, worker_init_fn=_slow)
    running = iter(batches)
    stream.set_epoch(1)
    _go(stream)
    heard = []
    for step, batch in enumerate(running, 1):
        heard += batch
        with pytest.raises(InvalidArgument, match="no iteration has begun since"):
            stream.state_dict(batches, step)  # of the epoch that was set, whose iteration this is not
    assert heard == order
    assert stream.state_dict()["runs"] == []


def test_workers_that_begin_after_a_state_was_loaded_do_not_count(stream: sd.EncryptedAudioStream) -> None:
    batches = loader(stream, worker_init_fn=_slow_second)
    running = iter(batches)
    next(running)
    assert stream.state_dict(batches, 1)["runs"] == [[1, 2, 2, 1]]
    stream.load_state_dict(stream.state_dict(batches, 1))
    os.write(_GATE[1], b".")
    with pytest.raises(InvalidArgument, match="make a new DataLoader"):
        list(running)
    with pytest.raises(InvalidArgument, match="no iteration has begun since"):
        stream.state_dict(batches, 1)


def test_more_steps_than_the_epoch_has_are_no_state(stream: sd.EncryptedAudioStream) -> None:
    batches = loader(stream)  # 9 and 8 rows of 17: batches of 2, also where only one is left
    heard = [name for _, batch in zip(range(7), batches, strict=False) for name in batch]
    begun = stream.state_dict(batches, 7)
    assert stream.state_dict(batches, 9)["runs"] == [[1, 2, 2, 9]]
    with pytest.raises(InvalidArgument, match=r"steps=10, but the loader has only 9 batches .* of epoch 0"):
        stream.state_dict(batches, 10)
    stream.load_state_dict(begun)
    batches = loader(stream)  # of the three that are left
    heard += next(iter(batches))
    assert stream.state_dict(batches, 2)["runs"] == [[1, 2, 2, 7], [1, 2, 2, 2]]
    with pytest.raises(InvalidArgument, match=r"steps=3, but the loader has only 2 batches"):
        stream.state_dict(batches, 3)
    stream.load_state_dict(stream.state_dict(batches, 1))
    assert sorted(heard + names(stream)) == ALL


def test_more_steps_than_a_sampler_has_are_no_state(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds, rank=1, world=2)  # 9 rows
        batches = DataLoader(ds, batch_size=2, sampler=sampler, collate_fn=names)
        assert len(list(batches)) == 5
        assert sampler.state_dict(batches, 5)["runs"] == [[2, 1, 2, 5]]
        with pytest.raises(InvalidArgument, match="steps=6, but the loader has only 5"):
            sampler.state_dict(batches, 6)


def _slow(_: int) -> None:
    os.read(_GATE[0], 1)


def _slow_second(worker: int) -> None:
    if worker:
        os.read(_GATE[0], 1)


def _go(stream: Any) -> None:
    os.write(_GATE[1], b"..")


_GATE = os.pipe()


def test_workers_that_persist_do_not_miss_a_state(stream: sd.EncryptedAudioStream) -> None:
    batches = loader(stream, persistent_workers=True)
    heard = next(iter(batches))
    state = stream.state_dict(batches, 1)
    stream.load_state_dict(state)
    with pytest.raises(InvalidArgument, match="make a new DataLoader"):
        list(batches)
    assert sorted(heard + [name for batch in loader(stream) for name in batch]) == ALL


class _States:
    """A collate_fn that keeps the state of its worker's stream beside each batch, as StatefulDataLoader does."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __call__(self, samples: list[Any]) -> tuple[list[str], dict[str, Any]]:
        return names(samples), self.stream.state_dict()


def test_states_of_workers_are_of_their_epoch(stream: sd.EncryptedAudioStream) -> None:
    batches = DataLoader(stream, batch_size=1, num_workers=2, prefetch_factor=1, collate_fn=_States(stream))
    running = iter(batches)
    heard, _ = next(running)
    stream.set_epoch(1)
    states: dict[int, Any] = {}
    for step in range(1, 8):
        found, states[step % 2] = next(running)
        heard += found
    merged = sd.merge_state(states)
    assert merged["epoch"] == 0
    stream.load_state_dict(merged)
    assert sorted(heard + names(stream)) == ALL


def test_ranks_that_were_forked_set_epochs_of_their_own(stream: sd.EncryptedAudioStream) -> None:
    running = iter(stream)
    some(running, 2)
    pid = os.fork()
    if not pid:
        try:
            stream.set_epoch(7)
            os._exit(0 if stream.epoch == 7 and stream.state_dict()["runs"] == [] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert stream.epoch == 0
    assert stream.state_dict()["runs"] == [[1, 1, 1, 2]]


def test_a_sampler_counts_one_iteration(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds)
        first, second = iter(sampler), iter(sampler)
        assert [next(first) for _ in range(4)][:2] == [next(second), next(second)]
        with pytest.raises(InvalidArgument, match="after another began"):
            sampler.state_dict()
        sampler.set_epoch(1)
        assert len(list(second)) == MANY - 2
        with pytest.raises(InvalidArgument, match=r"after set_epoch\(\)"):
            sampler.state_dict()
        drawn = [next(iter(sampler))]
        sampler.load_state_dict(sampler.state_dict())
        assert sorted([*drawn, *sampler]) == list(range(MANY))
