"""Sealing every object again (`rotate --data-keys`), beside an ingest of the same FLAC files from the same S3 server.

Both read from that server and write to it: the ingest reads plain files, `--data-keys` the objects that it made.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import clips
from benchmarks.tools.stats import Figure, estimate
from securedata.ingest.ingest import ingest
from securedata.lifecycle.rotate import rotate
from tests.kit.servers import seaweed

TARGET = 0.5
SECONDS = 10
"""The length of a clip: 100 to 200 kB of FLAC."""


def measure(work: Path, speech: Path | None, count: int, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """In each round a new corpus is made from the files on S3, and then all its objects are sealed again."""
    files = clips.make(clips.speech_folder(speech, work / "prompts"), work / "clips-10s", count, seconds=SECONDS)
    size = sum(path.stat().st_size for path in files)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=work) as folder, seaweed(Path(folder) / "weed") as server:
        os.environ.update(server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"})
        client = server.client()
        for path in files:
            client.upload_file(str(path), "voice", f"source/{path.parent.name}/{path.name}")
        for number in range(-1, runs):  # the first warms up
            one = _round(number, count, Path(folder))
            if number >= 0:
                found.append(one)
            print(f"round {number + 1} of {runs}", file=sys.stderr)
    ratio = estimate(one["ingest"] / one["data keys"] for one in found)
    name = f"rotate --data-keys / ingest from the same S3 server, FLAC of {size // count // 1000} kB"
    return [Figure(name, TARGET, ratio, unit="x")], {"files": count, "bytes": size, "rounds": found}


def _round(number: int, count: int, folder: Path) -> dict[str, float]:
    root = f"s3://voice/sealed-{number}"
    kms = f"local://{folder}/data-keys.kek"

    def first() -> None:
        report = ingest(
            "s3://voice/source", root, speaker_pattern="{speaker}/{utterance}", kms=kms, name=f"sealed-{number}"
        )
        if report.added != count or not report.complete:
            raise AssertionError(f"{report.added} of {count} were taken")

    def again() -> None:
        done = rotate(f"sealed-{number}", data_keys=True).data_keys
        if done is None or done.objects != count or not done.finished:
            raise AssertionError("not all objects were sealed again")

    return {"ingest": _seconds(first), "data keys": _seconds(again)}


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
