"""Sealing and uploading recordings, beside a plain concurrent upload of the same files.

    python -m benchmarks.ingest                three minutes; the first run also creates a venv for the peers
    python -m benchmarks.ingest --no-peers     only securedata and boto3, without another venv

benchmarks/README.md says what each contender is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.data import clips
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, report
from benchmarks.tools.contender import Contender
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Estimate, Figure, estimate, figures_table, table
from tests.kit.servers import seaweed

OURS = "securedata"
PACKS = "packs"
PLAIN = ("boto3", "obstore")
TARGET = 0.8
SECONDS = 10
"""The length of a clip: 100 to 200 kB of FLAC."""


Rounds = Mapping[str, Sequence[Mapping[str, float]]]


def measure(args: argparse.Namespace, work: Path, scratch: Path) -> dict[str, list[dict[str, float]]]:
    """All rounds, by contender; each uploads everything, under a prefix of its own."""
    speech = clips.speech_folder(args.speech, work / "prompts")
    files = clips.make(speech, work / "clips", args.clips, seconds=SECONDS)
    pythons: dict[str, Path | str] = {OURS: sys.executable, PACKS: sys.executable, "boto3": sys.executable}
    if args.peers:
        pythons["obstore"] = peers.python_of(args.peers_venv, peers.LOADING, "obstore and others; about 120 MB")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with ExitStack() as stack:
        server = stack.enter_context(seaweed(scratch / "seaweed"))
        contenders = [
            stack.enter_context(Contender(name, python, ["-m", "benchmarks.workers.ingest", name]))
            for name, python in pythons.items()
        ]
        for contender in contenders:
            contender.ask(
                do="begin",
                environment=server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"},
                files=[str(path) for path in files],
                kek=str(scratch / "ingest.kek"),
                threads=args.threads,
            )
            contender.ask(do="run", prefix=f"warm/{contender.name}")
        for number in range(args.rounds):
            # the order rotates from round to round
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                found[contender.name].append(contender.ask(do="run", prefix=f"{number}/{contender.name}"))
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    return found


def speeds(rounds: Rounds, name: str) -> list[float]:
    """MB of the files per second."""
    return [one["bytes"] / one["wall"] / 1e6 for one in rounds[name]]


def figures_of(rounds: Rounds) -> list[Figure]:
    """Ours against the faster of the others, per round, because a disturbance affects all contenders of a round."""
    plain = [name for name in PLAIN if name in rounds]
    best = [max(speed) for speed in zip(*(speeds(rounds, name) for name in plain), strict=True)]
    ratios = [one / other for one, other in zip(speeds(rounds, OURS), best, strict=True)]
    what = f"ingest: {OURS} / the faster of a plain upload by {' and '.join(plain)}"
    packed = [one / alone for one, alone in zip(speeds(rounds, PACKS), speeds(rounds, OURS), strict=True)]
    return [
        Figure(what, TARGET, estimate(ratios), unit="x"),
        Figure("ingest: into packs / into objects of their own", 1.0, estimate(packed), unit="x"),
    ]


def table_of(rounds: Rounds) -> str:
    head = ["contender", "MB/s [95 %]", "files/s", "CPU ms a file", f"{OURS} / this"]
    rows = []
    for name in rounds:
        per_file = estimate(one["cpu"] / one["files"] * 1e3 for one in rounds[name])
        files = estimate(one["files"] / one["wall"] for one in rounds[name])
        ratio: Estimate = estimate(
            one / other for one, other in zip(speeds(rounds, OURS), speeds(rounds, name), strict=True)
        )
        shown = "" if name == OURS else str(ratio)
        rows.append([name, str(estimate(speeds(rounds, name))), str(files), str(per_file), shown])
    return table(head, rows)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--clips", type=int, default=400, help="recordings, 10 s each")
    parser.add_argument("--threads", type=int, default=16, help="concurrent uploads of the plain contenders")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="no contender from another venv")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT.with_name(".venv-peers-loading"))
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for ingest.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        stack.enter_context(isolated(scratch))
        os.environ["TMPDIR"] = str(scratch)
        rounds = measure(args, work, scratch)
    figures = figures_of(rounds)
    written = report.write(args.out, "ingest", about, figures, {"contenders": rounds})
    print(f"\n{machine.line(about)}\n\n{table_of(rounds)}\n\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
