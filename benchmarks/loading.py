"""Samples per second from S3: the sealed corpus beside what researchers use on plaintext today.

    python -m benchmarks.loading                            everything, about six minutes; first creates a venv
    python -m benchmarks.loading latency-20ms --rounds 3    some sections, fewer rounds
    python -m benchmarks.loading --no-peers                 only securedata and boto3, without another venv
    python -m benchmarks.loading latency-20ms --pin         one worker, on a core of its own

benchmarks/README.md describes each section and contender.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.data import bucket, clips
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, nginx, report
from benchmarks.tools.contender import Contender
from benchmarks.tools.loading_figures import BEHIND, Measured, figures_of, table_of
from benchmarks.tools.loading_plot import draw
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import figures_table
from tests.kit.servers import seaweed

LATENCY = 0.02

OURS = ("securedata", "securedata, decryption taken out", "securedata, plaintext in RAM")
CACHE = ("securedata, cached", "securedata", "securedata, plaintext in RAM")
STACKS = ("boto3", "boto3 + Fernet", "s3fs", "s3torchconnector", "LitData raw")
ELSEWHERE = ("s3fs", "s3torchconnector", "LitData raw", "bytes: s3torchconnector")
"""Contenders in the peers' venv."""


@dataclass(frozen=True)
class Section:
    """Contenders that take turns, the kind of recording, and the endpoint that they use."""

    contenders: tuple[str, ...]
    door: str = "direct"
    kind: str = "flac"


SECTIONS = {
    "latency-20ms": Section((*OURS, BEHIND, *STACKS), "slow"),
    "latency-0ms": Section(OURS + STACKS),
    "cache-20ms": Section(CACHE, "slow"),
    "cache-0ms": Section(CACHE),
    "wav": Section(("securedata", "s3torchconnector"), kind="wav"),
    "tls": Section(("securedata", "s3torchconnector"), "tls"),
    "bytes": Section(("bytes: securedata", "bytes: boto3", "bytes: s3torchconnector")),
    "share-flac": Section(("securedata, clocked",)),
    "share-wav": Section(("securedata, clocked",), kind="wav"),
}
KINDS: dict[str, dict[str, Any]] = {
    "flac": {"seconds": 10, "rate": 16_000},
    "wav": {"seconds": 1, "rate": 16_000},
}


class Loader(Contender):
    """A contender that keeps its DataLoader until it ends."""

    def __init__(self, name: str, python: Path | str) -> None:
        super().__init__(name, python, ["-m", "benchmarks.workers.loading", name])
        self.batches = 0

    def fit(self, seconds: float, least: int) -> list[float]:
        """Choose how many batches a round has, from a first one that connects and a second; returns its sums."""
        sums = self.ask(do="run", batches=least)["sums"]
        tried = self.ask(do="run", batches=least)
        self.batches = max(least, 2 * round(least * seconds / tried["wall"] / 2))
        return list(sums)


@dataclass
class Bench:
    """Everything that sections share."""

    args: argparse.Namespace
    environments: Mapping[str, Mapping[str, str]]
    """By endpoint; only those that could be started."""
    specs: Mapping[str, dict[str, Any]]
    elsewhere: Path | None
    """The interpreter of the peers' venv."""
    remarks: dict[str, str] = field(default_factory=dict)
    core: int | None = None
    """The core of the one worker, if it has one for itself."""

    def measure(self, name: str) -> Measured | None:
        """All rounds of one section; None if it cannot run here."""
        section = SECTIONS[name]
        if section.door not in self.environments:
            self.remarks[name] = "not run: there is no nginx with Lua (as root on Debian, apt installs it)"
            return None
        measured = Measured(name, self.args.batch)
        with ExitStack() as stack:
            contenders = []
            sums: dict[str, list[float]] = {}
            for which in section.contenders:
                if which in ELSEWHERE and self.elsewhere is None:
                    continue
                python = self.elsewhere if which in ELSEWHERE else sys.executable
                contender = Loader(which, python or sys.executable)
                stack.callback(contender.close)
                try:
                    contender.ask(
                        do="begin",
                        environment=dict(self.environments[section.door]),
                        spec=self.specs[section.kind],
                        batch=self.args.batch,
                        workers=1 if self.core is not None else self.args.workers,
                        core=self.core,
                    )
                    sums[which] = contender.fit(self.args.slice, self.args.least)
                except RuntimeError as error:
                    if which not in ELSEWHERE:
                        raise
                    self.remarks[f"{name}: {which}"] = f"not run: {error}"
                    continue
                contenders.append(contender)
            _same(sums)
            for number in range(self.args.rounds):
                # the order rotates from round to round
                turn = number % len(contenders)
                for contender in contenders[turn:] + contenders[:turn]:
                    measured.add(contender.name, contender.ask(do="run", batches=contender.batches))
        return measured


