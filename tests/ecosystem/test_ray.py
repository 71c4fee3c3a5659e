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
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.tasks.worker import answer
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, GenerationChanged, InvalidArgument
from securedata.ingest.tasks import work
from securedata.integrations.ray import RayExecutor
from securedata.lifecycle.rotate import rotate
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root
from tests.kit.docs.readme import blocks, make_wavs
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip, write_clips

# a cluster is a dozen processes, which take a minute to start beside other tests, and Ray Data's import some pandas
pytestmark = pytest.mark.timeout(400)

PATTERN = "{speaker}/{utterance}"
FILES = 48
STORE = 80 * 2**20  # the least that Ray takes, and a little


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, Any]]:
    """A cluster of this machine with two workers, in a folder of its own, which ends with this process's connection."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a short path: sockets are in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_max_direct_call_object_size", "64")  # whatever is larger goes through shared memory
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = started(folder)
        try:
            yield {"folder": Path(folder), "address": found.address_info["address"]}
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def started(folder: str) -> Any:
    """Ray gives its first process 30 s, whatever else the machine does: on a busy one it gets three tries."""
    options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": STORE, "log_to_driver": False}
    for _ in range(2):
        try:
            return ray.init(**options, _temp_dir=folder)
        except Exception as error:  # noqa: BLE001 - Ray raises this very class if it is late; the last try raises
            print(f"Ray did not start, and is started again: {error}")
            ray.shutdown()
    return ray.init(**options, _temp_dir=folder)


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

        def late(waits: bool, envelope: Any, message: bytes) -> Any:
            found = answer(envelope, message)
            if waits and not os.path.exists(name):
                with open(name + ".part", "w") as file:
                    file.write(str(os.getpid()))
                os.rename(name + ".part", name)
                time.sleep(60)
            return found

        self.late, self.sent = late, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        return super().submit(self.late, self.sent == 2, *args, **kwargs)


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


@pytest.mark.full  # a driver with workers of its own: half a minute. Runs that find a cut one: tests/lifecycle, too
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


@pytest.mark.full  # its own processes write the files
def test_ray_spills(cluster: dict[str, Any], root: Root) -> None:
    """What docs/plaintext.md says of Ray: with more blocks than its memory holds, the rest is in files."""
    mark = sd.load(f"securedata://{root.name}/{root.clips[0].path}")[0].numpy().tobytes()[2000:2064]
    held = [ray.put(mark * (10 * 2**20 // 64)) for _ in range(12)]
    assert len(held) * 10 * 2**20 > STORE
    spilled = [path for path in cluster["folder"].rglob("*spilled*/*") if path.is_file()]
    assert any(mark in path.read_bytes() for path in spilled)
    assert len(ray.get(held[0])) == 10 * 2**20


def plasma() -> bytes:
    """All of the shared memory in which the cluster keeps objects; its file has no name any more."""
    raylet = ray._private.worker._global_node.all_processes["raylet"][0].process.pid
    found = b""
    for link in Path(f"/proc/{raylet}/fd").iterdir():
        if "plasma" in os.readlink(link):
            found += link.read_bytes()
    assert found
    return found


def test_ray_data_reads_a_corpus(
    cluster: dict[str, Any], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sd.ingest(recordings, tmp_path / "sealed", speaker_pattern=PATTERN)
    with pytest.warns(sd.ray.SpillWarning, match="RAY_automatic_object_spilling_enabled=0"):
        source = sd.ray.Datasource(tmp_path / "sealed", columns=["speaker"], speaker=["spk0", "spk1"])
    tasks = ray.cloudpickle.dumps(source.get_read_tasks(4))
    writer = Writer(resolve(tmp_path / "sealed"))
    (part,) = writer.head.parts
    secrets = [writer.lease.opened.key, writer.head.secret, part.key]
    secrets += writer.read_table(part, ("data_key",)).column("data_key").to_pylist()
    assert [one for one in secrets if one in tasks] == []
    found = ray.data.read_datasource(source, override_num_blocks=2).take_all()
    wanted = {str(path.relative_to(recordings)): path for path in recordings.glob("spk[01]/*.wav")}
    assert {row["path"]: row["bytes"] for row in found} == {name: path.read_bytes() for name, path in wanted.items()}
    assert {row["speaker"] for row in found} == {"spk0", "spk1"}
    assert len(found) == len(wanted)
    monkeypatch.setenv("RAY_automatic_object_spilling_enabled", "0")
    source = sd.ray.Datasource(tmp_path / "sealed", columns=["transcript"])  # which no worker has opened yet
    rotate(tmp_path / "sealed")
    with pytest.raises(GenerationChanged, match=r"has generation 3, but this stream was planned for 2"):
        list(source.get_read_tasks(1)[0]())


def test_the_examples_of_the_page(cluster: dict[str, Any], here: Path) -> None:
    make_wavs(here)
    shown = blocks(ROOT / "docs/scale.md", "python ray")
    assert len(shown) == 1
    for block in shown:
        exec(compile("\n" * (block.line - 1) + block.text, "scale.md", "exec"), {"__name__": "page"})


def test_without_spilling_there_is_no_warning(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_automatic_object_spilling_enabled", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error", sd.ray.SpillWarning)
        assert sd.ray.Datasource(root).estimate_inmemory_data_size()
    with pytest.raises(InvalidArgument, match="no columns of the manifest: 'data_key'"):
        sd.ray.Datasource(root, columns="data_key")


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
