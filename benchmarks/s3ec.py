"""Objects per second and calls to the KMS, beside Amazon's S3 Encryption Client for Python.

    python -m benchmarks.s3ec                 about two minutes; the first run also creates a venv for the peer
    python -m benchmarks.s3ec --no-peers      only securedata

One process fetches and decrypts all objects, undecoded. SeaweedFS is the S3 server and moto the KMS, whose log counts
the calls; both share the cores with the contenders. A call costs moto about 10 ms of a core, which the real KMS spends
elsewhere: the client's CPU compares without it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.data import clips, corpora
from benchmarks.kms import CALL
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, report
from benchmarks.tools.contender import Contender
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import Figure, estimate, figures_table, table
from tests.kit.servers import moto, seaweed

REQUIREMENTS = peers.ROOT / "benchmarks" / "peers" / "s3ec-requirements.txt"
OURS, ALONE, THREADED = "securedata", "S3EC", "S3EC, 16 threads"
BUCKET = "voice"


def begin(contenders: Sequence[Contender], spec: dict[str, Any], log: Path) -> dict[str, int]:
    """Connect, and upload what the peer reads; returns the calls to the KMS that opening took, by contender."""
    opening = {}
    for contender in contenders:
        before = _calls(log)
        contender.ask(do="begin", spec=spec)
        opening[contender.name] = _calls(log) - before
        if contender.name == ALONE:
            contender.ask(do="seal", files=list(zip(spec["files"], spec["keys"], strict=True)))
    return opening


def measure(
    args: argparse.Namespace, contenders: Sequence[Contender], opening: dict[str, int], log: Path
) -> list[dict[str, Any]]:
    """All rounds; the order of contenders rotates. Every one must deliver the same bytes.

    The calls of a round include those of opening, as if each were a job of its own.
    """
    rounds, checksums = [], set()
    for number in range(args.rounds + 1):
        turn = number % len(contenders)
        for contender in [*contenders[turn:], *contenders[:turn]]:
            before = _calls(log)
            found = contender.ask(do="run")
            checksums.add((found["objects"], found["checksum"]))
            if number:  # the first connects
                rate = found["objects"] / found["wall"]
                calls = opening[contender.name] + _calls(log) - before
                rounds.append({"contender": contender.name, "rate": rate, "calls": calls, **found})
    if len(checksums) != 1:
        raise AssertionError(f"contenders delivered different objects: {checksums}")
    return rounds


def _calls(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count(CALL)


def figures_of(rounds: Sequence[dict[str, Any]]) -> list[Figure]:
    """The peer counts with the faster of its two ways in each round."""
    of = {name: [one for one in rounds if one["contender"] == name] for name in (OURS, ALONE, THREADED)}
    figures = [Figure("KMS calls for all objects", 1.0, estimate(one["calls"] for one in of[OURS]), at_most=True)]
    if of[ALONE]:
        best = [max(pair, key=lambda one: one["rate"]) for pair in zip(of[ALONE], of[THREADED], strict=True)]
        for name, what in (("objects/s", "wall"), ("objects per CPU second of the client", "cpu")):
            ratios = estimate(theirs[what] / ours[what] for ours, theirs in zip(of[OURS], best, strict=True))
            figures.append(Figure(f"{name} / S3EC", 10.0, ratios))
    return figures


def table_of(rounds: Sequence[dict[str, Any]]) -> str:
    rows = []
    for name in dict.fromkeys(one["contender"] for one in rounds):
        mine = [one for one in rounds if one["contender"] == name]
        each = estimate(1e6 * one["cpu"] / one["objects"] for one in mine)
        rows.append([name, *(str(estimate(one[what] for one in mine)) for what in ("rate", "calls")), str(each)])
    return table(["contender", "objects/s", "KMS calls", "client's CPU, microseconds an object"], rows)


def spec_of(args: argparse.Namespace, scratch: Path, files: Sequence[Path]) -> dict[str, Any]:
    """The corpus, and what the peer's objects will be called."""
    import boto3

    key = str(boto3.client("kms").create_key()["KeyMetadata"]["Arn"])
    kms = f"aws-kms://{key}"
    sealed = corpora.corpus(f"s3://{BUCKET}/sealed", scratch / "unused.kek", files, len(files), kms=kms)
    names = [f"{path.parent.name}/{path.name}" for path in files]
    return {
        "root": sealed.root,
        "kms": sealed.kms,
        "pin": sealed.pin,
        "paths": [f"{corpora.REAL}{name}" for name in names],
        "bucket": BUCKET,
        "kms_key": key,
        "keys": [f"s3ec/{name}" for name in names],
        "files": [str(path) for path in files],
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--clips", type=int, default=512, help="recordings, 10 s each as FLAC, about 130 kB")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only securedata")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT.with_name(".venv-peers-s3ec"))
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for s3ec.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    about = machine.describe()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        speech = clips.speech_folder(args.speech, work / "prompts")
        files = clips.make(speech, work / "clips-flac", args.clips, seconds=10, kind="flac")
        stack.enter_context(isolated(scratch))
        server = stack.enter_context(seaweed(scratch / "seaweed"))
        kms = stack.enter_context(moto(scratch / "moto"))
        os.environ.update(server.environment())
        del os.environ["AWS_ENDPOINT_URL"]  # it would count for both
        os.environ.update({"AWS_ENDPOINT_URL_S3": server.endpoint, "AWS_ENDPOINT_URL_KMS": kms})
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        spec = spec_of(args, scratch, files)
        pythons = {OURS: sys.executable}
        if args.peers:
            python = peers.python_of(args.peers_venv, REQUIREMENTS, "amazon-s3-encryption-client-python; about 15 MB")
            pythons |= {ALONE: str(python), THREADED: str(python)}
        start = ["-m", "benchmarks.workers.s3ec"]
        contenders = [stack.enter_context(Contender(name, of, [*start, name])) for name, of in pythons.items()]
        log = scratch / "moto" / "moto.log"
        opening = begin(contenders, spec, log)
        print("measuring ...", file=sys.stderr)
        rounds = measure(args, contenders, opening, log)
    figures = figures_of(rounds)
    written = report.write(args.out, "s3ec", about, figures, rounds)
    print(f"\n{machine.line(about)}\n\n{table_of(rounds)}\n\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
