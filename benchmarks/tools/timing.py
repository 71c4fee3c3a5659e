"""Time a list of calls: the one clock for all contenders, in this process and in the peers' worker.

It needs only the standard library, because the worker runs in a venv of its own.
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
    """One measurement: the number of calls, and the CPU and wall-clock seconds that they took."""

    calls: int
    cpu: float
    wall: float

    def __add__(self, other: Slice) -> Slice:
        return Slice(self.calls + other.calls, self.cpu + other.cpu, self.wall + other.wall)


@dataclass(frozen=True)
class Work:
    """A contender's work at one size: one call per object, in both directions."""

    open: Sequence[Call]
    seal: Sequence[Call]

    def calls(self, direction: str) -> Sequence[Call]:
        return self.open if direction == "open" else self.seal


class Contender(Protocol):
    """A contender seals `count` objects of `size` bytes, opens them, and checks that they are the same."""

    name: str

    def prepare(self, size: int, count: int) -> Work: ...


def run(calls: Sequence[Call], number: int) -> Slice:
    """Make `number` calls, cycling through `calls`, without garbage collection.

    Ratios use CPU time, because other work on the core only costs wall time.
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
    """How many calls take about `seconds`. The calls made to find out also warm up caches and allocator."""
    run(calls, len(calls))
    number = 1
    while True:
        took = run(calls, number).cpu
        if took >= seconds / 4:
            return max(1, round(number * seconds / took))
        number *= 4


def by_turns(one: Sequence[Call], other: Sequence[Call], passes: int = 4) -> tuple[float, float]:
    """CPU seconds of two series of calls that do the same work in two ways, run in pairs with alternating order.

    There are several passes, and each call's fastest counts, because disturbances only add time.
    """
    best = [[float("inf")] * len(one), [float("inf")] * len(other)]
    for turn in range(passes):
        for number, pair in enumerate(zip(one, other, strict=True)):
            for side in (0, 1) if (number + turn) % 2 else (1, 0):
                best[side][number] = min(best[side][number], run([pair[side]], 1).cpu)
    return sum(best[0]), sum(best[1])
