"""A real corpus through a DataLoader: samples per second, and where the time of a sample goes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from securedata.bench.estimate import ROUNDS, Estimate, estimate
from securedata.bench.throughput import Progress
from securedata.errors import InvalidArgument, SecuredataError

if TYPE_CHECKING:
    from securedata.corpus.config import Reference
    from securedata.torch.dataset import EncryptedAudioDataset
    from securedata.torch.sample import Batch, Sample

STAGES = ("fetch", "decrypt", "decode", "collate")
_PREFETCH = 2  # batches that a DataLoader keeps ready for each worker: torch's default


class Spent(NamedTuple):
    """The cost of some samples in the process that made them: seconds by stage, CPU seconds, and the amounts read."""

    samples: int = 0
    bytes: int = 0
    audio: float = 0.0
    fetch: float = 0.0
    decrypt: float = 0.0
    decode: float = 0.0
    collate: float = 0.0
    cpu: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """The sum, field by field."""
        return Spent._make(a + b for a, b in zip(self, other, strict=True))

    @property
    def seconds(self) -> float:
        """All stages together."""
        return self.fetch + self.decrypt + self.decode + self.collate


@dataclass(frozen=True, slots=True)
class Slice:
    """One round: the samples made in `wall` seconds of the main process."""

    wall: float
    spent: Spent


@dataclass(frozen=True, slots=True)
class Loading:
    """All rounds with one number of DataLoader workers; 0: the main process does the work itself."""

    workers: int
    slices: list[Slice]

    def per_second(self, field: str) -> Estimate:
        """`samples`, `bytes` or `audio` (seconds of it) per second of the wall clock."""
        return estimate(getattr(one.spent, field) / one.wall for one in self.slices)

    def ms_per_sample(self, stage: str) -> Estimate:
        """Milliseconds of one worker's time for a stage of one sample."""
        return estimate(1e3 * getattr(one.spent, stage) / one.spent.samples for one in self.slices)

    def decrypt_share(self) -> Estimate:
        """Decryption's share of a worker's time for a sample, from the fetch to the finished batch."""
        return estimate(one.spent.decrypt / one.spent.seconds for one in self.slices)

    def undisturbed(self) -> float:
        """The share of time in which a worker, when not waiting for storage, had a core to itself."""
        spent = Spent()
        for one in self.slices:
            spent = spent.plus(one.spent)
        return min(1.0, spent.cpu / (spent.seconds - spent.fetch))

    def json(self) -> dict[str, Any]:
        return {
            "workers": self.workers,
            "undisturbed": self.undisturbed(),
            "rounds": len(self.slices),
            "samples": sum(one.spent.samples for one in self.slices),
            "samples_per_s": self.per_second("samples").json(),
            "plaintext_bytes_per_s": self.per_second("bytes").json(),
            "audio_seconds_per_s": self.per_second("audio").json(),
            "ms_per_sample": {stage: self.ms_per_sample(stage).json() for stage in STAGES},
            "decrypt_share": self.decrypt_share().json(),
        }


# ---------------------------------------------------------------- in the workers


class _Fetched(NamedTuple):
    samples: list[Sample]
    spent: Spent


class _Timed:
    """The dataset, with each batch's cost from the counters of its corpora. Goes to the workers."""

    def __init__(self, dataset: EncryptedAudioDataset) -> None:
        self._dataset = dataset

    def __getitems__(self, indices: list[int]) -> list[_Fetched | SecuredataError]:
        """One entry for the whole batch. Errors are returned, not raised: torch would add tracebacks."""
        try:
            return [self._fetch(indices)]
        except SecuredataError as error:
            return [error]

    def _fetch(self, indices: list[int]) -> _Fetched:
        dataset, corpora = self._dataset, self._dataset.corpora
        before = [_counted(corpus.counters) for corpus in corpora]
        cpu, begun = time.thread_time(), time.perf_counter()
        together = getattr(dataset, "__getitems__", None)  # as in a DataLoader
        samples = together(indices) if together else [dataset[i] for i in indices]
        took, cpu = time.perf_counter() - begun, time.thread_time() - cpu
        fetch, decrypt, size = 0.0, 0.0, 0
        for corpus, (fetched, decrypted, read) in zip(corpora, before, strict=True):
            now = _counted(corpus.counters)
            fetch, decrypt, size = fetch + now[0] - fetched, decrypt + now[1] - decrypted, size + now[2] - read
        audio = sum(sample.waveform.shape[-1] / sample.sample_rate for sample in samples)
        return _Fetched(samples, Spent(len(samples), size, audio, fetch, decrypt, took - fetch - decrypt, 0.0, cpu))


