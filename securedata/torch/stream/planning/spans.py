"""Runs of whole numbers, numbered through as if they were one list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]


class Spans:
    """The numbers of [lo, hi), of the next [lo, hi), and so on; item `j` is the j-th of them."""

    __slots__ = ("_ends", "hi", "lo")

    def __init__(self, lo: Ints, hi: Ints) -> None:
        filled = hi > lo
        self.lo, self.hi = lo[filled], hi[filled]
        self._ends = np.cumsum(self.hi - self.lo)

    @classmethod
    def range(cls, lo: int, hi: int) -> Spans:
        """One run."""
        return cls(np.array([lo], np.int64), np.array([hi], np.int64))

    @classmethod
    def of(cls, numbers: Ints) -> Spans:
        """The runs of ascending numbers."""
        if not len(numbers):
            return cls.range(0, 0)
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        starts = np.concatenate(([0], breaks))
        ends = np.concatenate((breaks, [len(numbers)]))
        return cls(numbers[starts], numbers[ends - 1] + 1)

    @classmethod
    def joined(cls, several: Iterable[Spans]) -> Spans:
        """All of them, one after the other."""
        listed = list(several)
        if not listed:
            return cls.range(0, 0)
        return cls(np.concatenate([one.lo for one in listed]), np.concatenate([one.hi for one in listed]))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def slice(self, a: int, b: int) -> Spans:
        """Items [a, b), which must be in range."""
        if a >= b:
            return Spans.range(0, 0)
        first = int(np.searchsorted(self._ends, a, "right"))
        last = int(np.searchsorted(self._ends, b, "left"))
        lo, hi = self.lo[first : last + 1].copy(), self.hi[first : last + 1].copy()
        before = int(self._ends[first] - (hi[0] - lo[0]))
        lo[0] += a - before
        hi[-1] -= int(self._ends[last]) - b
        return Spans(lo, hi)

    def numbers(self, a: int, b: int) -> Ints:
        """int64 [b - a]: items [a, b), which must be in range."""
        at = np.arange(a, b, dtype=np.int64)
        if not len(at):
            return at
        which = np.searchsorted(self._ends, at, "right")
        found: Ints = (self.hi[which] - (self._ends[which] - at)).astype(np.int64, copy=False)
        return found
