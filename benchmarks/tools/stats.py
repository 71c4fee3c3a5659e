"""Medians, intervals and verdicts of interleaved runs, and the tables that show them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

CONFIDENCE = 0.95
REACH = 0.9
"""A target counts as met if the interval reaches this fraction of it: machines differ by more than the last tenth."""


@dataclass(frozen=True)
class Estimate:
    """The median of some runs and an interval for it.

    The interval is the one of order statistics: distribution-free, no resampling. It is the narrowest symmetric pair of
    runs that encloses the true median with 95 % confidence: with 7 runs the smallest and the largest (98.4 %). With
    fewer than 6 runs even these have less; `confidence` is what they have.
    """

    median: float
    low: float
    high: float
    confidence: float
    runs: int

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}, {number(self.high)}]"

    def json(self) -> dict[str, float]:
        return asdict(self)


def estimate(values: Iterable[float]) -> Estimate:
    runs = sorted(values)
    count = len(runs)
    if not count:
        raise ValueError("no runs to estimate from")
    rank, outside = 1, 0.5**count
    while True:
        wider = outside + math.comb(count, rank) * 0.5**count
        if 1 - 2 * wider < CONFIDENCE or 2 * rank >= count:
            break
        rank, outside = rank + 1, wider
    return Estimate(statistics.median(runs), runs[rank - 1], runs[-rank], max(0.0, 1 - 2 * outside), count)


@dataclass(frozen=True)
class Figure:
    """A target (at least, or at most) and the measured value."""

    workload: str
    target: float
    measured: Estimate
    at_most: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        """`met` if the whole interval is within a tenth of the target or better; `met (edge)` if its better end is."""
        if self.at_most:
            better, worse = self.measured.low <= self.target / REACH, self.measured.high <= self.target / REACH
        else:
            better, worse = self.measured.high >= self.target * REACH, self.measured.low >= self.target * REACH
        return "met" if worse else "met (edge)" if better else "not met"

    def row(self) -> list[str]:
        sign = "<=" if self.at_most else ">="
        unit = f" {self.unit}" if self.unit else ""
        return [self.workload, f"{sign} {number(self.target)}{unit}", f"{self.measured}{unit}", self.verdict]

    def json(self) -> dict[str, object]:
        return {
            "workload": self.workload,
            "target": self.target,
            "at_most": self.at_most,
            "unit": self.unit,
            "measured": self.measured.json(),
            "verdict": self.verdict,
        }


def figures_table(figures: Sequence[Figure]) -> str:
    return table(["figure", "target", "measured [95 %]", "verdict"], [figure.row() for figure in figures])


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, for the terminal and the README."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [list(head), ["-" * width for width in widths], *[list(row) for row in rows]]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
