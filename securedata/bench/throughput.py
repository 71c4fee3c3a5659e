"""Decryption from memory, by object size and number of workers, interleaved with the host's limits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from securedata.bench.estimate import ROUNDS, Estimate, estimate
from securedata.bench.pool import Pool
from securedata.bench.work import AES_GCM, MEMCPY, METHODS, SECUREDATA, Case, memory_needed
from securedata.errors import InvalidArgument

Progress = Callable[[float, str], None]
"""Called with the seconds that have passed, and with what is being measured."""

_WANTED_ROUNDS = 9
_SHORTEST, _LONGEST = 0.002, 0.2  # seconds of one measurement
_PROCESS = 60_000_000  # bytes of memory of a Python process that has loaded cryptography


@dataclass(frozen=True, slots=True)
class Result:
    """One case with one number of workers; rates are those of all workers together."""

    workers: int
    case: Case
    calls: dict[str, list[float]]
    """By method: calls per second, one value for each round."""

    def gb_per_s(self, method: str) -> Estimate:
        """Plaintext in 10^9 bytes per second."""
        return estimate(rate * self.case.bytes / 1e9 for rate in self.calls[method])

    def objects_per_s(self) -> Estimate:
        """Objects, or ranges, that securedata opens per second."""
        return estimate(self.calls[SECUREDATA])

    def share_of(self, method: str) -> Estimate:
        """securedata's rate over that of `method`, compared within each round."""
        return estimate(a / b for a, b in zip(self.calls[SECUREDATA], self.calls[method], strict=True))

    def json(self) -> dict[str, Any]:
        return {
            "workers": self.workers,
            "object_bytes": self.case.size,
            "range_bytes": self.case.length,
            "objects_per_s": self.objects_per_s().json(),
            "gb_per_s": {method: self.gb_per_s(method).json() for method in METHODS},
            "share": {method: self.share_of(method).json() for method in (AES_GCM, MEMCPY)},
        }


@dataclass(frozen=True, slots=True)
class Throughput:
    """All results of one run."""

    results: list[Result]
    rounds: int
    slice_seconds: float
    undisturbed: dict[int, float]
    """By number of workers: the share of time in which each had a core to itself (CPU time over wall clock)."""

    def json(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "slice_seconds": self.slice_seconds,
            "undisturbed": [{"workers": count, "share": share} for count, share in self.undisturbed.items()],
            "results": [result.json() for result in self.results],
        }

    def of(self, workers: int) -> list[Result]:
        """The results with that many workers, in the order of the cases."""
        return [result for result in self.results if result.workers == workers]

    @property
    def workers(self) -> list[int]:
        """The numbers of workers that were measured, ascending."""
        return sorted({result.workers for result in self.results})


def worker_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and all cores."""
    return tuple(sorted({*(2**n for n in range(cores.bit_length())), cores}))


def check_memory(cases: Sequence[Case], workers: int) -> None:
    """Check, before making any objects, that they fit into memory.

    Raises:
        InvalidArgument: they do not.
    """
    needed = workers * (memory_needed(cases) + _PROCESS)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there // 2:
        raise InvalidArgument(
            f"{workers} workers with objects of these sizes would take {needed / 1e9:.1f} GB, more than half of the "
            f"{there / 1e9:.1f} GB of this host: use fewer --workers or smaller --sizes"
        )


def measure(cases: Sequence[Case], counts: Sequence[int], seconds: float, progress: Progress) -> Throughput:
    """Measure every case with every number of workers, round after round, for about `seconds`.

    The three methods take turns, in an order that changes from round to round, so that other work on the host affects
    all of them. There are at least six rounds, even if they take longer.

    Raises:
        InvalidArgument: not enough memory.
        SecuredataError: a worker ended early.
    """
    check_memory(cases, max(counts))
    begun = time.monotonic()
    calls: dict[tuple[int, Case], dict[str, list[float]]] = {
        (count, case): {method: [] for method in METHODS} for count in counts for case in cases
    }
    with Pool(max(counts), cases) as pool:
        progress(0.0, "making objects")
        pool.wait()
        left = seconds - (time.monotonic() - begun)
        span = min(_LONGEST, max(_SHORTEST, left / (_WANTED_ROUNDS * len(METHODS) * len(calls))))
        rounds, longest = 0, 0.0
        wall, cpu = dict.fromkeys(counts, 0.0), dict.fromkeys(counts, 0.0)
        while rounds < ROUNDS or time.monotonic() + longest - begun < seconds:
            started = time.monotonic()
            for (count, case), rates in calls.items():
                progress(time.monotonic() - begun, f"{case.name}, {count} worker{'s' if count > 1 else ''}")
                for turn in range(len(METHODS)):
                    method = METHODS[(rounds + turn) % len(METHODS)]
                    runs = pool.run(count, case, method, span)
                    rates[method].append(sum(run.calls / run.wall for run in runs))
                    wall[count] += sum(run.wall for run in runs)
                    cpu[count] += sum(run.cpu for run in runs)
            rounds, longest = rounds + 1, max(longest, time.monotonic() - started)
    results = [Result(count, case, rates) for (count, case), rates in calls.items()]
    return Throughput(results, rounds, span, {count: min(1.0, cpu[count] / wall[count]) for count in counts})
