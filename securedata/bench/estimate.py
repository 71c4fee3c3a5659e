"""The median of several rounds, with an interval that assumes nothing about their distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from securedata.bench.units import number

CONFIDENCE = 0.95
ROUNDS = 6
"""The fewest rounds whose extremes enclose the true median with 95 % confidence: 1 - 2 / 2^6 = 0.97."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median, and the narrowest pair of rounds that encloses the true median with 95 % confidence.

    The interval is the one of order statistics. Fewer than six rounds do not reach 95 %; `confidence` is what they
    reach.
    """

    median: float
    low: float
    high: float
    confidence: float
    rounds: int

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}, {number(self.high)}]"

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit."""
        return replace(self, median=self.median * factor, low=self.low * factor, high=self.high * factor)

    def json(self) -> dict[str, float]:
        return asdict(self)


def estimate(values: Iterable[float]) -> Estimate:
    """The estimate of at least one value."""
    found = sorted(values)
    count = len(found)
    rank, outside = 1, 0.5**count  # chance that the true median lies below the rank-th smallest of the values
    while 2 * (rank + 1) <= count:
        wider = outside + math.comb(count, rank) * 0.5**count
        if 1 - 2 * wider < CONFIDENCE:
            break
        rank, outside = rank + 1, wider
    return Estimate(statistics.median(found), found[rank - 1], found[-rank], max(0.0, 1 - 2 * outside), count)
