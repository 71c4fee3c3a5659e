"""Calls to the KMS and time to the first batch, beside the AWS Encryption SDK with its cache.

    python -m benchmarks.kms                  about two minutes; the first run also creates decrypt.py's venv for peers
    python -m benchmarks.kms --no-peers       only securedata

The KMS is moto's server; calls are counted in its log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.data import clips, corpora
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, report
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, estimate, figures_table, table
from tests.kit.servers import moto

METHODS = ("fork", "spawn", "forkserver")
OURS, OWN, SHARED = "securedata", "AWS ESDK, a data key for each object", "AWS ESDK, data keys of 100 objects"
REUSED = {OWN: 1, SHARED: 100}
CALL = '"POST / HTTP/1.1"'


class Bench:
    """The KMS, the recordings sealed under one of its keys, and the processes that read them."""

    def __init__(self, args: argparse.Namespace, work: Path, endpoint: str) -> None:
        self.args, self.work = args, work
        self.log = work / "moto" / "moto.log"
        os.environ.update(
            {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        )
        import boto3

        self.key = str(boto3.client("kms").create_key()["KeyMetadata"]["Arn"])
        self.elsewhere = peers.python_of(args.peers_venv) if args.peers else None
        self.requests: dict[str, dict[str, Any]] = {}

    def seal(self, files: Sequence[Path]) -> None:
        made = corpora.corpus(
            self.work / "corpus", self.work / "unused.kek", files, len(files), kms=f"aws-kms://{self.key}"
        )
        self.requests[OURS] = {"who": OURS, "root": made.root, "kms": made.kms, "pin": made.pin}
        for which, messages in REUSED.items():
            if self.elsewhere is None:
                continue
            folder = self.work / f"esdk-{messages}"
            folder.mkdir()
            pairs = [(str(path), str(folder / f"{number:05d}")) for number, path in enumerate(files)]
            self.run(which, {"do": "seal", "key": self.key, "files": pairs, "messages": messages})
            self.requests[which] = {"who": which, "key": self.key, "files": [target for _, target in pairs]}

    def load(self, which: str, method: str) -> dict[str, Any]:
        """One job: some epochs of a DataLoader, in a process of its own."""
        args = self.args
        how = {"do": "load", "method": method, "workers": args.workers, "batch": args.batch, "epochs": args.epochs}
        before = self.calls()
        found = self.run(which, self.requests[which] | how)
        if found["samples"] != args.epochs * args.clips:
            raise AssertionError(f"{which} under {method} delivered {found['samples']} samples")
        return {"contender": which, "method": method, "calls": self.calls() - before, **found}

    def calls(self) -> int:
        """How many requests the KMS has received."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(CALL)

    def run(self, which: str, request: dict[str, Any]) -> dict[str, Any]:
        python = sys.executable if which == OURS else str(self.elsewhere)
        command = [python, "-X", "utf8", "-W", "ignore", "-m", "benchmarks.workers.kms", json.dumps(request)]
        done = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{which} ended with {done.returncode}; its traceback is above")
        return json.loads(done.stdout)  # type: ignore[no-any-return]  # the worker answers with an object


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Forked workers in several rounds, for the times; the other start methods once, for the calls."""
    rounds = []
    for _ in range(bench.args.rounds):
        rounds += [bench.load(which, "fork") for which in bench.requests]
    return rounds + [bench.load(OURS, method) for method in bench.args.methods.split(",") if method != "fork"]


def figures_of(rounds: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[Figure]:
    figures = []
    for method in dict.fromkeys(one["method"] for one in rounds):
        calls = estimate(one["calls"] for one in rounds if (one["contender"], one["method"]) == (OURS, method))
        name = f"KMS calls of {args.workers} workers, {args.epochs} epochs, {method}"
        figures.append(Figure(name, 1.0, calls, at_most=True))
    return figures


def table_of(rounds: Sequence[dict[str, Any]]) -> str:
    rows = []
    for which, method in dict.fromkeys((one["contender"], one["method"]) for one in rounds):
        mine = [one for one in rounds if (one["contender"], one["method"]) == (which, method)]
        shown = [str(estimate(one[what] for one in mine)) for what in ("calls", "first", "wall")]
        rows.append([which, method, *shown])
    return table(["contender", "workers by", "KMS calls", "first batch, s", "all epochs, s"], rows)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds with forked workers")
    parser.add_argument("--clips", type=int, default=256, help="recordings, 1 s each")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS), help="how workers are started (default: all)")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only securedata")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT)
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for kms.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        speech = clips.speech_folder(args.speech, work / "prompts")
        files = clips.make(speech, work / "clips-wav", args.clips, seconds=1, kind="wav")
        stack.enter_context(isolated(scratch))
        bench = Bench(args, scratch, stack.enter_context(moto(scratch / "moto")))
        bench.seal(files)
        print("measuring ...", file=sys.stderr)
        rounds = measure(bench)
    figures = figures_of(rounds, args)
    written = report.write(args.out, "kms", about, figures, rounds)
    print(f"\n{machine.line(about)}\n\n{table_of(rounds)}\n\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
