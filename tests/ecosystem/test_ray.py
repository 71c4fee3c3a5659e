"""Runs whose tasks a Ray cluster does: workers and the driver are killed, and memory, spill and logs hold no secret."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.tasks.worker import answer
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError
from securedata.ingest.tasks import work
from securedata.integrations.ray import RayExecutor
from tests.kit.cli.commandline import Run
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip, write_clips

PATTERN = "{speaker}/{utterance}"
FILES = 48
STORE = 80 * 2**20  # the least that Ray takes, and a little


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, Any]]:
    """A cluster of this machine with two workers, in a folder of its own, which ends with this process's connection."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a short path: sockets are in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_raylet_start_wait_time_s", "150")  # beside other tests
        patch.setenv("RAY_max_direct_call_object_size", "64")  # whatever is larger goes through shared memory
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=STORE, log_to_driver=False, _temp_dir=folder
        )
        try:
            yield {"folder": Path(folder), "address": found.address_info["address"]}
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "TASK_FILES", 4)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    return write_clips(
        tmp_path / "wavs",
        [clip(f"spk{n % 5}/utterance-{n}.wav", (2000 + n) / 8000, 8000, seed=n) for n in range(FILES)],
    )


def paths(root: Path) -> list[str]:
    with sd.open_corpus(root) as corpus:
        return sorted(corpus.table.column("path").to_pylist())


class Killable(RayExecutor):
    """One of its tasks waits, with its objects put and nothing answered, for the worker to be killed."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        name = str(mark)

        def late(envelope: Any, number: int, task: bytes) -> Any:
            found = answer(envelope, number, task)
            if number == 1 and not os.path.exists(name):
                with open(name + ".part", "w") as file:
                    file.write(str(os.getpid()))
                os.rename(name + ".part", name)
                time.sleep(60)
            return found

        self.late = late

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(self.late, *args, **kwargs)


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    cluster: dict[str, Any], recordings: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "waiting"
    killed: list[int] = []

    def kill() -> None:
        while not mark.exists():
            time.sleep(0.01)
        killed.append(int(mark.read_text()))
        os.kill(killed[0], signal.SIGKILL)

    waiting = threading.Thread(target=kill, daemon=True)
    waiting.start()
    with Killable(mark) as executor:
        report = sd.ingest(recordings, tmp_path / "sealed", speaker_pattern=PATTERN, engine=executor)
    waiting.join()
    assert killed
    assert (report.added, report.complete) == (FILES, True)
    assert paths(tmp_path / "sealed") == sorted(str(p.relative_to(recordings)) for p in recordings.rglob("*.wav"))
    found = sd.verify(tmp_path / "sealed")
    assert found.ok
    assert (found.objects, found.in_flight) == (FILES, 4)  # what the killed worker put is named by no row


def test_a_killed_driver_is_run_again(cluster: dict[str, Any], recordings: Path, tmp_path: Path, run: Run) -> None:
    target = tmp_path / "sealed"
    command = ["encrypt", str(recordings), str(target), "--speaker-pattern", PATTERN, "--engine", "ray", "--json"]
    small = "import runpy; from securedata.ingest.tasks import work; work.TASK_FILES = 4; "
    small += "runpy.run_module('tests.kit.cli.impatient', run_name='__main__', alter_sys=True)"
    driver = subprocess.Popen(
        [sys.executable, "-c", small, "8", "44", *command],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": cluster["address"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert os.WIFSTOPPED(os.waitpid(driver.pid, os.WUNTRACED)[1])  # before it commits the last
    finally:
        driver.kill()
        driver.wait()
    before = len(paths(target))
    assert 0 < before < FILES
    again = run(*command)
    assert again.code == 0, again.err
    assert again.json["added"] == FILES - before
    assert len(paths(target)) == len(set(paths(target))) == FILES
    assert sd.verify(target).ok


def test_shared_memory_and_logs_hold_no_key_and_no_name(
    cluster: dict[str, Any], recordings: Path, tmp_path: Path
) -> None:
    known = ray.put(b"this is looked for in the right place" * 10)
    sd.ingest(recordings, tmp_path / "sealed", speaker_pattern=PATTERN, engine="ray")
    writer = Writer(resolve(tmp_path / "sealed"))
    secrets = [writer.lease.opened.key, writer.head.secret, *(part.key for part in writer.head.parts)]
    for part in writer.head.parts:
        table = writer.read_table(part, None)
        secrets += table.column("data_key").to_pylist()
        secrets += [one.encode() for one in table.column("path").to_pylist()]
    secrets += [path.read_bytes()[1000:1032] for path in recordings.rglob("*.wav")]
    assert len(secrets) > 3 * FILES
    memory = plasma()
    assert b"this is looked for in the right place" in memory
    assert [one for one in secrets if one in memory] == []
    logs = b"".join(path.read_bytes() for path in cluster["folder"].rglob("*") if path.is_file())
    assert b"securedata" in logs or b"ray" in logs
    assert [one for one in secrets if one in logs] == []
    del known


def plasma() -> bytes:
    """All of the shared memory in which the cluster keeps objects; its file has no name any more."""
    raylet = ray._private.worker._global_node.all_processes["raylet"][0].process.pid
    found = b""
    for link in Path(f"/proc/{raylet}/fd").iterdir():
        if "plasma" in os.readlink(link):
            found += link.read_bytes()
    assert found
    return found


def test_no_cluster_is_an_error_that_says_what_to_start(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance at 10.0.0.1, token abc")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match="start one with 'ray start --head'") as refused:
        sd.ingest(recordings, tmp_path / "sealed", speaker_pattern=PATTERN, engine="ray")
    assert "abc" not in str(refused.value)
    assert not (tmp_path / "sealed").exists()
