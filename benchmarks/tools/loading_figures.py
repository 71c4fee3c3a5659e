"""Tables, ratios and verdicts from the rounds of benchmarks.loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.tools.stats import Estimate, Figure, estimate, table

OURS, BARE, RAM = "securedata", "securedata, decryption taken out", "securedata, plaintext in RAM"
BEHIND = "securedata, without look-ahead"
SPEEDS: dict[str, dict[str, float]] = {
    "latency-20ms": {"s3torchconnector": 8, "boto3": 8, "s3fs": 10, "LitData raw": 1.2, "boto3 + Fernet": 10},
    "latency-0ms": {"s3torchconnector": 1.4, "boto3": 1.8, "s3fs": 2.5, "LitData raw": 1.2},
}
BYTES = {"s3torchconnector": 1.5, "boto3": 4.0}
SHARES = {"share-flac": ("FLAC", 3.0), "share-wav": ("32 kB WAV", 8.0)}
RAM_CPU, RAM_SPEED = 1.07, 0.72
"""Where all share two cores."""
PINNED_SPEED = 0.90
"""Where the one worker has a core of its own."""
BLOCKED = 0.10
SAME_CPU = 1.0
"""Look-ahead shall take no CPU of its own."""


@dataclass
class Measured:
    """The rounds of one section, by contender."""

    name: str
    batch: int
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, contender: str, found: dict[str, Any]) -> None:
        self.rounds.setdefault(contender, []).append(found)

    def per_second(self, contender: str) -> list[float]:
        """Samples per second, by round."""
        return [one["samples"] / one["wall"] for one in self.rounds[contender]]

    def cpu(self, contender: str) -> list[float]:
        """CPU seconds of the workers per sample, by round."""
        return [one["cpu"] / one["samples"] for one in self.rounds[contender]]

    def blocked(self, contender: str) -> list[float]:
        """Milliseconds a sample for which a worker neither ran nor waited for a core, by round."""
        return [one["blocked"] * 1e3 for one in self.rounds[contender]]

    def megabytes(self, contender: str) -> list[float]:
        """Bytes delivered, in MB/s."""
        return [one["bytes"] / one["wall"] / 1e6 for one in self.rounds[contender]]

    def ratio(self, of: str, to: str, by: Callable[[str], list[float]]) -> Estimate:
        """Per round, because a disturbance affects all contenders of a round."""
        return estimate(one / other for one, other in zip(by(of), by(to), strict=True))

    def json(self) -> dict[str, Any]:
        return {"contenders": self.rounds}


def table_of(measured: Measured) -> str:
    """Speed and CPU of each contender, and ours beside it."""
    ours = next(iter(measured.rounds))
    if "bytes" in measured.rounds[ours][0]:
        rows = [
            [name, str(estimate(measured.megabytes(name))), str(measured.ratio(ours, name, measured.megabytes))]
            for name in measured.rounds
        ]
        return table(["contender", "MB/s [95 %]", "ours to this [95 %]"], rows)
    rows = [
        [
            name,
            str(estimate(measured.per_second(name))),
            str(estimate(seconds * 1e3 for seconds in measured.cpu(name))),
            str(estimate(measured.blocked(name))),
            str(measured.ratio(ours, name, measured.per_second)),
        ]
        for name in measured.rounds
    ]
    columns = [
        "contender",
        "samples/s [95 %]",
        "worker CPU, ms/sample",
        "blocked, ms/sample",
        "ours to this, samples/s",
    ]
    return table(columns, rows)


def figures_of(found: Mapping[str, Measured], pinned: bool = False) -> list[Figure]:
    figures = []
    for section, targets in SPEEDS.items():
        if section not in found:
            continue
        one = found[section]
        for peer, target in targets.items():
            if peer in one.rounds:
                measured = one.ratio(OURS, peer, one.per_second)
                figures.append(Figure(f"{section}: samples/s, securedata / {peer}", target, measured, unit="x"))
        if RAM in one.rounds and section == "latency-20ms":
            speed = one.ratio(OURS, RAM, one.per_second)
            figures.append(
                Figure(
                    f"{section}: samples/s, securedata / in RAM", PINNED_SPEED if pinned else RAM_SPEED, speed, unit="x"
                )
            )
            blocked = estimate(one.blocked(OURS))
            figures.append(Figure(f"{section}: blocked, ms a sample", BLOCKED, blocked, at_most=True, unit="ms"))
        if BEHIND in one.rounds:
            same = one.ratio(OURS, BEHIND, one.cpu)
            name = f"{section}: worker CPU, with / without look-ahead"
            figures.append(Figure(name, SAME_CPU, same, at_most=True, unit="x"))
        if RAM in one.rounds:
            cpu = one.ratio(OURS, RAM, one.cpu)
            name = f"{section}: worker CPU, securedata / in RAM"
            figures.append(Figure(name, RAM_CPU, cpu, at_most=True, unit="x"))
    if "bytes" in found:
        one = found["bytes"]
        for peer, target in BYTES.items():
            if f"bytes: {peer}" in one.rounds:
                measured = one.ratio("bytes: securedata", f"bytes: {peer}", one.megabytes)
                figures.append(Figure(f"bytes: securedata / {peer}, 16 threads", target, measured, unit="x"))
    for section, (what, target) in SHARES.items():
        if section in found:
            (rounds,) = found[section].rounds.values()
            share = estimate(one["sealing"] / one["cpu"] * 100 for one in rounds)
            name = f"{what}: decryption and lookup, of the worker's CPU"
            figures.append(Figure(name, target, share, at_most=True, unit="%"))
    return figures
