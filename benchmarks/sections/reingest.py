"""Ingest an unchanged folder of many small recordings again: how long until the command finds nothing new."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.tools.process import environment
from benchmarks.tools.stats import Figure, estimate

TARGET_SECONDS = 10.0
PER_SPEAKER = 1_000


def make_folder(folder: Path, count: int) -> None:
    """Make `count` WAV files of 1 to 4 kB at 8 kHz, a thousand per speaker. Existing files are kept."""
    random = np.random.default_rng(1)
    frames = random.integers(500, 2_000, size=count)
    for number in range(count):
        if number % PER_SPEAKER == 0:
            home = folder / f"speaker-{number // PER_SPEAKER:04d}"
            home.mkdir(parents=True, exist_ok=True)
        path = home / f"{number:08d}.wav"
        samples = random.integers(-8_000, 8_000, size=int(frames[number]), dtype=np.int16).tobytes()
        if not path.exists():
            path.write_bytes(_wav_header(len(samples)) + samples)


def _wav_header(size: int, rate: int = 8_000) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form + b"data" + struct.pack("<I", size)


def measure(work: Path, count: int, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """Ingest once, then `runs` times again, each time with a command that starts its own interpreter."""
    source, root = work / "many", work / "many-sealed"
    make_folder(source, count)
    shutil.rmtree(root, ignore_errors=True)
    first = _encrypt(work, source, root)
    again = [_encrypt(work, source, root) for _ in range(runs)]
    walls = estimate(run["wall"] for run in again)
    name = f"{count:,} unchanged files ingested again"
    results = {"files": count, "first": first, "again": again, "files_per_s_at_first": count / first["wall"]}
    return [Figure(name, TARGET_SECONDS, walls, at_most=True, unit="s")], results


def _encrypt(work: Path, source: Path, root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "securedata.cli.main", "encrypt", str(source), str(root)]
    command += ["--speaker-pattern", "{speaker}/{utterance}"]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, env=environment(work), capture_output=True, text=True)
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": wall, "cpu": cpu}
