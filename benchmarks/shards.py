"""Streams from S3: a sealed corpus in packs beside what researchers stream plaintext shards with.

    python -m benchmarks.shards                           everything, about half an hour; first creates a venv
    python -m benchmarks.shards flac-0ms --rounds 3       some sections, fewer rounds
    python -m benchmarks.shards --no-peers                only securedata and the limit

benchmarks/README.md describes each section and contender.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.data import clips, corpora
from benchmarks.peers import venv as peers
from benchmarks.tools import machine, nginx, report
from benchmarks.tools.process import cpu_seconds, isolated
from benchmarks.tools.stats import Figure, estimate, figures_table, table
from tests.kit.servers import Seaweed, seaweed

REQUIREMENTS = peers.ROOT / "benchmarks" / "peers" / "shards-requirements.txt"
HUGGING_FACE = peers.ROOT / "benchmarks" / "peers" / "hf-requirements.txt"
OURS, RAM, WDS, MOSAIC, LITDATA = "securedata", "plaintext in RAM", "WebDataset over curl", "Mosaic", "LitData"
HF = "HF streaming"
PEERS = (WDS, MOSAIC, LITDATA, HF)
BUCKET = "voice"
WINDOW = 64 * 1024 * 1024
"""Bytes that are held to shuffle them: our default, and WebDataset's buffer counted in samples."""


@dataclass(frozen=True)
class Section:
    """What is streamed, through which endpoint, and the targets: a ratio to a contender, by what."""

    kind: str
    door: str
    targets: tuple[tuple[str, str, float], ...]


SECTIONS = {
    "flac-0ms": Section(
        "flac",
        "direct",
        (("cpu", RAM, 1.07), ("total", WDS, 1.1), ("total", MOSAIC, 1.2), ("total", LITDATA, 1.15)),
    ),
    "wav-20ms": Section("wav", "slow", (("rate", WDS, 3.0), ("rate", RAM, 0.5))),
    "wav-0ms": Section("wav", "direct", (("rate", MOSAIC, 1.6),)),
}
KINDS: dict[str, dict[str, Any]] = {
    "flac": {"seconds": 10, "rate": 16_000},
    "wav": {"seconds": 1, "rate": 16_000},
}
WORDS = {
    "cpu": "worker CPU per sample / {}",
    "total": "CPU of workers, main process, helpers and server: {} / securedata",
    "rate": "samples/s / {}",
}


@dataclass
class Bench:
    """Everything that sections share."""

    args: argparse.Namespace
    environments: Mapping[str, Mapping[str, str]]
    specs: Mapping[str, Mapping[str, dict[str, Any]]]
    """By kind, then by endpoint."""
    pythons: Mapping[str, str]
    servers: Sequence[int]
    scratch: Path
    remarks: dict[str, str] = field(default_factory=dict)

    def measure(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """All rounds of one section, by contender. Every run delivers each recording exactly once, whoever it is."""
        section = SECTIONS[name]
        if section.door not in self.environments:
            self.remarks[name] = "not run: there is no nginx with Lua (as root on Debian, apt installs it)"
            return {}
        names = list(self.pythons)
        found: dict[str, list[dict[str, Any]]] = {who: [] for who in names}
        for number in range(self.args.rounds):
            turn = number % len(self.pythons)
            for who in [*names[turn:], *names[:turn]]:
                if who in found:
                    try:
                        found[who].append(self.run_peer(name, who) if who in PEERS else self.run(who, section))
                    except RuntimeError as error:
                        if who not in PEERS:
                            raise
                        self.remarks[f"{name}: {who}"] = f"not run: {error}"
                        del found[who]
        sums = {(one["samples"], one["checksum"]) for rounds in found.values() for one in rounds}
        if len(sums) > 1:
            raise AssertionError(f"contenders delivered different samples in {name}: {sums}")
        return found

    def run_peer(self, name: str, who: str) -> dict[str, Any]:
        """A run of a peer, and if it fails another one, with a remark: the figures are of those that went well."""
        try:
            return self.run(who, SECTIONS[name])
        except RuntimeError as error:
            self.remarks[f"{name}: {who}"] = f"run again: {error}"
            return self.run(who, SECTIONS[name])

    def run(self, who: str, section: Section) -> dict[str, Any]:
        args = self.args
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            request = {"do": "run", "who": who, "spec": self.specs[section.kind][section.door], "scratch": folder}
            request |= {"batch": args.batch, "workers": args.workers}
            before = sum(map(cpu_seconds, self.servers))
            found = ask(self.pythons[who], request, self.environments[section.door], self.args.limit)
        found["server"] = sum(map(cpu_seconds, self.servers)) - before
        found["rate"] = found["samples"] / found["wall"]
        found["total"] = found["children"] + found["main"] + found["server"]
        return found


def ask(python: str, request: dict[str, Any], environment: Mapping[str, str], limit: float) -> dict[str, Any]:
    """One request to a process of its own."""
    command = [python, "-X", "utf8", "-W", "ignore", "-m", "benchmarks.workers.shards"]
    try:
        done = subprocess.run(
            command,
            cwd=peers.ROOT,
            env={**os.environ, **environment},
            input=json.dumps(request) + "\n",
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"an epoch took longer than {limit:.0f} s") from None
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}; its traceback is above")
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # the worker answers with an object


