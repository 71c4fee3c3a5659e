"""The rows of one corpus in the order of an epoch: parts permuted, and the blocks of each, or of small parts together.

A block is a run of rows of one manifest part. Blocks are permuted within groups of parts rather than within the whole
corpus, so that a lane, which gets consecutive rows of this order, opens only the parts of its own blocks, few at once.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from securedata.torch.stream.planning.hashing import hashes, key_of
from securedata.torch.stream.planning.spans import Ints

GROUP_ROWS = 75_000
"""Parts are taken together until they have this many rows, so a full part, of up to 100,000, is mostly alone: the first
batch needs few of them, and a worker keeps few in memory."""

_KEPT = 8  # groups that are kept once computed


class Located(NamedTuple):
    """Where positions of the order are, each int64 [N]: the part, the row in it, and a number of the block."""

    part: Ints
    row: Ints
    block: Ints


class _Group(NamedTuple):
    ends: Ints
    parts: Ints
    starts: Ints


class BlockOrder:
    """Positions 0 to `rows` of an epoch. If a corpus has fewer rows than that, it is passed through several times."""

    def __init__(self, parts: Ints, block: int, rows: int, key: int) -> None:
        """
        Args:
            parts: int64 [P], the rows of each part.
            block: rows of a block.
            rows: how many rows the epoch takes of this corpus.
            key: from the seed and the epoch.
        """
        self.rows, self.block = rows, block
        self._parts, self._key = parts, key
        self._members: list[Ints] = []
        self._starts: list[int] = []
        total, at = int(parts.sum()), 0
        for number in range(-(-rows // total) if total else 0):
            order = np.argsort(hashes(key_of(key, number), np.arange(len(parts))), kind="stable")
            at = self._pass(order[parts[order] > 0], at)
        self._starts.append(at)
        self._known: dict[int, _Group] = {}

    def _pass(self, order: Ints, at: int) -> int:
        members: list[int] = []
        size = 0
        for part in order.tolist():
            members.append(part)
            size += int(self._parts[part])
            if size >= GROUP_ROWS:
                at, members, size = self._close(members, size, at), [], 0
        return self._close(members, size, at) if members else at

    def _close(self, members: list[int], size: int, at: int) -> int:
        self._starts.append(at)
        self._members.append(np.array(members, np.int64))
        return at + size

    def locate(self, positions: Ints) -> Located:
        """Where these positions are."""
        part, row, block = (np.empty(len(positions), np.int64) for _ in range(3))
        if len(positions):
            first = bisect_right(self._starts, int(positions.min())) - 1
            last = bisect_right(self._starts, int(positions.max())) - 1
            for number in range(first, last + 1):
                start = self._starts[number]
                mine = np.flatnonzero((positions >= start) & (positions < self._starts[number + 1]))
                group, inside = self._group(number), positions[mine] - start
                which = np.searchsorted(group.ends, inside, "right")
                begun = np.where(which > 0, group.ends[which - 1], 0)
                part[mine] = group.parts[which]
                row[mine] = group.starts[which] + inside - begun
                block[mine] = start + begun
        return Located(part, row, block)

    def _group(self, number: int) -> _Group:
        found = self._known.get(number)
        if found is None:
            members = self._members[number]
            rows = self._parts[members]
            counts = -(-rows // self.block)
            parts = np.repeat(members, counts)
            starts = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * self.block
            sizes = np.minimum(self.block, np.repeat(rows, counts) - starts)
            order = np.argsort(hashes(key_of(self._key, ~number), np.arange(len(parts))), kind="stable")
            found = _Group(np.cumsum(sizes[order]), parts[order], starts[order])
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[number] = found
        return found
