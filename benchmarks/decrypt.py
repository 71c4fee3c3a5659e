"""Decrypt and seal throughput of securedata beside its peers, in one run.

    python -m benchmarks.decrypt                     everything (first creates .venv-peers); about four minutes
    python -m benchmarks.decrypt --no-peers          without the peers' venv
    python -m benchmarks.decrypt --sizes 100kB,1MiB --rounds 15 --out results

Each contender opens what it sealed itself, into a reused buffer if its API allows that. In every round, contenders take
turns with a few short slices each, in a rotating order, so that other work on the machine affects all of them. Each
one's fastest slice counts, because disturbances only add time. Ratios are per round, of CPU time. A family with
variants (frame length, segment size, way of reading) takes part with the one that was fastest at that size in a short
trial before the rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.peers import contenders, ours
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, report
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Estimate, Figure, estimate, figures_table, number, table
from benchmarks.tools.timing import Contender, Slice, Work, number_for, run

SIZES = {"4kB": 4_000, "32kB": 32_000, "100kB": 100_000, "1MiB": 1 << 20, "16MiB": 16 << 20}
WORKING_SET = """bytes of plaintext opened in turn, at least one object; by default (1 MiB) an object is in the
core's caches when it is opened, like one that was just fetched"""
DIRECTIONS = ("open", "seal")
LIMIT = contenders.OneShot.name
READER = ours.Reader.name

# direction, size, who, times, of whom
TARGETS = (
    ("open", "1MiB", 0.50, LIMIT),
    ("open", "100kB", 0.35, LIMIT),
    ("open", "100kB", 20.0, contenders.FernetToken.name),
    ("open", "1MiB", 20.0, contenders.FernetToken.name),
    ("open", "100kB", 6.0, "AWS ESDK"),
    ("open", "1MiB", 4.0, "AWS ESDK"),
    ("open", "100kB", 4.0, "Tink streaming"),
    ("open", "1MiB", 4.0, "Tink streaming"),
    ("seal", "1MiB", 0.45, LIMIT),
)


class Runner(Protocol):
    """A variant: prepares objects, finds how many calls fill a slice, and runs them, here or in the worker."""

    name: str

    def does(self, direction: str) -> bool: ...
    def prepare(self, size: int, count: int) -> None: ...
    def forget(self) -> None: ...
    def fit(self, direction: str, seconds: float) -> int: ...
    def run(self, direction: str, number: int) -> Slice: ...


class Local:
    """A contender in this process."""

    def __init__(self, contender: Contender) -> None:
        self.name = contender.name
        self._contender = contender
        self._work = Work([], [])

    def prepare(self, size: int, count: int) -> None:
        self._work = self._contender.prepare(size, count)

    def does(self, direction: str) -> bool:
        return bool(self._work.calls(direction))

    def forget(self) -> None:
        self._work = Work([], [])

    def fit(self, direction: str, seconds: float) -> int:
        return number_for(self._work.calls(direction), seconds)

    def run(self, direction: str, number: int) -> Slice:
        return run(self._work.calls(direction), number)


@dataclass
class Entry:
    """A family at one size in one direction: the variant that won the trial, and its rounds."""

    family: str
    runner: Runner
    number: int
    trials: dict[str, float] = field(default_factory=dict)
    rounds: list[Slice] = field(default_factory=list)

    def speeds(self, size: int, clock: str = "cpu") -> list[float]:
        return [size * took.calls / getattr(took, clock) for took in self.rounds]


Results = dict[tuple[str, str], list[Entry]]