def figures_of(found: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]]) -> list[Figure]:
    figures = []
    for name, rounds in found.items():
        for what, other, target in SECTIONS[name].targets:
            if other not in rounds or OURS not in rounds:
                continue
            pairs = list(zip(rounds[OURS], rounds[other], strict=True))
            if what == "cpu":
                values = [(our["cpu"] / our["steady"]) / (their["cpu"] / their["steady"]) for our, their in pairs]
            elif what == "total":
                values = [their["total"] / our["total"] for our, their in pairs]
            else:
                values = [our["rate"] / their["rate"] for our, their in pairs]
            title = f"{name}: {WORDS[what].format(other)}"
            figures.append(Figure(title, target, estimate(values), at_most=what == "cpu"))
    return figures


def table_of(rounds: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Milliseconds a sample, and samples per second."""
    rows = []
    for who, runs in rounds.items():
        each = [
            estimate(run["rate"] for run in runs),
            estimate(run["first"] for run in runs),
            estimate(1e3 * run["cpu"] / run["steady"] for run in runs),
            estimate(1e3 * run["blocked"] / run["steady"] for run in runs),
            *(estimate(1e3 * run[what] / run["samples"] for run in runs) for what in ("children", "main", "server")),
        ]
        rows.append([who, *map(str, each)])
    head = [
        "contender",
        "samples/s",
        "first batch, s",
        "CPU of workers, ms",
        "blocked, ms",
        "with start and helpers, ms",
        "main CPU, ms",
        "server CPU, ms",
    ]
    return table(head, rows)


# ---------------------------------------------------------------- what is streamed


def fill(
    server: Seaweed, kind: str, files: Sequence[Path], scratch: Path, pythons: Mapping[str, str]
) -> dict[str, Any]:
    """Put the recordings into the bucket: as a corpus in packs, and as the shards of the peers."""
    from securedata.lifecycle.packing.pack import pack

    made = corpora.corpus(f"s3://{BUCKET}/{kind}/sealed", scratch / f"{kind}.kek", files, len(files))
    pack(made.root, kms=made.kms, pin=made.pin)
    names = [str(path) for path in files]
    client = server.client()
    for who in PEERS:
        if who not in pythons:
            continue
        folder = scratch / f"{kind}-{who.split()[0]}"
        folder.mkdir()
        ask(pythons[who], {"do": "make", "who": who, "files": list(names), "folder": str(folder)}, {}, 600)
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            client.upload_file(str(path), BUCKET, f"{kind}/{who.split()[0]}/{path.relative_to(folder)}")
        shutil.rmtree(folder)
    return {"root": made.root, "kms": made.kms, "pin": made.pin, "files": names}


def spec_of(kind: str, sealed: dict[str, Any], endpoint: str, server: Seaweed) -> dict[str, Any]:
    """Where contenders find it, through one endpoint."""
    import boto3

    through = boto3.client("s3", endpoint_url=endpoint)
    listed = server.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{kind}/WebDataset/").get("Contents", [])
    tars = [
        through.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": one["Key"]}, ExpiresIn=24 * 3600)
        for one in listed
    ]
    each = sum(Path(path).stat().st_size for path in sealed["files"]) / len(sealed["files"])
    shards = {name.lower(): f"s3://{BUCKET}/{kind}/{name}" for name in ("Mosaic", "LitData")}
    return sealed | {
        "tars": tars,
        "hf": f"s3://{BUCKET}/{kind}/HF",
        "window": round(WINDOW / each),
        "mosaic": shards["mosaic"],
        "litdata": shards["litdata"],
    }


@contextmanager
def bench(args: argparse.Namespace, work: Path, scratch: Path, sections: Sequence[str]) -> Iterator[Bench]:
    """Start the server and its endpoints, and put the recordings into the bucket."""
    speech = clips.speech_folder(args.speech, work / "prompts")
    counts = {"flac": args.clips, "wav": args.short}
    files = {
        kind: clips.make(speech, work / f"clips-{kind}", counts[kind], kind=kind, **KINDS[kind])
        for kind in sorted({SECTIONS[name].kind for name in sections})
    }
    pythons = {OURS: sys.executable, RAM: sys.executable}
    if args.peers:
        elsewhere = peers.python_of(args.peers_venv, REQUIREMENTS, "webdataset, mosaicml-streaming, litdata; 250 MB")
        pythons |= dict.fromkeys((WDS, MOSAIC, LITDATA), str(elsewhere))
        apart = args.peers_venv.with_name(".venv-peers-hf")  # Mosaic needs an older transformers
        pythons[HF] = str(peers.python_of(apart, HUGGING_FACE, "datasets, s3fs, speechbrain; about 200 MB"))
    with ExitStack() as stack:
        server = stack.enter_context(seaweed(scratch / "seaweed"))
        environment = server.environment() | {"TMPDIR": str(scratch), "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ.update(environment)
        environments = {"direct": environment}
        if any(SECTIONS[name].door == "slow" for name in sections):
            doors = stack.enter_context(nginx.fronts(server.endpoint, scratch / "nginx", args.latency / 1000))
            if doors is not None:
                environments["slow"] = environment | {"AWS_ENDPOINT_URL": doors.slow}
        specs: dict[str, dict[str, dict[str, Any]]] = {}
        for kind, paths in files.items():
            print(f"putting {len(paths)} {kind} files into the bucket ...", file=sys.stderr)
            sealed = fill(server, kind, paths, scratch, pythons)
            specs[kind] = {
                door: spec_of(kind, sealed, its["AWS_ENDPOINT_URL"], server) for door, its in environments.items()
            }
        yield Bench(args, environments, specs, pythons, [server.pid], scratch)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (7 or more for a 95 %% interval)")
    parser.add_argument("--clips", type=int, default=1024, help="FLAC recordings of 10 s, about 130 kB each")
    parser.add_argument("--short", type=int, default=8192, help="WAV recordings of 1 s, 32 kB each")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds added to each request by nginx")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds that an epoch of a contender can take")
    parser.add_argument("--speech", type=Path, help="a folder of speech for the clips, instead of Debian's prompts")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="no contender from another venv")
    parser.add_argument("--peers-venv", type=Path, default=peers.DEFAULT.with_name(".venv-peers-shards"))
    parser.add_argument("--work", type=Path, help="where clips are made and kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for shards.json")
    args = parser.parse_args(argv)
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
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name in sections:
            print(f"measuring {name} ...", file=sys.stderr)
            if measured := standing.measure(name):
                found[name] = measured
    figures = figures_of(found)
    written = report.write(args.out, "shards", about, figures, {"sections": found, "remarks": standing.remarks})
    print(f"\n{machine.line(about)}\n")
    for name, one in found.items():
        print(f"{name}\n\n{table_of(one)}\n")
    for name, remark in standing.remarks.items():
        print(f"{name}: {remark}")
    print(f"\n{figures_table(figures)}\n\nwritten: {written}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
