"""The rows of one lane in the order of their delivery: by a hash over a window that moves through the lane's blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from securedata.torch.stream.planning.blocks import BlockOrder, Located
from securedata.torch.stream.planning.hashing import Floats, fractions
from securedata.torch.stream.planning.spans import Ints, Spans

_LOADED = 256  # rows whose keys are computed at once, at least


class Member(NamedTuple):
    """What a lane has of one corpus.

    Attributes:
        spans: positions of the corpus's order; the last ones may only fill up.
        own: how many of them this lane must deliver.
        window: rows over which they are shuffled.
        key: from the seed and the epoch.
    """

    order: BlockOrder
    spans: Spans
    own: int
    window: int
    key: int


class Arrivals(NamedTuple):
    """Rows that a reader needs next, and rows to deliver, which may be among earlier arrivals.

    Attributes:
        corpus, part, row, unit: int64 [N]: rows that now belong to the window. Rows of one unit are of one block, and
            follow each other; units are numbered in the order in which they are needed.
        out_corpus, out_part, out_row, out_unit: int64 [M]: rows to deliver, in this order.
    """

    corpus: Ints
    part: Ints
    row: Ints
    unit: Ints
    out_corpus: Ints
    out_part: Ints
    out_row: Ints
    out_unit: Ints


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far a lane was delivered, for each corpus: all before `lo`, and those of [lo, hi) that `done` marks."""

    lo: tuple[int, ...]
    done: tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], ...]


