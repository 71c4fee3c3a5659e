"""The plan of an epoch: what is left after interrupted runs, and what each lane delivers next. Arithmetic only.

A plan follows from the seed, the epoch, how many rows each manifest part has, and the runs so far, so a state need not
name samples. What a run has not delivered is dealt to the lanes of the next run, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from securedata.torch.stream.planning.blocks import BlockOrder, Located
from securedata.torch.stream.planning.dealing import Share, cut, delivered, rank_share, size_of, undealt, worker_share
from securedata.torch.stream.planning.hashing import key_of
from securedata.torch.stream.planning.lane import Lane, Member
from securedata.torch.stream.planning.spans import Ints, Spans

_ORDER, _SHUFFLE = 1, 2
_PIECE = 100_000

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Source(NamedTuple):
    """One corpus of a plan.

    Attributes:
        parts: int64 [P], the rows of each manifest part.
        block: rows of a block.
        window: rows over which a lane shuffles.
        rows: how many rows an epoch takes of it.
    """

    parts: Ints
    block: int
    window: int
    rows: int


class Run(NamedTuple):
    """A run that was interrupted, or is over: its loaders delivered `steps` batches on each rank.

    `counts`: where that does not say it exactly, how many rows each worker of each rank delivered, rank by rank; or of
    one rank, for which the others are like it.
    """

    ranks: int
    workers: int
    batch: int
    steps: int
    counts: tuple[int, ...] = ()


class Plan:
    """What is left of an epoch."""

    def __init__(self, sources: Sequence[Source], seed: int, epoch: int, uneven: str | None) -> None:
        self._uneven = uneven
        self._windows = [one.window for one in sources]
        self._keys = [key_of(seed, epoch, which, _SHUFFLE) for which in range(len(sources))]
        self._orders = [
            BlockOrder(np.asarray(one.parts, np.int64), one.block, one.rows, key_of(seed, epoch, which, _ORDER))
            for which, one in enumerate(sources)
        ]
        self._left = [Spans.range(0, one.rows) for one in sources]

    def __len__(self) -> int:
        return sum(map(len, self._left))

    def left(self, which: int) -> Iterator[tuple[Ints, Located]]:
        """Which rows of a corpus are left: their positions, ascending, and where they are, in pieces."""
        spans = self._left[which]
        for at in range(0, len(spans), _PIECE):
            numbers = spans.numbers(at, min(at + _PIECE, len(spans)))
            yield numbers, self._orders[which].locate(numbers)

    def leave_out(self, which: int, delivered: Sequence[Mask]) -> None:
        """Take away rows of a corpus: of each part, those that are marked."""
        kept = []
        for numbers, found in self.left(which):
            gone = np.zeros(len(numbers), bool)
            for part in np.unique(found.part).tolist():
                mine = found.part == part
                gone[mine] = delivered[part][found.row[mine]]
            kept.append(Spans.of(numbers[~gone]))
        self._left[which] = Spans.joined(kept)

    def lane(self, ranks: int, workers: int, rank: int, worker: int) -> Lane:
        """The lane of one worker of one rank, in the next run."""
        return self._lane(worker_share(rank_share(len(self), ranks, rank, self._uneven), workers, worker))

    def share(self, ranks: int, rank: int) -> int:
        """How many rows one rank delivers in the next run."""
        return size_of(rank_share(len(self), ranks, rank, self._uneven))

    def _lane(self, share: Share) -> Lane:
        sizes = list(map(len, self._left))
        spans: list[list[Spans]] = [[] for _ in sizes]
        own = [0] * len(sizes)
        for ranges, are_own in ((share.own, True), (share.pads, False)):
            for a, b in ranges:
                for which, (first, last) in enumerate(zip(cut(sizes, a), cut(sizes, b), strict=True)):
                    spans[which].append(self._left[which].slice(first, last))
                    own[which] += (last - first) * are_own
        return Lane(
            [
                Member(order, Spans.joined(spans[which]), own[which], self._windows[which], self._keys[which])
                for which, order in enumerate(self._orders)
            ]
        )

    def follow(self, run: Run) -> None:
        """Take away what a run has delivered."""
        left: list[list[Spans]] = [[] for _ in self._left]
        total = len(self)
        for rank in range(run.ranks):
            share = rank_share(total, run.ranks, rank, self._uneven)
            for worker in range(run.workers):
                lane = self._lane(worker_share(share, run.workers, worker))
                for which, rest in enumerate(lane.rest(self._delivered(run, rank, worker, len(lane)))):
                    left[which].append(rest)
        lo, hi = undealt(total, run.ranks, self._uneven)
        sizes = list(map(len, self._left))
        for which, (first, last) in enumerate(zip(cut(sizes, lo), cut(sizes, hi), strict=True)):
            left[which].append(self._left[which].slice(first, last))
        self._left = [Spans.joined(one) for one in left]

    @staticmethod
    def _delivered(run: Run, rank: int, worker: int, rows: int) -> int:
        if not run.counts:
            return delivered(rows, run.workers, worker, run.batch, run.steps)
        every = len(run.counts) == run.ranks * run.workers
        return min(rows, run.counts[rank * run.workers * every + worker])
