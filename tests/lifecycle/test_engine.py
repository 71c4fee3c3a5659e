"""What other processes do for `verify`, `rotate --data-keys` and `retain`: the results are those of one process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.check import verification
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, InvalidArgument
from securedata.lifecycle import reencrypt
from securedata.lifecycle.features import tasks
from securedata.lifecycle.rotate import rotate
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import Run


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "TASK_OBJECTS", 2)
    monkeypatch.setattr(reencrypt, "TASK_OBJECTS", 2)


def objects(root: str) -> list[Path]:
    return sorted(path for path in (Path(root) / "objects").rglob("*") if path.is_file())


def keys(root: str) -> set[bytes]:
    writer = Writer(resolve(root))
    return {key for part in writer.head.parts for key in writer.read_table(part, ("data_key",))["data_key"].to_pylist()}


def test_verify_finds_the_same(root: str, processes: Executor) -> None:
    changed, gone, *_ = objects(root)
    data = bytearray(changed.read_bytes())
    data[200] ^= 1
    changed.write_bytes(data)
    gone.unlink()
    here, there = sd.verify(root), sd.verify(root, engine=processes)
    found = [{name: value for name, value in asdict(one).items() if name != "seconds"} for one in (here, there)]
    assert found[0] == found[1]
    assert sorted(one.error for one in there.findings) == ["AuthenticationFailed", "ObjectMissing"]


def test_every_object_has_a_fresh_key_afterwards(root: str, processes: Executor) -> None:
    before, content = keys(root), {path: sd.open_corpus(root).read(path) for path in paths(root)}
    told: list[tuple[int, ...]] = []
    report = rotate(root, data_keys=True, engine=processes, progress=lambda *totals: told.append(totals))
    assert report.data_keys is not None
    assert (report.data_keys.objects, report.data_keys.finished) == (len(before), True)
    assert told[-1][0] == told[-1][1] == len(before)
    assert not keys(root) & before
    assert {path: sd.open_corpus(root).read(path) for path in paths(root)} == content
    assert sd.verify(root).ok


def test_a_damaged_object_keeps_its_key_and_is_named(root: str, processes: Executor) -> None:
    objects(root)[0].write_bytes(b"")
    report = rotate(root, data_keys=True, engine=processes)
    assert report.data_keys is not None
    assert len(report.data_keys.failed) == 1
    assert report.data_keys.failed[0][0][0] in paths(root)
    assert not report.data_keys.finished


def paths(root: str) -> list[str]:
    with sd.open_corpus(root) as corpus:
        found: list[str] = corpus.table.column("path").to_pylist()
        return found


def test_an_engine_needs_work_and_its_own_storage(root: str, run: Run, processes: Executor) -> None:
    assert "--engine go with --data-keys" in run("rotate", root, "--engine", "ray").err
    calls: list[Any] = [sd.verify, rotate]
    for call in calls:
        with pytest.raises(InvalidArgument, match="storage= is of this process only"):
            call(root, storage=MemoryStorage(), engine=processes)


def features(root: str | Path) -> list[dict[str, Any]]:
    """All rows but for what is random or of the moment, with their content."""
    with sd.open_corpus(root) as corpus:
        table = corpus.table
        rows = table.drop([one for one in table.schema.names if one in ("object_id", "ingested", "origin")]).to_pylist()
        return [{**row, "content": corpus.read(row["path"])} for row in sorted(rows, key=lambda row: str(row["path"]))]


def test_features_are_those_of_one_process(root: str, tmp_path: Path, processes: Executor) -> None:
    here = sd.retain(root, tmp_path / "here", features="log-mel", sample_rate=16_000, workers=0)
    there = sd.retain(root, tmp_path / "there", features="log-mel", sample_rate=16_000, workers=0, engine=processes)
    assert (there.added, there.complete, there.identical) == (here.added, True, here.identical)
    assert here.added == 6
    assert features(tmp_path / "here") == features(tmp_path / "there")
    again = sd.retain(root, tmp_path / "there", features="log-mel", sample_rate=16_000, workers=0, engine=processes)
    assert (again.added, again.unchanged) == (0, 6)


def test_a_damaged_recording_is_told_as_in_one_process(root: str, tmp_path: Path, processes: Executor) -> None:
    objects(root)[0].write_bytes(b"")
    reports = [
        sd.retain(root, tmp_path / name, features="log-mel", sample_rate=16_000, workers=0, engine=engine)
        for name, engine in (("here", "local"), ("there", processes))
    ]
    assert [(one.added, len(one.unreadable) + len(one.failed)) for one in reports] == [(5, 1), (5, 1)]
    assert sorted(map(repr, reports[0].failed)) == sorted(map(repr, reports[1].failed))


@pytest.mark.full
def test_workers_with_another_torch_compute_nothing(
    root: str, tmp_path: Path, processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "environment", lambda: {"torch": "9.9"})
    with pytest.raises(ConfigError, match=r"computes with torch .*, not 9\.9: every node needs"):
        sd.retain(root, tmp_path / "there", features="log-mel", sample_rate=16_000, workers=0, engine=processes)