def _same(sums: Mapping[str, list[float]]) -> None:
    if len({tuple(one) for one in sums.values()}) > 1:
        raise AssertionError(f"contenders delivered different waveforms: {sums}")


@contextmanager
def bench(args: argparse.Namespace, work: Path, scratch: Path, sections: Sequence[str]) -> Iterator[Bench]:
    """Start the server and its endpoints, and put the recordings into the bucket."""
    core = None
    if args.pin:
        core, *others = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, others)  # inherited by the servers and by the contenders' main processes
    kinds = {SECTIONS[name].kind for name in sections}
    speech = clips.speech_folder(args.speech, work / "prompts")
    files = {
        kind: clips.make(speech, work / f"clips-{kind}", args.clips, kind=kind, **KINDS[kind]) for kind in sorted(kinds)
    }
    wanted = {which for name in sections for which in SECTIONS[name].contenders}
    elsewhere = None
    if args.peers and wanted & set(ELSEWHERE):
        elsewhere = peers.python_of(args.peers_venv, peers.LOADING, "s3fs, s3torchconnector, litdata; about 120 MB")
    with ExitStack() as stack:
        server = stack.enter_context(seaweed(scratch / "seaweed"))
        doors = stack.enter_context(nginx.fronts(server.endpoint, scratch / "nginx", args.latency / 1000))
        environment = server.environment() | {"TMPDIR": str(scratch), "AWS_EC2_METADATA_DISABLED": "true"}
        environments = {"direct": environment}
        if doors is not None:
            environments["slow"] = environment | {"AWS_ENDPOINT_URL": doors.slow}
            certificate = str(doors.certificate)
            environments["tls"] = environment | {
                "AWS_ENDPOINT_URL": doors.tls,
                "AWS_CA_BUNDLE": certificate,
                "SSL_CERT_FILE": certificate,
            }
        os.environ.update(environment)
        specs = {}
        for kind, paths in files.items():
            print(f"putting {len(paths)} {kind} files into the bucket ...", file=sys.stderr)
            specs[kind] = bucket.fill(server.client(), "voice", kind, paths, scratch / f"{kind}.kek")
        yield Bench(args, environments, specs, elsewhere, core=core)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--slice", type=float, default=1.2, help="seconds of one contender's turn, about")
    parser.add_argument("--least", type=int, default=6, help="the fewest batches in a turn")
    parser.add_argument("--clips", type=int, default=128, help="recordings in the bucket, of each kind")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pin", action="store_true", help="one worker, on a core of its own; all else on the others")
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds added to each request by nginx")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="no contender from another venv")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT.with_name(".venv-peers-loading"))
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for loading.json and loading.png")
    args = parser.parse_args(argv)
    if args.pin and len(os.sched_getaffinity(0)) < 2:
        parser.error("--pin needs two cores")
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    sections = args.sections or list(SECTIONS)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        stack.enter_context(isolated(scratch))
        standing = stack.enter_context(bench(args, work, scratch, sections))
        found: dict[str, Measured] = {}
        for name in sections:
            print(f"measuring {name} ...", file=sys.stderr)
            if (measured := standing.measure(name)) is not None:
                found[name] = measured
    figures = figures_of(found, args.pin)
    results = {"sections": {name: one.json() for name, one in found.items()}, "remarks": standing.remarks}
    written = report.write(args.out, "loading", about, figures, results)
    draw(args.out / "loading.png", found)
    print(f"\n{machine.line(about)}\n")
    for one in found.values():
        print(f"{one.name}\n\n{table_of(one)}\n")
    for name, remark in standing.remarks.items():
        print(f"{name}: {remark}")
    print(f"\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
