"""`ResumableSampler`: a shuffled order of rows by number that continues where it was interrupted."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from torch.utils.data import ConcatDataset, Sampler, Subset

from securedata.corpus.option_values import as_whole
from securedata.corpus.reader import Corpus
from securedata.errors import InvalidArgument
from securedata.torch.base import EncryptedDataset
from securedata.torch.combine import Mapped, sources_of
from securedata.torch.stream.place import ranks_given
from securedata.torch.stream.planning.lane import Arrivals
from securedata.torch.stream.resuming import Iteration, Named, Resumable
from securedata.torch.stream.state import At, Origin, State, corpus_mark, digest_of
from securedata.torch.workers import draws_ahead


class ResumableSampler(Resumable, Sampler[int]):
    """Row numbers of a dataset in a random order, this rank's share of them; for the `sampler=` of a DataLoader.

    Like `DistributedSampler`, with a state from which any other number of ranks continues, no row lost or twice.
    """

    def __init__(
        self,
        dataset: Any,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
        *,
        uneven: str | None = "pad",
    ) -> None:
        """
        Args:
            dataset: with a length, such as an `EncryptedAudioDataset` or what is made of some.
            seed: another seed gives other orders; it must be the same on every rank.
            rank, world: this process's number and how many there are; None: from torch.distributed, or torchrun.
            uneven: 'pad', 'drop' or None, as in `EncryptedAudioStream`.

        Raises:
            InvalidArgument

        Example:
            from torch.utils.data import DataLoader

            sampler = sd.ResumableSampler(ds, seed=1)
            loader = DataLoader(ds, batch_size=4, sampler=sampler)
        """
        if uneven not in (None, "pad", "drop"):
            raise InvalidArgument(f"uneven= is 'pad', 'drop' or None, not {uneven!r}")
        if not hasattr(dataset, "__len__"):
            raise InvalidArgument(f"a sampler needs a dataset with a length, not a {type(dataset).__name__}")
        self._dataset = dataset
        self._ranks = ranks_given(rank, world)
        self._state = State(as_whole("seed", seed, 0, 2**64 - 1), 0, uneven, self._origins())

    def _named(self) -> list[Named]:
        # one list of numbers, whatever it is made of; the corpora say which rows they mean
        corpora = [one for source in sources_of(_made_of(self._dataset)) for one in getattr(source, "corpora", ())]
        roots = ", ".join(one.name or one.root for one in corpora) or type(self._dataset).__name__
        marks = bytes(np.bitwise_xor.reduce([np.frombuffer(one.corpus_id, np.uint8) for one in corpora] or [_NONE]))
        rows = len(self._dataset)
        parts = np.array([rows], np.int64)
        return [Named(roots, marks, sum(one.generation for one in corpora), parts, rows, _mark(self._dataset))]

    def _workers_of(self, loader: Any) -> int:
        return 1  # the loader draws for all of them

    def _origins(self) -> tuple[Origin, ...]:
        return tuple(
            Origin(corpus_mark(one.corpus_id), one.generation, 1, 0, digest_of(one.parts, one.rows, one.chosen))
            for one in self._named()
        )

    def __len__(self) -> int:
        rank, world = self._rank_and_world()
        return self._planned().share(world, rank)

    def __iter__(self) -> Iterator[int]:
        rank, world = self._rank_and_world()
        if self._origins() != self._state.origins:
            raise InvalidArgument("the rows of the dataset have changed, as by refresh(): make a new sampler")
        state = self._current()
        lane = self._planned(state).lane(world, 1, rank, 0)
        return self._rows(lane.arrivals(), self._begin(state, At(world, 1, rank, 0, 0), draws_ahead()))

    def _rows(self, arrivals: Iterator[Arrivals], iteration: Iteration) -> Iterator[int]:
        for one in arrivals:
            for row in one.out_row.tolist():
                self._advance(iteration)
                yield row


def _made_of(dataset: Any) -> list[Any]:
    """What torch's own ways to join datasets, and to choose rows of one, are made of."""
    if isinstance(dataset, Subset):
        return _made_of(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return [one for each in dataset.datasets for one in _made_of(each)]
    return [dataset]


_NONE = np.zeros(16, np.uint8)


def _mark(dataset: Any) -> int:
    """A checksum over which rows a dataset has, in their order; 0 of a dataset from elsewhere, which does not say."""
    if isinstance(dataset, Subset):
        chosen = np.asarray(dataset.indices)
        numbers = chosen.astype("<i8") if chosen.dtype.kind in "iu" else np.zeros(0, np.int64)
        return zlib.crc32(numbers.tobytes(), _mark(dataset.dataset))
    if isinstance(dataset, ConcatDataset):
        marks = [(len(one), _mark(one)) for one in dataset.datasets]  # type: ignore[arg-type]  # torch asks them, too
        return zlib.crc32(np.array(marks, "<i8").tobytes())
    if isinstance(dataset, Mapped):
        return _mark(dataset.dataset)
    if isinstance(dataset, EncryptedDataset):
        return int(dataset._rows.once("mark", lambda: torch.tensor(_mark_of(dataset.corpora))))
    return 0


def _mark_of(corpora: Sequence[Corpus]) -> int:
    mark = 0
    for corpus in corpora:
        mark = zlib.crc32(corpus.corpus_id, mark)
        for column in ("object_id", "start"):  # the numbers alone do not say what a filter left
            for chunk in corpus.table.column(column).chunks:
                cells = pc.fill_null(chunk, -1) if column == "start" else chunk
                width = 16 if column == "object_id" else 8
                data = memoryview(cells.buffers()[1] or b"")
                mark = zlib.crc32(data[width * cells.offset : width * (cells.offset + len(cells))], mark)
    return mark
