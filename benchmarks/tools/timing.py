"""Time a list of calls, in this process or for a parent over a pipe: the one clock that every contender is measured by.

Needs nothing but the standard library, because the peers' worker runs it in a venv of its own.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Protocol

Call = Callable[[], object]


@dataclass(frozen=True)
class Slice:
    """One measurement: so many calls took so many seconds of this process's CPU, and of the wall clock."""

    calls: int
    cpu: float
    wall: float

    def __add__(self, other: Slice) -> Slice:
        return Slice(self.calls + other.calls, self.cpu + other.cpu, self.wall + other.wall)


@dataclass(frozen=True)
class Work:
    """What a contender does at one size: one call per object, in both directions."""

    open: Sequence[Call]
    seal: Sequence[Call]

    def calls(self, direction: str) -> Sequence[Call]:
        return self.open if direction == "open" else self.seal


class Contender(Protocol):
    """Whoever seals `count` objects of `size` bytes, opens them, and has checked that they are the same."""

    name: str

    def prepare(self, size: int, count: int) -> Work: ...


def run(calls: Sequence[Call], number: int) -> Slice:
    """Make `number` calls, round and round over `calls`, with the garbage collector held back.

    CPU time is what the ratios are made of: a neighbour who takes the core for a while costs wall time only.
    """
    series = list(islice(chain.from_iterable(repeat(calls)), number))
    collecting = gc.isenabled()
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        for call in series:
            call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    finally:
        if collecting:
            gc.enable()
    return Slice(number, cpu, wall)


def number_for(calls: Sequence[Call], seconds: float) -> int:
    """How many calls fill about `seconds`; the calls made to find out also warm caches and allocator."""
    run(calls, len(calls))
    number = 1
    while True:
        took = run(calls, number).cpu
        if took >= seconds / 4:
            return max(1, round(number * seconds / took))
        number *= 4


def by_turns(one: Sequence[Call], other: Sequence[Call], passes: int = 4) -> tuple[float, float]:
    """CPU seconds of two series of calls that do the same work in two ways: each pair back to back, the first by turns.

    Of several passes the fastest of each call counts: a disturbance only ever adds.
    """
    best = [[float("inf")] * len(one), [float("inf")] * len(other)]
    for turn in range(passes):
        for number, pair in enumerate(zip(one, other, strict=True)):
            for side in (0, 1) if (number + turn) % 2 else (1, 0):
                best[side][number] = min(best[side][number], run([pair[side]], 1).cpu)
    return sum(best[0]), sum(best[1])
