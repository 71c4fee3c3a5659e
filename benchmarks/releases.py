"""This checkout beside an older one: the CPU time per sample, object or file in each.

    git worktree add ../older 9dfd651
    python -m benchmarks.releases ../older                  every workload: about five minutes
    python -m benchmarks.releases ../older --only wav flac  some of them
    python -m benchmarks.releases ../older --no-s3          without SeaweedFS

Each release runs in a process of its own, which imports securedata from its checkout. Both read the same corpora, made
by the older one. They take turns, round after round, and also take turns in going first. Figures are new / old of CPU
time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.tools import machine, report
from benchmarks.tools.contender import ROOT, Contender
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, estimate, figures_table, table
from benchmarks.workers import release as release_worker
from tests.kit import servers

TARGET = 1.0
"""The new release should not be slower: the median of new / old shows whether it is, the interval how sure that is."""
SLOWER = 1.03

WORKER = ROOT / "benchmarks" / "workers" / "release.py"
"""Run by its path, and outside this checkout, so that it imports the release that it measures."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""The thresholds that glibc reaches in a long run. By default they depend on what a process happened to free, which can
make a batch twice as slow in one of two identical processes."""


def worker(stack: ExitStack, path: Path, work: Path) -> Contender:
    """A process that imports securedata from that checkout."""
    with environment(PYTHONPATH=str(path.resolve()), **MALLOC):
        started = Contender(path.name, sys.executable, [str(WORKER), str(work)], cwd=work.parent)
    found = stack.enter_context(started).ask(do="where")["file"]
    if not Path(found).is_relative_to(path.resolve()):
        raise SystemExit(f"{path} has no securedata: its process imported {found}")
    return started


def measure(args: argparse.Namespace, name: str, work: Path) -> list[dict[str, float]]:
    """The raw rounds of one workload, in processes of its own: CPU seconds per sample, object or file."""
    with ExitStack() as stack:
        old, new = worker(stack, args.old, work), worker(stack, ROOT, work)
        number = old.ask(do="count", name=name, seconds=args.slice)["number"]
        new.ask(do="count", name=name, seconds=args.slice)
        rounds: list[dict[str, float]] = []
        for turn in range(args.rounds):
            best = {"old": float("inf"), "new": float("inf")}
            for again in range(args.passes):
                pair = [("old", old), ("new", new)]
                for side, contender in pair if (turn + again) % 2 else pair[::-1]:
                    best[side] = min(best[side], contender.ask(do="run", name=name, number=number)["cpu"])
            rounds.append(best)
    return rounds


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set these variables for processes started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def seaweed(work: Path) -> Iterator[None]:
    """Start SeaweedFS, and point boto3 to it through the environment."""
    with servers.seaweed(work / "weed") as server:
        os.environ.update(server.environment())
        yield


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout of the older release")
    parser.add_argument("--only", nargs="*", choices=release_worker.WORKLOADS, help="some workloads (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="7 or more for a 95 %% interval")
    parser.add_argument("--passes", type=int, default=3, help="passes per round; each release's fastest counts")
    parser.add_argument("--slice", type=float, default=0.5, help="CPU seconds per pass, about")
    parser.add_argument("--files", type=int, default=256, help="recordings of 1 s; there are a fifth as many of 10 s")
    parser.add_argument("--rows", type=int, default=40_000, help="rows of the corpus that is opened")
    parser.add_argument("--no-s3", action="store_true", help="local workloads only")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for releases.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        stack.callback(shutil.rmtree, work / "weed", ignore_errors=True)
        stack.enter_context(isolated(work))
        s3 = not args.no_s3 and (not args.only or any(name.startswith("s3-") for name in args.only))
        if s3:
            stack.enter_context(seaweed(work))
        with ExitStack() as making:
            worker(making, args.old, work / "corpora").ask(do="make", s3=s3, files=args.files)
            worker(making, ROOT, work / "corpora").ask(do="rows", rows=args.rows)
        found: dict[str, list[dict[str, float]]] = {}
        for name in args.only or release_worker.WORKLOADS:
            if name.startswith("s3-") and not s3:
                continue
            print(f"measuring {name} ...", file=sys.stderr)
            found[name] = measure(args, name, work / "corpora")
            print(f"  new / old: {estimate(one['new'] / one['old'] for one in found[name])}", file=sys.stderr)
    figures, rows = [], []
    for name, rounds in found.items():
        ratio = estimate(one["new"] / one["old"] for one in rounds)
        each = [estimate(one[side] * 1e6 for one in rounds) for side in ("old", "new")]
        verdict = "slower" if ratio.low > SLOWER else "faster" if ratio.high < 1 / SLOWER else "as fast"
        rows.append([release_worker.WORKLOADS[name], *(f"{one.median:,.1f}" for one in each), str(ratio), verdict])
        figures.append(Figure(f"{name}: new / old", TARGET, ratio, at_most=True, unit="x"))
    written = report.write(args.out, "releases", about, figures, found)
    print(f"\n{machine.line(about)}\n\n{figures_table(figures)}\n")
    head = ["workload", "old, us CPU", "new, us CPU", "new / old [95 %]", f"beyond {SLOWER}?"]
    print(f"{table(head, rows)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
