"""A process for one release in benchmarks.releases: makes corpora to read, and repeats a workload on request.

python benchmarks/workers/release.py WORK

It is run by its path, so that it imports securedata from PYTHONPATH. It uses only what every release has: the public
classes, fsspec, and the command. Requests and answers are lines of JSON:
{"do": "where"}, {"do": "make", "files": 256, "s3": true}, {"do": "rows", "rows": 40000},
{"do": "count", "name": "wav", "seconds": 0.5}, {"do": "run", "name": "wav", "number": 9}.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATE = 16_000
BATCH = 32

WORKLOADS = {
    "flac": "ds[i], FLAC of 10 s",
    "wav": "ds[i], WAV of 1 s",
    "crop": "ds[i], 0.5 s of a WAV of 10 s",
    "batch": "a batch of 32 WAVs of 1 s, per sample",
    "read": "corpus.read, 32 kB",
    "range": "corpus.read_range, 1 kB of 320 kB",
    "file": "fs.open and read, 32 kB",
    "cat": "fs.cat_file, 32 kB",
    "open": "open_corpus of many rows",
    "encrypt": "encrypt WAVs of 1 s, per file",
    "again": "encrypt unchanged files, per file",
    "verify": "verify objects of 32 kB, per object",
    "s3-batch": "a batch of 32 WAVs of 1 s from S3, per sample",
    "s3-encrypt": "encrypt WAVs of 1 s to S3, per file",
}

Call = Callable[[], object]


def recordings(folder: Path, suffix: str, seconds: float, count: int, speakers: int = 8) -> Path:
    """Recordings of white noise: what they sound like does not matter here."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(1)
    for number in range(count):
        path = folder / f"speaker-{number % speakers}" / f"{number:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.uniform(-0.1, 0.1, int(seconds * RATE)), RATE, subtype="PCM_16")
    return folder


def encrypt(source: Path, root: str, name: str | None = None) -> None:
    command = [sys.executable, "-m", "securedata.cli.main", "encrypt", str(source), root, "-q"]
    command += ["--speaker-pattern", "{speaker}/{utterance}", *(["--name", name] if name else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


def make(work: Path, s3: bool, files: int) -> None:
    """The corpora that both releases read."""
    clips = max(1, files // 5)
    encrypt(recordings(work / "flac", ".flac", 10, clips), str(work / "sealed-flac"), "flac")
    encrypt(recordings(work / "long", ".wav", 10, clips), str(work / "sealed-long"), "long")
    encrypt(recordings(work / "wav", ".wav", 1, files), str(work / "sealed-wav"), "wav")
    if s3:
        command = [sys.executable, "-m", "securedata.cli.main", "init", "s3://voice/read", "--name", "s3"]
        subprocess.run(command, check=True, capture_output=True)
        encrypt(work / "wav", "s3")


def many_rows(work: Path, rows: int) -> None:
    """A manifest of many rows without their objects, which opening does not read. Made by this file's own checkout."""
    from benchmarks.data.rows import synthetic
    from securedata.corpus.create import create_corpus
    from securedata.corpus.writer import Writer

    writer = Writer(create_corpus(str(work / "sealed-rows"), name="rows").reference)
    for table in synthetic(rows, seed=1):
        writer.commit(table)


def calls(name: str, work: Path) -> tuple[list[Call], int]:
    """The calls to repeat, and how many samples, objects or files one call handles."""
    import fsspec

    import securedata

    if name in ("flac", "wav", "crop"):
        corpus, frames = {"flac": ("flac", None), "wav": ("wav", None), "crop": ("long", RATE // 2)}[name]
        ds = securedata.EncryptedAudioDataset(corpus, num_frames=frames)
        return [lambda i=i: ds[i] for i in range(len(ds))], 1
    if name in ("batch", "s3-batch"):
        ds = securedata.EncryptedAudioDataset("s3" if name == "s3-batch" else "wav")
        size = min(BATCH, len(ds))
        batches = [list(range(at, at + size)) for at in range(0, len(ds) - size + 1, size)]
        return [lambda batch=batch: ds.__getitems__(batch) for batch in batches], size
    if name in ("read", "range"):
        corpus = securedata.open_corpus("wav" if name == "read" else "long")
        if name == "read":
            return [lambda i=i: corpus.read(i) for i in range(len(corpus))], 1
        return [lambda i=i: corpus.read_range(i, 100_000, 1_000) for i in range(len(corpus))], 1
    if name in ("file", "cat"):
        fs = fsspec.filesystem("securedata")
        paths = fs.find("securedata://wav")

        def whole(path: str) -> bytes:
            with fs.open(path) as file:
                return bytes(file.read())

        return [
            (lambda path=path: whole(path)) if name == "file" else (lambda path=path: fs.cat_file(path))
            for path in paths
        ], 1
    if name == "open":
        return [lambda: securedata.open_corpus("rows").close()], 1
    return [commands(name, work)], len(list((work / "wav").rglob("*.wav")))


def commands(name: str, work: Path) -> Call:
    """The command, run in this process: the start of an interpreter would dominate the time."""
    from securedata.cli.main import main

    number = itertools.count()
    pattern = ["--speaker-pattern", "{speaker}/{utterance}", "-q"]

    def run(*arguments: str) -> None:
        if code := main(list(arguments)):
            raise SystemExit(f"{' '.join(arguments)} ended with {code}")

    def fresh() -> None:
        root = work / f"fresh-{os.getpid()}-{next(number)}"
        run("encrypt", str(work / "wav"), str(root), *pattern)
        shutil.rmtree(root)

    def fresh_s3() -> None:
        where = f"{os.getpid()}-{next(number)}"
        run("init", f"s3://voice/{where}", "--name", where)
        run("encrypt", str(work / "wav"), where, *pattern)

    return {
        "encrypt": fresh,
        "s3-encrypt": fresh_s3,
        "again": lambda: run("encrypt", str(work / "wav"), "wav", *pattern),
        "verify": lambda: run("verify", "wav", "-q"),
    }[name]


def timed(series: list[Call], number: int) -> float:
    """CPU seconds of this process, including its threads and the kernel's work for it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    for call in itertools.islice(itertools.cycle(series), number):
        call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def count(series: list[Call], seconds: float) -> int:
    """How many calls take about `seconds`. The calls made to find out also warm up caches."""
    timed(series, len(series))
    number = 1
    while True:
        began = time.perf_counter()
        timed(series, number)
        took = time.perf_counter() - began
        if took >= seconds / 4:
            return max(1, round(number * seconds / took))
        number *= 4


def main() -> None:
    work = Path(sys.argv[1])
    work.mkdir(exist_ok=True)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout, sys.stderr = open(os.devnull, "w"), open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
    known: dict[str, tuple[list[Call], int]] = {}
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "where":
            import securedata

            answer = {"file": securedata.__file__}
        elif request["do"] == "make":
            make(work, request["s3"], request["files"])
        elif request["do"] == "rows":
            many_rows(work, request["rows"])
        else:
            name = request["name"]
            if name not in known:
                known[name] = calls(name, work)
            series, each = known[name]
            if request["do"] == "count":
                answer = {"number": count(series, request["seconds"])}
            else:
                answer = {"cpu": timed(series, request["number"]) / request["number"] / each}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
