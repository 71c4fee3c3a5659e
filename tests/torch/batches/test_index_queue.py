"""torch's queue of indices, which is private: what look-ahead expects of it, and none where it differs; crops."""

from __future__ import annotations

import inspect
import multiprocessing
import queue
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, dataloader
from torch.utils.data._utils import worker

import securedata as sd
from securedata.torch.batches.index_queue import IndexQueue, indices_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"ann/{n:02}.wav", 0.2, seed=n) for n in range(24)])


def slowly(sample: sd.Sample) -> sd.Sample:
    time.sleep(0.01)
    return sample


def names(ds: sd.EncryptedAudioDataset) -> list[str]:
    loader = DataLoader(ds, 2, num_workers=1, collate_fn=sd.pad_collate, multiprocessing_context="fork")
    return [name for batch in loader for name in batch.utterance]


def test_this_torch_queues_batches_as_look_ahead_expects(root: Root) -> None:
    """Red with a torch that is different: see whether `batches/index_queue.py` still fits, and change what it asks."""
    loop, main = inspect.getsource(worker._worker_loop), inspect.getsource(dataloader._MultiProcessingDataLoaderIter)
    wanted = ["dataset_kind", "dataset", "index_queue", "auto_collation", "persistent_workers"]
    assert set(wanted) <= set(inspect.signature(worker._worker_loop).parameters)
    assert loop.count("index_queue") == 2, "the parameter, and one call"
    assert "index_queue.get(timeout=MP_STATUS_CHECK_INTERVAL)" in loop
    assert "fetcher.fetch(index)" in loop
    assert "(self._send_idx, index)" in main
    assert "target=_utils.worker._worker_loop" in main
    with sd.EncryptedAudioDataset(root, map=slowly) as ds:
        assert names(ds) == [f"{n:02}" for n in range(24)]
        assert ds.stats().batches_ahead >= 5


def test_another_loop_has_no_look_ahead(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = worker._worker_loop
    monkeypatch.setattr(worker, "_worker_loop", lambda *arguments: theirs(*arguments))
    with sd.EncryptedAudioDataset(root, map=slowly) as ds:
        assert names(ds) == [f"{n:02}" for n in range(24)]
        assert ds.stats().batches_ahead == 0


def test_a_loader_without_batches_has_no_look_ahead(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, map=slowly) as ds:
        loader = DataLoader(ds, None, num_workers=1, multiprocessing_context="fork")
        assert [one.utterance for one in loader] == [f"{n:02}" for n in range(24)]
        assert ds.stats().batches_ahead == 0


def until_there(items: IndexQueue, many: int) -> list[object]:
    seen: list[object] = []
    end = time.monotonic() + 10
    while len(seen) < many and time.monotonic() < end:
        seen += items.look()
    return seen


def test_what_was_seen_is_read_in_order() -> None:
    given = multiprocessing.get_context("fork").Queue()
    handed_out: list[object] = []
    items = IndexQueue(given, handed_out.append)
    given.put((0, [1, 2]))
    time.sleep(0.2)
    assert items.look() == [], "nothing is taken from a loop that does not read through it"
    assert given.get(timeout=5) == (0, [1, 2])
    end: list[Any] = [(1, [3]), worker._ResumeIteration(), (2, [4]), None]
    for item in end:
        given.put(item)
    seen = until_there(items, 4)
    assert [indices_of(item) for item in seen] == [[3], None, [4], None]
    given.put((3, [5]))
    read = [given.get(timeout=5) for _ in range(5)]
    assert read == [*seen, (3, [5])] == handed_out[1:]
    with pytest.raises(queue.Empty):
        given.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        given.get(False)


# ------------------------------------------------------------------------------------------------------------- crops


class Drawing:
    """A transform that draws from torch's generator, as an augmentation does."""

    def __init__(self, many: int) -> None:
        self.many = many

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        for _ in range(self.many):
            torch.rand(3)
        return waveform


def epochs(root: Root, seed: int, *, transform: Drawing | None = None, many: int = 2, persistent: bool = True) -> Any:
    torch.manual_seed(seed)
    with sd.EncryptedAudioDataset(root, num_frames=400, transform=transform) as ds:
        loader = DataLoader(
            ds,
            4,
            shuffle=True,
            num_workers=2,
            collate_fn=sd.pad_collate,
            multiprocessing_context="fork",
            persistent_workers=persistent,
        )
        return [
            {
                name: wave.numpy().tobytes()
                for batch in loader
                for name, wave in zip(batch.utterance, batch.waveform, strict=True)
            }
            for _ in range(many)
        ]


@pytest.mark.parametrize("persistent", [True, False])
def test_crops_in_workers_follow_from_the_seed_alone(root: Root, persistent: bool) -> None:
    first = epochs(root, 3, persistent=persistent)
    assert epochs(root, 3, transform=Drawing(2), persistent=persistent) == first, "whatever else is drawn"
    assert first[0].keys() == first[1].keys()
    for other in (first[1], epochs(root, 4, many=1)[0]):
        assert sum(first[0][name] == other[name] for name in other) < 8


def test_datasets_of_one_worker_have_crops_of_their_own(root: Root) -> None:
    """Two views of the same rows must not be the same."""
    with sd.EncryptedAudioDataset(root, num_frames=400) as one, sd.EncryptedAudioDataset(root, num_frames=400) as two:
        loader = DataLoader(one + two, 48, num_workers=1, collate_fn=sd.pad_collate, multiprocessing_context="fork")
        [batch] = loader
        same = [torch.equal(batch.waveform[i], batch.waveform[i + 24]) for i in range(24)]
        assert sum(same) < 8
