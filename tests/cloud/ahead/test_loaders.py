"""Look-ahead in the workers of real DataLoaders, on a real server: the same samples and requests as without it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset

import securedata as sd
from securedata.torch.batches.ahead import OFF
from tests.kit.cloud.fault_plans import Between
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")

MANY = 40
FRAMES = 700
WORKERS = 2
BATCH = 2


@pytest.fixture
def root(cloud: Cloud, between: Between) -> Root:
    """Recordings longer than a crop: WAV, of which ranges are read, and FLAC, which is read whole."""
    forms = {True: ".wav", False: ".flac"}
    clips = [clip(f"ann/{n:03}{forms[n % 3 > 0]}", 0.4 + 0.02 * n, seed=n) for n in range(MANY)]
    return cloud.make("ahead", clips, endpoint=between.s3.endpoint)


class Taken(NamedTuple):
    """What an epoch or several gave: of each sample its name and frames, and the requests for objects."""

    samples: list[tuple[str, bytes]]
    gets: Counter[tuple[str, str]]
    ahead: int


def slowly(sample: sd.Sample, seconds: float = 0.01) -> sd.Sample:
    """As a decoder that takes its time: so the main process has queued a batch before this one is done."""
    time.sleep(seconds)
    return sample


def as_it_is(samples: list[sd.Sample]) -> list[sd.Sample]:
    return samples


def take(
    dataset: Dataset[Any], source: sd.EncryptedAudioDataset, between: Between, *, epochs: int = 1, **options: Any
) -> Taken:
    """The samples of a loader, in its order."""
    between.s3.requests.clear()
    before = source.stats().batches_ahead
    torch.manual_seed(7)
    options = {"batch_size": BATCH, "num_workers": WORKERS, "shuffle": True, "collate_fn": as_it_is, **options}
    loader = DataLoader(dataset, **options)
    samples = [
        (one.utterance, one.waveform.numpy().tobytes()) for _ in range(epochs) for batch in loader for one in batch
    ]
    del loader
    gets = Counter(
        (found[0], one.headers.get("range", ""))
        for one in between.s3.requests
        if one.method == "GET" and (found := re.findall(r"/objects/\S+", one.target))
    )
    return Taken(samples, gets, source.stats().batches_ahead - before)


def opened(root: Root, **options: Any) -> sd.EncryptedAudioDataset:
    return sd.EncryptedAudioDataset(root.reference, **{"num_frames": FRAMES, "map": slowly, **options})


class Numbered(Dataset[Any]):
    """A wrapper of the user's that passes batches on, as docs/training.md shows one."""

    def __init__(self, dataset: sd.EncryptedAudioDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> list[sd.Sample]:
        return self.dataset.__getitems__(indices)


KINDS: dict[str, Callable[[sd.EncryptedAudioDataset], Dataset[Any]]] = {
    "itself": lambda ds: ds,
    "subset": lambda ds: Subset(Subset(ds, list(range(MANY - 1, 3, -1))), list(range(0, 30, 2))),
    "split": lambda ds: torch.utils.data.random_split(ds, [30, 10], torch.Generator().manual_seed(1))[0],
    "mapped": lambda ds: ds.map(slowly),
    "wrapped": Numbered,
    "joined with itself": lambda ds: ds + ds.map(slowly),
}


def both(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch, kind: str, **options: Any
) -> tuple[Taken, Taken]:
    """Without look-ahead, and with it."""
    with monkeypatch.context() as patch, opened(root) as ds:
        patch.setenv(OFF, "0")  # a server of forks would keep it
        off = take(KINDS[kind](ds), ds, between, **{**options, "multiprocessing_context": "fork"})
    assert off.ahead == 0
    batches = -(-len(off.samples) // BATCH)
    for seconds in (0.01, 0.1, 0.5):  # a busy machine queues a batch late: decoding must take longer than that
        with opened(root, map=partial(slowly, seconds=seconds)) as ds:
            on = take(KINDS[kind](ds), ds, between, **options)
        # a worker knows nothing ahead of its first two
        if on.ahead >= max(1, (batches - 2 * WORKERS) // 3):
            return off, on
    raise AssertionError(f"{on.ahead} of {batches} batches were fetched ahead")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_samples_by_the_same_requests(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    off, on = both(root, between, monkeypatch, kind)
    assert on.samples == off.samples, "and so the same crops"
    assert on.gets == off.gets, "nothing is fetched twice"


METHODS = ["fork", *(pytest.param(one, marks=pytest.mark.full) for one in ("spawn", "forkserver"))]


@pytest.mark.parametrize("method", METHODS)
def test_under_every_start_method_with_workers_that_stay(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    options = {"multiprocessing_context": method, "persistent_workers": True, "epochs": 3}
    off, on = both(root, between, monkeypatch, "itself", **options)
    assert on.samples == off.samples
    assert on.gets == off.gets
    epochs = [sorted(on.samples[at : at + MANY]) for at in range(0, 3 * MANY, MANY)]
    assert [name for name, _ in epochs[0]] == [name for name, _ in epochs[1]] == [name for name, _ in epochs[2]]
    assert epochs[0] != epochs[1] != epochs[2], "each epoch has crops of its own"


def test_workers_that_come_out_of_order(root: Root, between: Between) -> None:
    with opened(root, crop="start") as ds:
        found = take(ds, ds, between, in_order=False, prefetch_factor=4)
        assert sorted(name for name, _ in found.samples) == sorted(ds.get_metadata(i).utterance for i in range(MANY))
        assert found.ahead >= MANY / BATCH / 3
        samples = [ds[i] for i in range(MANY)]
        expected = {one.utterance: one.waveform for one in samples}
        for name, audio in found.samples:
            assert audio == expected[name].numpy().tobytes()


def test_many_queued_batches_are_fetched_at_once(root: Root, between: Between) -> None:
    """Small samples are done sooner than an answer comes: one batch ahead would not be enough."""
    with opened(root) as ds:
        sampler = RandomSampler(ds, replacement=True, num_samples=60)
        found = take(ds, ds, between, batch_size=1, num_workers=1, prefetch_factor=20, shuffle=False, sampler=sampler)
        assert len(found.samples) == 60
        assert found.ahead >= 40


class Elsewhere(Dataset[Any]):
    """A wrapper that is not known: it reads other rows than it is asked for."""

    def __init__(self, dataset: sd.EncryptedAudioDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> list[sd.Sample]:
        return self.dataset.__getitems__([len(self) - 1 - i for i in indices])


class Backwards(sd.EncryptedAudioDataset):
    """As a subclass of ours may."""

    def __getitems__(self, indices: Any) -> list[sd.Sample]:
        return super().__getitems__([len(self) - 1 - i for i in indices])


class Mixing(sd.EncryptedAudioDataset):
    """Reads another batch amid each of its own."""

    def _transformed(self, sample: sd.Sample) -> sd.Sample:
        if sample.utterance.endswith("0") and not getattr(self, "amid", False):
            self.amid = True
            self.__getitems__([0])
            self.amid = False
        return super()._transformed(sample)


def test_a_dataset_that_is_not_known_has_no_look_ahead(root: Root, between: Between) -> None:
    with opened(root) as ds:
        assert take(Elsewhere(ds), ds, between).ahead == 0
    with Backwards(root.reference) as other:
        assert take(other, other, between).ahead == 0


def test_wrong_guesses_do_no_harm_and_come_to_an_end(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for value in ("0", "1"):
        monkeypatch.setenv(OFF, value)
        with Mixing(root.reference, num_frames=FRAMES, map=slowly) as ds:
            found.append(take(ds, ds, between, epochs=2, persistent_workers=True))
    off, on = found
    assert on.samples == off.samples
    # of each worker three batches at most, and what was queued behind them
    assert (on.gets - off.gets).total() <= WORKERS * 6 * BATCH * 2


def test_an_epoch_that_is_left_early(root: Root, between: Between) -> None:
    with opened(root) as ds:
        for persistent in (False, True):
            loader = DataLoader(
                ds, BATCH, num_workers=WORKERS, collate_fn=as_it_is, persistent_workers=persistent, prefetch_factor=3
            )
            for _ in range(2):
                began = time.monotonic()
                for number, _ in enumerate(loader):
                    if number == 2:
                        break
                assert time.monotonic() - began < 20
            names = [one.utterance for batch in loader for one in batch]
            assert names == [ds.get_metadata(i).utterance for i in range(MANY)]
            del loader


def test_a_worker_that_is_killed(root: Root, between: Between) -> None:
    with opened(root) as ds:
        batches = iter(DataLoader(ds, BATCH, num_workers=WORKERS, collate_fn=as_it_is, prefetch_factor=3))
        next(batches)
        os.kill(batches._workers[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]  # torch's own
        with pytest.raises(RuntimeError, match="exited unexpectedly"):
            for _ in batches:
                pass
        del batches
        assert len(take(ds, ds, between).samples) == MANY
