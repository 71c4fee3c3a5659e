"""`securedata encrypt` killed with -9, alone or beside another, and run again: nothing is lost or twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import config_path, resolve
from securedata.corpus.opening import open_corpus
from tests.kit.cli.commandline import Ran, Run
from tests.kit.corpora.rows import DAY
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip, write_clips

FILES = 150
ROWS = 20  # of one interval
THREADS = 2
IN_FLIGHT = 2 * 4 * THREADS  # what the pipeline hands to its threads ahead, and what they finish while it commits
MOMENTS = [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(1, 10))]


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    return write_clips(
        tmp_path / "wavs", [clip(f"spk{n % 7}/{n}.wav", (2000 + n) / 8000, 8000, seed=n) for n in range(FILES)]
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "sealed"


def arguments(wavs: Path, store: Path) -> list[str]:
    pattern = "{speaker}/{utterance}"
    return ["encrypt", str(wavs), str(store), "--speaker-pattern", pattern, "--threads", str(THREADS), "--json"]


def encrypt(wavs: Path, store: Path, end: int) -> subprocess.Popen[str]:
    """It stops, and waits for the kill, before the commit with which it would have added `end` rows."""
    command = [sys.executable, "-m", "tests.kit.cli.impatient", str(ROWS), str(end), *arguments(wavs, store)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(done: Ran) -> dict[str, Any]:
    assert done.code == 0, done.err
    document: dict[str, Any] = done.json
    return document


def kill_when(process: subprocess.Popen[str], moment: Callable[[], bool]) -> None:
    """Kill -9 as soon as `moment` says so; that it was still at work then is part of the test."""
    limit = time.monotonic() + 100
    while not moment():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"


def stored(store: Path) -> set[str]:
    return {path.name for path in store.glob("objects/*/*") if ".tmp-" not in path.name}


def rows(store: Path) -> list[dict[str, Any]]:
    if not (store / "head").exists():
        return []
    with open_corpus(store, columns=["path", "object_id", "source_sha256"]) as corpus:
        return list(corpus.table.to_pylist())


def check(run: Run, wavs: Path, store: Path) -> None:
    """Every source is in the corpus once, as it is; verify has no findings; what was left over can be pruned."""
    found = rows(store)
    digests = {str(path.relative_to(wavs)): hashlib.sha256(path.read_bytes()).digest() for path in wavs.rglob("*.wav")}
    assert len(digests) == FILES
    assert sorted(row["path"] for row in found) == sorted(digests)
    assert {row["path"]: row["source_sha256"] for row in found} == digests
    report = finish(run("verify", store, "--json"))
    left = len(stored(store)) - FILES
    assert (report["rows"], report["objects_opened"], report["findings"]) == (FILES, FILES, [])
    assert report["in_flight"] >= left
    for path in store.rglob("*"):
        if path.is_file() and path.name not in ("head", "head.prev"):
            old = path.stat().st_mtime - 2 * DAY
            os.utime(path, (old, old))
    report = finish(run("verify", store, "--prune", "--json"))
    assert report["ok"]
    assert report["pruned"]["deleted_bytes"] > 0 or not left
    assert len(stored(store)) == FILES
    assert finish(run("verify", store, "--json"))["in_flight"] == 0


def run_again(run: Run, wavs: Path, store: Path) -> None:
    """The rerun does again what no commit had taken, and that is one interval's work at most."""
    committed = rows(store)
    uncommitted = stored(store) - {row["object_id"].hex() for row in committed}
    assert len(uncommitted) <= ROWS + IN_FLIGHT
    report = finish(run(*arguments(wavs, store)))
    assert (report["added"], report["unchanged"]) == (FILES - len(committed), len(committed))


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_it_seals(run: Run, wavs: Path, store: Path, moment: int) -> None:
    random_ = random.Random(moment)
    wanted, delay = random_.randrange(FILES - 3 * ROWS), random_.uniform(0, 0.02)
    process = encrypt(wavs, store, FILES)
    kill_when(process, lambda: len(stored(store)) > wanted and time.sleep(delay) is None)
    run_again(run, wavs, store)
    check(run, wavs, store)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_it_makes_the_corpus(run: Run, wavs: Path, store: Path, moment: int) -> None:
    """From the first file that init writes on: a key, an entry of the config, what it remembers, the head."""
    delay = random.Random(moment).uniform(0, 0.02)
    homes = [config_path().parent, store, *(Path(os.environ[f"XDG_{name}_HOME"]) for name in ("DATA", "STATE"))]
    process = encrypt(wavs, store, FILES)
    kill_when(process, lambda: any(home.exists() for home in homes) and time.sleep(delay) is None)
    run_again(run, wavs, store)
    assert resolve(str(store)).pins
    check(run, wavs, store)


@pytest.mark.parametrize("moment", MOMENTS)
def test_two_side_by_side_and_one_killed(run: Run, wavs: Path, store: Path, moment: int) -> None:
    assert run("init", store).code == 0
    wanted, delay = random.Random(moment).randrange(FILES // 2), random.Random(moment).uniform(0, 0.02)
    victim, survivor = encrypt(wavs, store, FILES // 2), encrypt(wavs, store, FILES + 1)
    try:
        kill_when(victim, lambda: len(stored(store)) > wanted and time.sleep(delay) is None)
        out, err = survivor.communicate(timeout=100)
        assert survivor.returncode == 0, err
    finally:
        for process in (victim, survivor):
            if process.poll() is None:
                process.kill()
                process.communicate()
    report = json.loads(out)
    assert report["added"] + report["unchanged"] == FILES
    assert len(rows(store)) == FILES
    run_again(run, wavs, store)
    check(run, wavs, store)