def _counted(counters: Any) -> tuple[float, float, int]:
    return counters.seconds_fetch, counters.seconds_decrypt, counters.bytes


def _collate(batch: list[_Fetched | SecuredataError]) -> tuple[Batch, Spent] | SecuredataError:
    from securedata.torch.collate import pad_collate

    (fetched,) = batch
    if isinstance(fetched, SecuredataError):
        return fetched
    samples, spent = fetched
    cpu, begun = time.thread_time(), time.perf_counter()
    padded = pad_collate(samples)
    took, cpu = time.perf_counter() - begun, time.thread_time() - cpu
    return padded, spent._replace(collate=took, cpu=spent.cpu + cpu)


def _first_channel(waveform: Any) -> Any:
    return waveform[:1]  # a tensor; naming the type would import torch for every command


class _Batches:
    """Endless batches of row numbers, reshuffled for every pass over the corpus."""

    def __init__(self, rows: int, size: int) -> None:
        self._rows, self._size = rows, size

    def __iter__(self) -> Iterator[list[int]]:
        shuffle, batch = random.Random(1), list[int]()  # noqa: S311 - the order of a benchmark is not a secret
        while True:
            order = list(range(self._rows))
            shuffle.shuffle(order)
            for i in order:
                batch.append(i)
                if len(batch) == self._size:
                    yield batch
                    batch = []


# ---------------------------------------------------------------- in the main process


class _Loader:
    """A DataLoader that stays open across rounds, so that its workers start only once."""

    def __init__(self, dataset: EncryptedAudioDataset, workers: int, batch_size: int) -> None:
        from torch.utils.data import DataLoader

        self.workers = workers
        loader: DataLoader[Any] = DataLoader(
            _Timed(dataset),  # type: ignore[arg-type]  # it has a map-style dataset's methods, which is all torch needs
            batch_sampler=_Batches(len(dataset), batch_size),
            num_workers=workers,
            collate_fn=_collate,
            prefetch_factor=_PREFETCH if workers else None,
        )
        self._batches: Iterator[tuple[Batch, Spent] | SecuredataError] = iter(loader)

    def run(self, seconds: float, samples: int | None) -> Slice:
        """Load for `seconds`, or until there are `samples`; at least one batch for every worker.

        Batches that were ready when the round began are not counted.
        """
        for _ in range(max(1, _PREFETCH * self.workers)):
            self._next()
        spent, least, count = Spent(), max(1, self.workers), 0
        begun = now = time.perf_counter()
        while count < least or (now - begun < seconds and (samples is None or spent.samples < samples)):
            spent, count, now = spent.plus(self._next()), count + 1, time.perf_counter()
        return Slice(now - begun, spent)

    def _next(self) -> Spent:
        made = next(self._batches)
        if isinstance(made, SecuredataError):
            raise made
        return made[1]


def open_dataset(
    reference: Reference, sample_rate: int | None = None, num_frames: int | None = None
) -> EncryptedAudioDataset:
    """The dataset as a training script opens it. If channel counts differ, only the first channel is kept.

    Raises:
        InvalidArgument: it has no recordings.
        and what EncryptedAudioDataset raises
    """
    from securedata.torch.dataset import EncryptedAudioDataset

    dataset = EncryptedAudioDataset(reference, sample_rate=sample_rate, num_frames=num_frames)
    if len(dataset) == 0:
        dataset.close()
        what = reference.name or reference.root
        raise InvalidArgument(f"{what} has no recordings to measure with: add some with 'securedata encrypt'")
    if len(dataset.metadata.column("channels").unique()) > 1:
        dataset.transform = _first_channel
    return dataset


def measure(
    dataset: EncryptedAudioDataset,
    counts: Sequence[int],
    batch_size: int,
    seconds: float,
    samples: int | None,
    progress: Progress,
) -> list[Loading]:
    """Load with each number of workers in turn, round after round, for about `seconds`.

    Args:
        samples: stop earlier, once about this many have been counted for each number of workers.

    Raises:
        what `dataset[i]` raises
    """
    begun = time.monotonic()
    progress(0.0, "starting workers")
    loaders = [_Loader(dataset, count, batch_size) for count in counts]
    for loader in loaders:
        loader.run(0.0, 1)  # workers start, libraries load, caches fill
    each = None if samples is None else -(-samples // ROUNDS)
    span = max(0.0, seconds - (time.monotonic() - begun)) / (ROUNDS + 1) / len(loaders)
    found = [Loading(loader.workers, []) for loader in loaders]
    for number in range(ROUNDS):
        for loader, loading in zip(loaders, found, strict=True):
            what = f"{loader.workers} workers, round {number + 1} of {ROUNDS}"
            progress(time.monotonic() - begun, what)
            loading.slices.append(loader.run(span, each))
    return found
