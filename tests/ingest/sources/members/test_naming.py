"""Recordings of several shards with one path: those in the corpus keep theirs, whatever shards come or go."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.ingest.sources.members.table import ParquetShard
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of, recordings_of
from tests.kit.sources.shards import as_json, flac, table_of, write_arrow, write_parquet, write_tar

TRAIN, TEST = [("ann", 1), ("bob", 2)], [("cleo", 3), ("dora", 4)]
TIME = 10**18

Rows = list[tuple[str, int]]
Write = Callable[[str, Rows], Path]


@pytest.fixture(params=["tar", "parquet", "arrow"])
def write(tmp_path: Path, request: pytest.FixtureRequest) -> Write:
    """Writes a shard of 0.flac, 1.flac and so on, each of its own person; all files have one time."""
    kind = request.param

    def write(split: str, rows: Rows) -> Path:
        path = tmp_path / f"src/data/{split}.{kind}"
        if kind == "tar":
            members = [(f"{i}.flac", flac(number)) for i, (_, number) in enumerate(rows)]
            texts = [(f"{i}.json", as_json(speaker=person)) for i, (person, _) in enumerate(rows)]
            write_tar(path, [*members, *texts])
        else:
            audio = [(flac(number), f"{i}.flac") for i, (_, number) in enumerate(rows)]
            table = table_of(audio, speaker=[person for person, _ in rows])
            (write_parquet if kind == "parquet" else write_arrow)(path, table)
        os.utime(path, ns=(TIME, TIME))
        return path

    return write


def named(shard: Path, i: int) -> str:
    """The path that names the shard of its i-th recording."""
    return f"data/{shard.stem}/{i}.flac" if shard.suffix == ".tar" else f"data/{shard.stem}#{i}"


def counts(run: Run, root: Path, *options: str) -> list[int]:
    """Rows added, replaced, updated and unchanged, and conflicts, by a run."""
    report = run("encrypt", root.parent / "src", root, *options, "--json").json
    rows = [report[name] for name in ("added", "replaced", "updated", "unchanged")]
    return [*rows, len(report["conflicts"])]


def content(root: Path) -> dict[str, tuple[list[str], bytes]]:
    """People and recording by path."""
    people = {row["path"]: row["subjects"] for row in manifest_of(root, "path", "subjects")}
    return {path: (people[path], data) for path, data in recordings_of(root).items()}


def expected(shard: Path, rows: Rows, *, plain: bool) -> dict[str, tuple[list[str], bytes]]:
    paths = [f"{i}.flac" if plain else named(shard, i) for i in range(len(rows))]
    return {path: ([person], flac(number)) for path, (person, number) in zip(paths, rows, strict=True)}


@pytest.mark.parametrize("touched", [False, True])
def test_a_shard_that_is_added_changes_no_path(tmp_path: Path, run: Run, write: Write, touched: bool) -> None:
    """Its name sorts before that of the shard that is in the corpus, which may have another time by now."""
    root, train = tmp_path / "sealed", write("train", TRAIN)
    assert counts(run, root) == [2, 0, 0, 0, 0]
    test = write("test", TEST)
    if touched:
        os.utime(train, ns=(2 * TIME, 2 * TIME))
    updated = 2 if touched else 0  # their time
    assert counts(run, root, "--dry-run") == [2, 0, updated, 2 - updated, 0]
    assert counts(run, root) == [2, 0, updated, 2 - updated, 0]
    assert content(root) == {**expected(train, TRAIN, plain=True), **expected(test, TEST, plain=False)}
    ran = run("encrypt", tmp_path / "src", root, "--json")
    assert (ran.code, ran.json["unchanged"], ran.json["files"]) == (0, 4, 0)


@pytest.mark.parametrize("touched", [False, True])
def test_a_shard_that_is_gone_changes_no_path(tmp_path: Path, run: Run, write: Write, touched: bool) -> None:
    root, train, test = tmp_path / "sealed", write("train", TRAIN), write("test", TEST)
    assert counts(run, root) == [4, 0, 0, 0, 0]
    there = content(root)
    test.unlink()
    if touched:
        os.utime(train, ns=(2 * TIME, 2 * TIME))
    updated = 2 if touched else 0  # their time
    assert counts(run, root, "--replace") == [0, 0, updated, 2 - updated, 0]
    assert content(root) == there == {**expected(train, TRAIN, plain=False), **expected(test, TEST, plain=True)}


def test_a_new_version_of_a_shard_replaces_its_own_recordings(tmp_path: Path, run: Run, write: Write) -> None:
    root, train, test = tmp_path / "sealed", write("train", TRAIN), write("test", TEST)
    assert counts(run, root) == [4, 0, 0, 0, 0]
    both = [("ann", 5), TRAIN[1]], [TEST[0], ("dora", 6)]
    for split, rows in zip(("train", "test"), both, strict=True):
        os.utime(write(split, rows), ns=(2 * TIME, 2 * TIME))
    assert counts(run, root) == [0, 0, 2, 0, 2]
    assert counts(run, root, "--replace") == [0, 2, 0, 2, 0]
    assert content(root) == {**expected(train, both[0], plain=False), **expected(test, both[1], plain=True)}


def test_no_recording_takes_the_path_of_another_persons(tmp_path: Path, run: Run, write: Write) -> None:
    """Which of two is a new version of the one in the corpus, nobody knows."""
    root, train = tmp_path / "sealed", write("train", TRAIN)
    assert counts(run, root) == [2, 0, 0, 0, 0]
    test, changed = write("test", TEST), [("ann", 5), TRAIN[1]]
    os.utime(write("train", changed), ns=(2 * TIME, 2 * TIME))
    assert counts(run, root, "--replace") == [3, 0, 1, 0, 0]
    first = {named(train, 0): (["ann"], flac(5))}
    assert content(root) == {**expected(train, TRAIN, plain=True), **expected(test, TEST, plain=False), **first}


def test_unchanged_shards_are_not_read_to_name_a_recording(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = ParquetShard.recordings

    def recordings(self: ParquetShard, *args: Any) -> Any:
        read.append(self.shard.stem)
        return real(self, *args)

    for split, number in (("train", 1), ("test", 2)):
        table = table_of([(flac(number), "0.flac")], speaker=["ann"])
        write_parquet(tmp_path / f"src/{split}.parquet", table)
        read.clear()
        monkeypatch.setattr(ParquetShard, "recordings", recordings)
        assert counts(run, tmp_path / "sealed")[0] == 1
        assert read == [split]


def test_segments_keep_the_path_of_their_recording(tmp_path: Path, run: Run) -> None:
    times = ("--columns", "offset=start", "--columns", "end=end")
    for split, number, added, unchanged in (("train", 1, 1, 0), ("test", 2, 1, 1), ("test", 2, 0, 2)):
        table = table_of([(flac(number), "0.flac")], speaker=["ann"], start=[0.05], end=[0.1])
        os.utime(write_parquet(tmp_path / f"src/{split}.parquet", table), ns=(TIME, TIME))
        assert counts(run, tmp_path / "sealed", *times) == [added, 0, 0, unchanged, 0]
    assert set(recordings_of(tmp_path / "sealed")) == {"0@400-800.flac", "test#0@400-800"}
