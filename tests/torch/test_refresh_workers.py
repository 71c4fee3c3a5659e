"""`refresh()` while the workers of a DataLoader run: no number means another row there in silence."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

import securedata as sd
from securedata.errors import GenerationChanged, InvalidArgument
from securedata.storage.local import LocalStorage
from securedata.torch import workers
from securedata.torch.stats import Tally
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.usefixtures("brief_loaders")

MANY = 8


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"ann/{n}.wav", 0.02, seed=n) for n in range(MANY)])


def names(samples: list[sd.Sample]) -> list[str]:
    """A collate_fn: what the recordings of a batch are called."""
    return [sample.utterance for sample in samples]


def flat(batches: Iterator[list[str]]) -> list[str]:
    return [name for batch in batches for name in batch]


def here(ds: sd.EncryptedAudioDataset) -> list[str]:
    return [ds.get_metadata(i).utterance for i in range(len(ds))]


def replace_rows(root: Root) -> None:
    """Other rows under the same numbers, and no fewer of them."""
    remove_paths(root, ["ann/0.wav"])
    add_clips(root, [clip("bob/new.wav", 0.02, seed=99, speaker="bob")])


@pytest.mark.parametrize("method", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.full)])
def test_persistent_workers_raise_after_a_refresh(root: Root, method: str) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(
            ds,
            batch_size=2,
            num_workers=1,
            collate_fn=names,
            persistent_workers=True,
            multiprocessing_context=method,
        )
        first = flat(iter(loader))
        assert first == here(ds)
        assert not ds.refresh()  # nothing newer: nothing changes
        assert flat(iter(loader)) == first
        replace_rows(root)
        assert flat(iter(loader)) == first  # a commit alone changes nothing for who reads
        assert ds.refresh()
        for _ in range(2):  # nor does the next epoch get by
            with pytest.raises(GenerationChanged, match="make a new DataLoader") as caught:
                list(loader)
            assert type(caught.value) is GenerationChanged
        again = DataLoader(ds, batch_size=2, num_workers=1, collate_fn=names, multiprocessing_context=method)
        assert flat(iter(again)) == here(ds) != first


def test_persistent_workers_raise_in_the_middle_of_an_epoch(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(
            ds, batch_size=1, num_workers=1, prefetch_factor=1, collate_fn=names, persistent_workers=True
        )
        batches = iter(loader)
        before = here(ds)
        assert next(batches) == before[:1]
        replace_rows(root)
        ds.refresh()
        got = []
        with pytest.raises(GenerationChanged):
            got += flat(batches)
        assert got == before[1 : 1 + len(got)]  # at most what was under way, and of the old rows


def test_other_workers_finish_their_epoch_on_the_rows_of_its_sampler(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(ds, batch_size=1, num_workers=2, prefetch_factor=1, collate_fn=names)
        before = here(ds)
        batches = iter(loader)
        got = next(batches)
        replace_rows(root)
        assert ds.refresh()
        got += flat(batches)
        assert got == before
        assert flat(iter(loader)) == here(ds) != before


class RowByRow(Dataset[str]):
    """A wrapper without `__getitems__`, which may ask for no more than metadata."""

    def __init__(self, ds: sd.EncryptedAudioDataset, metadata: bool) -> None:
        self.ds, self.metadata = ds, metadata

    def __len__(self) -> int:
        return len(self.ds)

    def __getitem__(self, i: int) -> str:
        return self.ds.get_metadata(i).utterance if self.metadata else self.ds[i].utterance


@pytest.mark.parametrize("metadata", [False, True])
def test_wrappers_are_covered(root: Root, metadata: bool) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(RowByRow(ds, metadata), batch_size=None, num_workers=1, persistent_workers=True)
        assert list(loader) == here(ds)
        replace_rows(root)
        ds.refresh()
        with pytest.raises(GenerationChanged):
            list(loader)


class Endless(IterableDataset[str]):
    """An iterable dataset over the rows, whose numbers the worker draws itself."""

    def __init__(self, ds: sd.EncryptedAudioDataset) -> None:
        self.ds = ds

    def __iter__(self) -> Iterator[str]:
        return (self.ds[i].utterance for i in range(len(self.ds)))


def test_an_iterable_over_the_rows_is_covered(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(Endless(ds), batch_size=None, num_workers=1, persistent_workers=True)
        assert list(loader) == here(ds)
        remove_paths(root, ["ann/0.wav"])
        ds.refresh()
        with pytest.raises(GenerationChanged):  # else it would go on with what was removed
            list(loader)


class Told(Dataset[Any]):
    """What a dataset says of each row, all rows at once."""

    def __init__(self, ds: sd.EncryptedAudioDataset, column: str) -> None:
        self.ds, self.column = ds, column

    def __len__(self) -> int:
        return len(self.ds)

    def __getitem__(self, index: int) -> Any:
        return getattr(self.ds, self.column)[index if self.column == "lengths" else "path"]


@pytest.mark.parametrize("column", ["lengths", "metadata"])
def test_what_is_told_of_all_rows_is_covered(root: Root, column: str) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(Told(ds, column), batch_size=4, num_workers=1, collate_fn=len, persistent_workers=True)
        assert sum(loader) == MANY
        replace_rows(root)
        assert ds.refresh()
        with pytest.raises(GenerationChanged):
            list(loader)


def test_no_recording_has_the_words_of_another_while_a_thread_refreshes(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_corpus(tmp_path, [clip(f"eve/{n}.wav", 0.02 + n / 1000, speaker="eve") for n in range(5)], "voice-b")

    def refresh_in_a_thread(newer: bool) -> None:
        if newer:
            remove_paths(other, [ds.corpora[1].index.path(0)])
        thread = threading.Thread(target=ds.refresh)
        thread.start()
        thread.join()

    with sd.EncryptedAudioDataset([root, other]) as ds:
        for name, read in (("get_many", lambda: ds.__getitems__([0, MANY])), ("get_ranges", lambda: [ds[MANY]])):
            real = getattr(LocalStorage, name)

            newer = iter((False, True))

            def meanwhile(
                storage: LocalStorage, *args: Any, real: Any = real, name: str = name, newer: Any = newer
            ) -> Any:
                monkeypatch.setattr(LocalStorage, name, real)
                refresh_in_a_thread(next(newer))
                return real(storage, *args)

            monkeypatch.setattr(LocalStorage, name, meanwhile)
            assert len(read()) > 0
            monkeypatch.setattr(LocalStorage, name, meanwhile)
            with pytest.raises(GenerationChanged, match="between batches"):
                read()
            for sample in ds:
                assert sample.speaker != "eve" or sample.waveform.shape[1] == 320 + 16 * int(sample.utterance)
        read_batch = ds.__getitems__([0, MANY])
        assert [sample.utterance for sample in read_batch] == ["0", "2"]


def _refresh_here(_: int) -> None:
    """A worker_init_fn, as one might get fresh rows in each epoch."""
    info = get_worker_info()
    assert info is not None
    info.dataset.refresh()


class Fresh(Endless):
    """Draws its numbers from the rows that there are now."""

    def __iter__(self) -> Iterator[str]:
        self.ds.refresh()
        return super().__iter__()


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_a_worker_does_not_refresh_the_rows_of_its_loaders_numbers(root: Root, method: str) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        replace_rows(root)
        for made in (ds, ds.map(str), ds + ds):
            loader = DataLoader(
                made, num_workers=1, collate_fn=len, worker_init_fn=_refresh_here, multiprocessing_context=method
            )
            with pytest.raises(InvalidArgument, match="in the process of the loader"):
                list(loader)
        loader = DataLoader(Fresh(ds), batch_size=None, num_workers=1, multiprocessing_context=method)
        fresh = list(loader)
        assert ds.refresh()
        assert fresh == here(ds)


def test_of_several_corpora_any_counts(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("eve/0.wav", 0.02, speaker="eve")], "voice-b")
    with sd.EncryptedAudioDataset([root, other]) as ds:
        loader = DataLoader(ds, batch_size=3, num_workers=1, collate_fn=names, persistent_workers=True)
        list(loader)
        add_clips(other, [clip("eve/1.wav", 0.02, speaker="eve")])
        ds.refresh()
        with pytest.raises(GenerationChanged):
            list(loader)


def _rank(ds: sd.EncryptedAudioDataset, refresh: bool, go: Any, done: Any) -> None:
    """A process that has the dataset of its parent, and a loader of its own."""
    loader = DataLoader(ds, batch_size=4, num_workers=1, collate_fn=names, persistent_workers=True)
    before = flat(iter(loader))
    done.send(before)
    go.recv()
    if refresh:
        ds.refresh()
    try:
        done.send(flat(iter(loader)))
    except GenerationChanged:
        done.send("changed")


@pytest.mark.parametrize(("child", "parent"), [(True, False), (False, True)])
def test_a_refresh_is_of_one_process_and_its_own_workers(root: Root, child: bool, parent: bool) -> None:
    context = multiprocessing.get_context("fork")
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(ds, batch_size=4, num_workers=1, collate_fn=names, persistent_workers=True)
        before = flat(iter(loader))
        (go, started), (result, done) = context.Pipe(), context.Pipe()
        process = context.Process(target=_rank, args=(ds, child, started, done))
        process.start()
        assert result.recv() == before
        replace_rows(root)
        if parent:
            ds.refresh()
        go.send(None)
        assert result.recv() == ("changed" if child else before)
        process.join()
        if parent:
            with pytest.raises(GenerationChanged):
                list(loader)
        else:
            assert flat(iter(loader)) == before


def test_a_loader_that_is_not_known_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "current_process", lambda: object())
    workers._persists.cache_clear()
    try:
        assert workers._persists()
    finally:
        workers._persists.cache_clear()


def test_nothing_is_left_in_shared_memory_and_a_look_is_cheap(root: Root) -> None:
    before = set(os.listdir("/dev/shm"))
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(ds, batch_size=4, num_workers=1, collate_fn=names, persistent_workers=True)
        list(loader)
        replace_rows(root)
        ds.refresh()
        with pytest.raises(GenerationChanged):
            list(loader)
        del loader
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "securedata" in name}
    tally = Tally(parent=64 * 16)
    begun = time.perf_counter()
    for _ in range(10_000):
        tally.is_behind()
    assert time.perf_counter() - begun < 10_000 * 5e-6  # 0.1 us; a batch takes 1,000 times as long
    assert torch.utils.data.get_worker_info() is None
