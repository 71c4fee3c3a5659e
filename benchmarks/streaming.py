"""Streams: the plan, the time to the first batch and to resume, how well they mix, and opening members of a pack.

    python -m benchmarks.streaming                       10,000,000 rows behind 20 ms; four minutes, 1.4 GB of disk
    python -m benchmarks.streaming --rows 1000000        fewer rows
    python -m benchmarks.streaming plan mixing opening   without a server

benchmarks/README.md describes each section.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from torch.utils.data import DataLoader

import securedata as sd
from benchmarks.data import streams
from benchmarks.data.corpora import Made
from benchmarks.tools import machine, nginx, report
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, estimate, figures_table
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from securedata.torch.stream.planning.plan import Plan, Run, Source
from tests.kit.servers import seaweed

SECTIONS = ("plan", "mixing", "opening", "first")
MEAN = 150_000
BLOCK = 8 * 2**20 // MEAN
HISTORY = (Run(8, 4, 32, 1000), Run(16, 4, 32, 500), Run(4, 4, 64, 777), Run(8, 2, 32, 5))
"""Runs of at most 64 lanes that a plan follows."""


def plan(rows: int, runs: int) -> list[Figure]:
    """Seconds to follow four interrupted runs, and to find the first rows of a lane of the next."""
    parts = np.full(-(-rows // streams.PART), streams.PART)
    taken = []
    for number in range(runs):
        begun = time.perf_counter()
        epoch = Plan([Source(parts, BLOCK, 16 * BLOCK, int(parts.sum()))], 1, number, "pad")
        for run in HISTORY:
            epoch.follow(run)
        next(epoch.lane(8, 4, 3, 2).arrivals())
        taken.append(time.perf_counter() - begun)
    return [Figure(f"plan of {rows:,} rows after four runs", 0.3, estimate(taken), at_most=True, unit="s")]


def mixing(runs: int) -> list[Figure]:
    """Of 100,000 rows in packs, in which people are in random order: who is in a batch of 32, and who meets again."""
    rows = 100_000
    figures = []
    speakers = np.random.default_rng(0).integers(256, size=rows)
    distinct, lag, again = [], [], {64: list[float](), 256: list[float]()}
    for seed in range(runs):
        order = _order(rows, 64, seed, 0)
        heard = speakers[order]
        distinct.append(float(np.mean([len(set(heard[at : at + 32].tolist())) for at in range(0, rows - 32, 32)])))
        lag.append(float(abs(np.corrcoef(heard[:-1], heard[1:])[0, 1])))
        for megabytes, found in again.items():
            found.append(_meeting(_order(rows, megabytes, seed, 0), _order(rows, megabytes, seed, 1)))
    figures.append(Figure("speakers in a batch of 32, of 256", 30.0, estimate(distinct)))
    figures.append(Figure("lag-1 correlation", 0.01, estimate(lag), at_most=True))
    for megabytes, most in ((64, 40.0), (256, 5.0)):
        name = f"batch mates meet again, against chance, shuffle {megabytes} MB"
        figures.append(Figure(name, most, estimate(again[megabytes]), at_most=True, unit="x"))
    return figures


def _order(rows: int, megabytes: int, seed: int, epoch: int) -> Any:
    window = round(2 * megabytes * 2**20 / MEAN)
    lane = Plan([Source(np.array([rows]), BLOCK, window, rows)], seed, epoch, None).lane(1, 1, 0, 0)
    return np.concatenate([one.out_row for one in lane.arrivals()])


def _meeting(first: Any, second: Any, batch: int = 32) -> float:
    rows = len(first)
    batches = [np.empty(rows, np.int64), np.empty(rows, np.int64)]
    for order, of_row in zip((first, second), batches, strict=True):
        of_row[order] = np.arange(rows) // batch
    _, many = np.unique(batches[0] * rows + batches[1], return_counts=True)
    return float((many * (many - 1)).sum() / rows * (rows - 1) / (batch - 1) ** 2)


def opening(runs: int) -> list[Figure]:
    """Opening members of 32 kB where they lie in a block, against one-shot AES-GCM of as many bytes."""
    size, many, corpus_id = 32 * 1024, 64, os.urandom(16)
    block, members = bytearray(), []
    for _ in range(many):
        id, key = os.urandom(16), os.urandom(32)
        sealed = seal(Header(Kind.DATA, corpus_id, id), key, os.urandom(size))
        members.append((id, key, len(block), len(sealed)))
        block += sealed
    view, aead = memoryview(block), AESGCM(os.urandom(32))
    whole = [aead.encrypt(bytes(12), os.urandom(size), None) for _ in range(many)]

    def ours() -> None:
        for id, key, at, length in members:
            open_whole(key, view[at : at + length], Expect(Kind.DATA, corpus_id, id, "root", length, size))

    def one_shot() -> None:
        for one in whole:
            aead.decrypt(bytes(12), one, None)

    ratios = []
    for _ in range(runs):
        best = [min(_seconds(call) for _ in range(30)) for call in (ours, one_shot)]
        ratios.append(best[0] / best[1])
    return [Figure("open 32 kB from a block / one-shot AES-GCM", 3.2, estimate(ratios), at_most=True, unit="x")]


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def first(made: Made, runs: int) -> list[Figure]:
    """Seconds from `iter()` to the first batch, in a new epoch and from a state; and to open with a filter."""

    def opened(**options: Any) -> sd.EncryptedStream:
        return sd.EncryptedStream(made.root, kms=made.kms, pin=made.pin, **options)

    new, resumed, filtered = [], [], []
    state: dict[str, Any] = {}
    for number in range(runs):
        with opened(seed=number) as stream:
            new.append(_first(stream))
            state = stream.state_dict() | {"runs": [list(run[:4]) for run in HISTORY]}
        with opened(seed=number) as stream:
            begun = time.perf_counter()
            stream.load_state_dict(state)
            loading = time.perf_counter() - begun
            resumed.append(loading + _first(stream))
    for _ in range(min(3, runs)):
        begun = time.perf_counter()
        with opened(filter=pc.field("split") == "train"):
            filtered.append(time.perf_counter() - begun)
    rows = f"{made.rows:,} rows"
    return [
        Figure(f"first batch of {rows}", 0.5, estimate(new), at_most=True, unit="s"),
        Figure(f"load a state of {rows}, first batch", 1.0, estimate(resumed), at_most=True, unit="s"),
        Figure(f"open {rows} with a filter", 5.0, estimate(filtered), at_most=True, unit="s"),
    ]


def _first(stream: sd.EncryptedStream) -> float:
    loader = DataLoader(stream, batch_size=32, collate_fn=len)
    begun = time.perf_counter()
    if next(iter(loader)) != 32:
        raise AssertionError("the first batch is not whole")
    return time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the corpus and the plan")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds added to each request by nginx")
    parser.add_argument("--local", action="store_true", help="the corpus on this disk, without a server and latency")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for streaming.json")
    args = parser.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    about = machine.describe()
    sections = args.sections or SECTIONS
    figures: list[Figure] = []
    remarks: list[str] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        stack.enter_context(isolated(scratch))
        if "plan" in sections:
            figures += plan(args.rows, args.rounds)
        if "mixing" in sections:
            figures += mixing(args.rounds)
        if "opening" in sections:
            figures += opening(args.rounds)
        if "first" in sections:
            root: Path | str = scratch / "corpus"
            if not args.local:
                server = stack.enter_context(seaweed(scratch / "seaweed"))
                doors = stack.enter_context(nginx.fronts(server.endpoint, scratch / "nginx", args.latency / 1000))
                os.environ.update(server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"})
                root = "s3://voice/stream"
            print(f"making a corpus of {args.rows:,} rows ...", file=sys.stderr)
            made = streams.corpus(root, scratch / "stream.kek", args.rows, MEAN)
            if not args.local and doors is not None:
                os.environ["AWS_ENDPOINT_URL"] = doors.slow
            elif not args.local:
                remarks.append("without latency: there is no nginx with Lua (as root on Debian, apt installs it)")
            figures += first(made, args.rounds)
    written = report.write(args.out, "streaming", about, figures, {"rows": args.rows, "remarks": remarks})
    print(f"\n{machine.line(about)}\n\n{figures_table(figures)}\n\nwritten: {written}", *remarks, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