class Lane:
    """One worker's rows of an epoch. A row's place in the lane is the start of its block plus a hash times the window;
    in a lane of several corpora, that relative to how much of each corpus there is.

    Nothing is stored for a row: the order follows from the plan wherever one begins.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def __len__(self) -> int:
        return sum(len(one.spans) for one in self._members)

    @property
    def members(self) -> Sequence[Member]:
        """What it has of each corpus."""
        return self._members

    def frontier(self, delivered: int) -> Frontier:
        """What the first `delivered` rows are."""
        sizes = [len(one.spans) for one in self._members]
        if delivered >= len(self):
            return Frontier(tuple(sizes), tuple(np.zeros(0, bool) for _ in sizes))
        if delivered <= 0:
            return Frontier(tuple(0 for _ in sizes), tuple(np.zeros(0, bool) for _ in sizes))
        slack = 1
        while True:
            los, his = self._around(delivered, slack)
            keys = [self._keys(which, lo, hi)[1] for which, (lo, hi) in enumerate(zip(los, his, strict=True))]
            which = np.concatenate([np.full(len(one), number) for number, one in enumerate(keys)])
            order = np.lexsort((which, np.concatenate(keys)))
            take = delivered - sum(los)
            if 0 <= take < len(order) and self._certain(np.concatenate(keys)[order[take]], los, his):
                break
            if his == sizes and not any(los):
                break
            slack *= 4
        done = np.zeros(len(order), bool)
        done[order[:take]] = True
        ends = np.cumsum([len(one) for one in keys])[:-1]
        return Frontier(tuple(los), tuple(np.split(done, ends)))

    def _around(self, delivered: int, slack: int) -> tuple[list[int], list[int]]:
        """For each corpus, the rows among which the last of the first `delivered` must be, if `slack` is enough."""
        total, los, his = len(self), [], []
        most = sum(one.order.block + 2 for one in self._members)
        wide = most + sum(one.window for one in self._members)
        for which, one in enumerate(self._members):
            size = len(one.spans)
            lo = int((delivered - slack * most) / total * size) - one.window - one.order.block - 2
            hi = int((delivered + slack * wide) / total * size) + one.order.block + 2
            los.append(self._unit_at(which, max(0, min(size, lo))))
            his.append(max(0, min(size, hi)))
        return los, his

    def _certain(self, limit: float, los: Sequence[int], his: Sequence[int]) -> bool:
        """Whether all rows before `los` come before this key, and all from `his` on after it."""
        for one, lo, hi in zip(self._members, los, his, strict=True):
            size = len(one.spans)
            if lo and (lo + one.window) / size > limit:
                return False
            if hi < size and (hi - one.order.block) / size <= limit:
                return False
        return True

    def _unit_at(self, which: int, at: int) -> int:
        """A beginning of a unit at or before `at`, or the lane's."""
        one = self._members[which]
        first = at - one.order.block
        if first <= 0:
            return 0
        blocks = one.order.locate(one.spans.numbers(first, at)).block
        breaks = np.flatnonzero(np.diff(blocks)) + 1
        # a unit has at most as many rows as a block, so if none begins behind the first of these, that one begins it
        return first + int(breaks[0]) if len(breaks) else first

    def _keys(self, which: int, lo: int, hi: int) -> tuple[Located, Floats, Ints]:
        """Where rows [lo, hi) are, their keys, and where their units begin; `lo` is the beginning of one."""
        one = self._members[which]
        numbers = one.spans.numbers(lo, hi)
        found = one.order.locate(numbers)
        begins = np.arange(lo, hi, dtype=np.int64)
        if len(begins):
            same = np.concatenate(([False], found.block[1:] == found.block[:-1]))
            begins = np.maximum.accumulate(np.where(same, lo, begins))
        keys: Floats = (begins + fractions(one.key, numbers) * one.window) / max(1, len(one.spans))
        return found, keys, begins

    def rest(self, delivered: int) -> list[Spans]:
        """For each corpus, the positions that are not delivered yet; those that only fill up are not among them."""
        frontier, left = self.frontier(delivered), []
        for one, lo, done in zip(self._members, frontier.lo, frontier.done, strict=True):
            hi = lo + len(done)
            numbers = one.spans.numbers(lo, hi)[~done]
            inside = int((~done[: max(0, one.own - lo)]).sum())
            left.append(Spans.joined((Spans.of(numbers[:inside]), one.spans.slice(hi, max(hi, one.own)))))
        return left

    def arrivals(self, delivered: int = 0) -> Iterator[Arrivals]:
        """The lane from its `delivered`-th row on, in pieces of some hundred rows."""
        frontier = self.frontier(delivered)
        sizes = [len(one.spans) for one in self._members]
        at = list(frontier.lo)
        skip = delivered - sum(at)
        waiting = [np.zeros(0, np.int64)] * 4
        keys: Floats = np.zeros(0)
        units = 0
        while any(a < size for a, size in zip(at, sizes, strict=True)) or len(keys):
            new = [np.zeros(0, np.int64)] * 4
            if any(a < size for a, size in zip(at, sizes, strict=True)):
                which = min((a / sizes[w], w) for w, a in enumerate(at) if a < sizes[w])[1]
                end = self._load_end(which, at[which])
                found, more, begins = self._keys(which, at[which], end)
                unit = units + np.cumsum(np.concatenate(([0], np.diff(begins) != 0))).astype(np.int64)
                units = int(unit[-1]) + 1
                new = [np.full(len(more), which, np.int64), found.part, found.row, unit]
                at[which] = end
                waiting = [np.concatenate(pair) for pair in zip(waiting, new, strict=True)]
                keys = np.concatenate((keys, more))
            limit = min((a / sizes[w] for w, a in enumerate(at) if a < sizes[w]), default=np.inf)
            # stable, and `waiting` holds each corpus's rows in their order
            order = np.lexsort((waiting[0], keys))
            ready = int(np.searchsorted(keys[order], limit, "left"))
            out, kept = order[:ready], np.sort(order[ready:])
            dropped = min(skip, ready)
            skip -= dropped
            yield Arrivals(*new, *(one[out[dropped:]] for one in waiting))
            waiting = [one[kept] for one in waiting]
            keys = keys[kept]

    def _load_end(self, which: int, at: int) -> int:
        """Where to stop loading: at the end of a unit."""
        one = self._members[which]
        size, block = len(one.spans), one.order.block
        end = at + max(_LOADED, block) + block
        if end >= size:
            return size
        blocks = one.order.locate(one.spans.numbers(at, end)).block
        breaks = np.flatnonzero(np.diff(blocks)) + 1
        return at + int(breaks[-1])
