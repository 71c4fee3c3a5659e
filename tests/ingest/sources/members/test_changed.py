"""A shard that changes between its listing and the reading of a member is a problem, never another recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.recordings import SourceList, list_sources
from tests.kit.sources.shards import flac, table_of, write_arrow, write_parquet, write_tar

Write = Callable[[Path, int], object]


def tar(path: Path, number: int) -> object:
    return write_tar(path, [("a.flac", flac(number)), ("b.flac", flac(9))])


def parquet(path: Path, number: int) -> object:
    return write_parquet(path, table_of([(flac(number), "a.flac"), (flac(9), "b.flac")]))


def arrow(path: Path, number: int) -> object:
    return write_arrow(path, table_of([(flac(number), "a.flac"), (flac(9), "b.flac")]))


def whole(sources: SourceList, i: int) -> bytes:
    row = sources.table.select(["file", "size", "mtime_ns", "version"]).to_pylist()[i]
    return sources.origin.whole(row["file"], Stamp(row["size"], row["mtime_ns"], row["version"]))


@pytest.mark.parametrize(("suffix", "write"), [("tar", tar), ("parquet", parquet), ("arrow", arrow)])
def test_a_shard_that_changes_after_its_listing(tmp_path: Path, suffix: str, write: Write) -> None:
    shard = tmp_path / f"x.{suffix}"
    write(shard, 1)
    before = list_sources(tmp_path, one_subject="anna")
    assert whole(list_sources(tmp_path, one_subject="anna"), 0) == flac(1)
    write(shard, 2)
    for _ in range(2):
        with pytest.raises(SourceProblem, match="changed during the run"):
            whole(before, 0)
    assert whole(list_sources(tmp_path, one_subject="anna"), 0) == flac(2)
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(SourceProblem):
        whole(before, 0)