def measure(families: dict[str, list[Runner]], size: int, args: argparse.Namespace) -> dict[str, list[Entry]]:
    """All rounds of all families at one size, in both directions."""
    count = max(1, min(64, args.working_set // size))
    for runner in (runner for variants in families.values() for runner in variants):
        runner.prepare(size, count)
    found: dict[str, list[Entry]] = {}
    for direction in DIRECTIONS:
        able = {family: variants for family, variants in families.items() if variants[0].does(direction)}
        entries = [trial(family, variants, direction, size, args.slice) for family, variants in able.items()]
        for round_ in range(args.rounds):
            slices: list[list[Slice]] = [[] for _ in entries]
            for turn in range(args.turns):
                shift = (round_ * args.turns + turn) % len(entries)
                for place in [*range(shift, len(entries)), *range(shift)]:
                    slices[place].append(entries[place].runner.run(direction, entries[place].number))
            for entry, taken in zip(entries, slices, strict=True):
                entry.rounds.append(min(taken, key=lambda took: took.cpu))
        found[direction] = entries
    for runner in (runner for variants in families.values() for runner in variants):
        runner.forget()
    return found


def trial(family: str, variants: Sequence[Runner], direction: str, size: int, seconds: float) -> Entry:
    """Choose the fastest variant of a family, by the best of three short slices each."""
    numbers = [runner.fit(direction, seconds) for runner in variants]
    if len(variants) == 1:
        return Entry(family, variants[0], numbers[0])
    best = [0.0] * len(variants)
    for _ in range(3):
        for place, runner in enumerate(variants):
            took = runner.run(direction, numbers[place])
            best[place] = max(best[place], size * took.calls / took.cpu)
    winner = best.index(max(best))
    trials = {runner.name: speed / 1e9 for runner, speed in zip(variants, best, strict=True)}
    return Entry(family, variants[winner], numbers[winner], trials)


def ratio(entries: Sequence[Entry], size: int, family: str, of: str) -> Estimate | None:
    """How many times as fast one family is as another, per round; None if either is missing."""
    by_name = {entry.family: entry for entry in entries}
    if family not in by_name or of not in by_name:
        return None
    pairs = zip(by_name[family].speeds(size), by_name[of].speeds(size), strict=True)
    return estimate(mine / theirs for mine, theirs in pairs)


def figures(results: Results, sizes: dict[str, int]) -> list[Figure]:
    found = []
    for direction, label, target, of in TARGETS:
        entries = results.get((label, direction), [])
        who = READER if direction == "open" else ours.Format.name
        # the fastest family of a peer counts: the SDK has two ways to hold a key
        ratios = [
            (measured.median, name, measured)
            for name in {entry.family for entry in entries if entry.family.startswith(of)}
            if (measured := ratio(entries, sizes[label], who, name)) is not None
        ]
        if ratios:
            _, name, measured = min(ratios, key=lambda item: item[0])
            found.append(Figure(f"{direction} {label}: {who} / {name}", target, measured, unit="x"))
    return found


def speeds_table(results: Results, sizes: dict[str, int], direction: str) -> str:
    rows = []
    for name in [entry.family for entry in results[next(iter(sizes)), direction]]:
        row = [name]
        for label, size in sizes.items():
            entry = next(entry for entry in results[label, direction] if entry.family == name)
            share = ratio(results[label, direction], size, name, LIMIT)
            speed = number(estimate(entry.speeds(size)).median / 1e9)
            row.append(f"{speed} ({share.median:.2f})" if share else speed)
        rows.append(row)
    return table([f"{direction}: GB/s (of the limit)", *sizes], rows)


def variants_table(results: Results) -> str:
    rows = [
        [direction, label, entry.family, entry.runner.name]
        for (label, direction), entries in results.items()
        for entry in entries
        if entry.trials
    ]
    return table(["", "size", "family", "fastest variant"], rows)


def to_json(results: Results, sizes: dict[str, int]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for (label, direction), entries in results.items():
        for entry in entries:
            share = ratio(entries, sizes[label], entry.family, LIMIT)
            rows.append(
                {
                    "direction": direction,
                    "size": sizes[label],
                    "family": entry.family,
                    "variant": entry.runner.name,
                    "GB_per_cpu_s": [speed / 1e9 for speed in entry.speeds(sizes[label])],
                    "GB_per_wall_s": [speed / 1e9 for speed in entry.speeds(sizes[label], "wall")],
                    "of_the_limit": share.json() if share else None,
                    "trials_GB_per_s": entry.trials,
                }
            )
    return rows


def plot(results: Results, sizes: dict[str, int], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5), sharey=True, constrained_layout=True)
    colors: dict[str, str] = {}
    for direction, axis in zip(DIRECTIONS, axes, strict=True):
        for place, entry in enumerate(results[next(iter(sizes)), direction]):
            speeds = [estimate(results[label, direction][place].speeds(size)) for label, size in sizes.items()]
            color = colors.setdefault(entry.family, f"C{len(colors)}" if len(colors) < 10 else "black")
            line = axis.errorbar(
                list(sizes.values()),
                [speed.median / 1e9 for speed in speeds],
                yerr=[[(s.median - s.low) / 1e9 for s in speeds], [(s.high - s.median) / 1e9 for s in speeds]],
                marker="o" if entry.family.startswith("securedata") else ".",
                linewidth=2.5 if entry.family.startswith("securedata") else 1.2,
                capsize=2,
                color=color,
            )
            line.set_label(entry.family)
        axis.set(xscale="log", yscale="log", title=direction, xlabel="size of the object")
        axis.set_xticks(list(sizes.values()), list(sizes), minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("GB of plaintext per second of one core")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"some of {', '.join(SIZES)}, or a number of bytes")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--working-set", type=int, default=1 << 20, help=WORKING_SET)
    parser.add_argument("--turns", type=int, default=5, help="slices of each contender within a round")
    parser.add_argument("--slice", type=float, default=0.02, help="seconds of CPU per slice")
    parser.add_argument("--no-peers", action="store_true", help="leave out Tink and the AWS Encryption SDK")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT, help="the peers' venv, created if missing")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for decrypt.json, decrypt.png")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    sizes = {label: SIZES[label] if label in SIZES else int(label) for label in args.sizes.split(",")}
    about = machine.describe()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(isolated(work))
        local: list[Contender] = [contenders.OneShot(), contenders.Memcpy(), ours.Reader(work), ours.Format()]
        local += [ours.NewBuffer(), contenders.PycaCobblestone(), contenders.FernetToken()]
        families: dict[str, list[Runner]] = {contender.name: [Local(contender)] for contender in local}
        if not args.no_peers:
            worker = stack.enter_context(peers.Worker(peers.python_of(args.peers_venv), ["tink", "aws-encryption-sdk"]))
            about["peers"] = worker.versions
            for family, variants in worker.families.items():
                families[family] = [peers.Remote(worker, variant) for variant in variants]
        results: Results = {}
        for label, size in sizes.items():
            print(f"measuring {label} ...", file=sys.stderr)
            for direction, entries in measure(families, size, args).items():
                results[label, direction] = entries
    found = figures(results, sizes)
    written = report.write(args.out, "decrypt", about, found, to_json(results, sizes))
    plot(results, sizes, args.out / "decrypt.png")
    print(f"\n{machine.line(about)}\n")
    for direction in DIRECTIONS:
        print(speeds_table(results, sizes, direction) + "\n")
    if not args.no_peers:
        print(variants_table(results) + "\n")
    if found:
        print(figures_table(found))
    print(f"\nwritten: {written}, {args.out / 'decrypt.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
