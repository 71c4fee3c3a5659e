"""Folders, patterns and details, all from the index."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pytest
from fsspec.spec import AbstractFileSystem
from hypothesis import given
from hypothesis import strategies as st

from securedata.corpus.config import Reference, write_entry
from securedata.corpus.rows.index import Index
from securedata.corpus.schema import SCHEMA, rows_table
from securedata.errors import (
    InvalidArgument,
    NotACorpus,
)
from securedata.filesystem import SecuredataFileSystem, opened, tree
from tests.filesystem.corpus import FILES, LONG, MTIME, SEEN, SEGMENTS, Voice, named


def test_the_top_lists_names_and_asks_no_kms(voice: Voice, tmp_path: Path, fs: SecuredataFileSystem) -> None:
    # a corpus whose KMS is away must not be in the way of one that is read
    write_entry("away", Reference(str(tmp_path / "away"), "away", ("local:///no/such.kek",)))
    assert fs.ls("", detail=False) == fs.glob("*") == ["away", "voice-a"]
    assert fs.find("", maxdepth=1, withdirs=True) == ["away", "voice-a"]
    assert fs.ls("/")[1] == fs.info("voice-a") == {"name": "voice-a", "size": 0, "type": "directory"}
    assert fs.isdir("")
    assert fs.isdir("away")
    assert not fs.exists("nobody/x.wav")
    assert fs.glob("voice-?/ann/*") == named("ann/a.wav", "ann/b.flac")
    assert sorted(fs.glob("[v]*/ann/*", detail=True)) == named("ann/a.wav", "ann/b.flac")
    with pytest.raises(NotACorpus):
        fs.find("")


def test_ls(fs: SecuredataFileSystem) -> None:
    top = named("ann", "bob", "bob-2", "empty.bin", "table.csv", "zoë")
    assert fs.ls("securedata://voice-a", detail=False) == fs.ls("voice-a/", detail=False) == top
    assert fs.ls("voice-a/bob", detail=False) == named("bob/c.wav", "bob/deep", *(s for s in sorted(SEGMENTS)))
    assert fs.ls("voice-a/ann", detail=True) == [fs.info(path) for path in named("ann/a.wav", "ann/b.flac")]
    assert fs.ls("voice-a/ann/a.wav") == [fs.info("voice-a/ann/a.wav")]
    assert fs.ls("voice-a/ann/a.wav", detail=False) == named("ann/a.wav")


def test_ls_with_a_root(rooted: SecuredataFileSystem) -> None:
    assert rooted.ls("", detail=False) == ["ann", "bob", "bob-2", "empty.bin", "table.csv", "zoë"]
    assert rooted.ls("/bob/deep", detail=False) == ["bob/deep/down"]
    assert rooted.info("") == {"name": "", "size": 0, "type": "directory"}


def test_info_is_about_the_plaintext(fs: SecuredataFileSystem) -> None:
    assert fs.info("voice-a/ann/b.flac") == {
        "name": "voice-a/ann/b.flac",
        "size": len(FILES["ann/b.flac"]),
        "type": "file",
        "format": "WAV",
        "sample_rate": 16_000,
        "channels": 1,
        "frames": 4000,
        "mtime": MTIME / 1e9,
    }
    assert fs.size("voice-a/empty.bin") == 0
    assert fs.modified("voice-a/ann/a.wav") == datetime.fromtimestamp(MTIME / 1e9, UTC)


def test_listings_hold_nothing_about_people(fs: SecuredataFileSystem) -> None:
    # tools write what info() says into logs, caches and task graphs
    shown = repr(fs.ls("voice-a/ann")) + repr(fs.find("voice-a", detail=True)) + repr(fs.info("voice-a/ann/a.wav"))
    assert "somebody" not in shown
    assert "every word" not in shown


def test_find_and_walk(fs: SecuredataFileSystem, rooted: SecuredataFileSystem) -> None:
    assert fs.find("voice-a") == sorted(named(*SEEN))
    assert fs.find("") == sorted(named(*SEEN))
    assert rooted.find("") == sorted(SEEN)
    assert fs.find("voice-a/bob/deep", withdirs=True) == named("bob/deep", "bob/deep/down", "bob/deep/down/d.bin")
    assert fs.find("voice-a/ann/a.wav") == named("ann/a.wav")
    assert fs.find("voice-a/nothing") == []
    with pytest.raises(InvalidArgument, match="maxdepth"):
        fs.find("voice-a", maxdepth=0)
    details = fs.find("voice-a", detail=True)
    assert details == {path: fs.info(path) for path in sorted(named(*SEEN))}
    walked = {path: (dirs, files) for path, dirs, files in rooted.walk("")}
    assert walked["bob"] == (["deep"], ["c.wav", *(s.removeprefix("bob/") for s in sorted(SEGMENTS))])
    assert walked["bob/deep"] == (["down"], [])
    assert set(walked) == {"", "ann", "bob", "bob/deep", "bob/deep/down", "bob-2", "zoë"}


@pytest.mark.parametrize("maxdepth", [1, 2, 3, None])
@pytest.mark.parametrize("start", ["", "voice-a", "voice-a/bob"])
def test_find_agrees_with_fsspecs_own(fs: SecuredataFileSystem, start: str, maxdepth: int | None) -> None:
    for withdirs in (False, True):
        own = AbstractFileSystem.find(fs, start, maxdepth, withdirs, detail=True)
        assert fs.find(start, maxdepth, withdirs, detail=True) == own
        assert fs.find(start, maxdepth, withdirs) == list(own)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("ann/*", ["ann/a.wav", "ann/b.flac"]),
        ("*/?.wav", ["ann/a.wav", "bob-2/x.wav", "bob/c.wav", "zoë/ü.wav"]),
        ("bob/**/*.bin", ["bob/deep/down/d.bin"]),
        ("**/[cd].*", ["bob/c.wav", "bob/deep/down/d.bin"]),
        ("bob/*/", ["bob/deep"]),
        ("bob*", ["bob", "bob-2"]),
        ("ann/a.wav", ["ann/a.wav"]),
        ("nothing/*", []),
    ],
)
def test_glob(fs: SecuredataFileSystem, rooted: SecuredataFileSystem, pattern: str, found: list[str]) -> None:
    assert rooted.glob(pattern) == found
    assert fs.glob(f"securedata://voice-a/{pattern}") == named(*found)
    assert fs.glob(f"voice-a/{pattern}", detail=True) == {path: fs.info(path) for path in named(*found)}


def test_du(fs: SecuredataFileSystem) -> None:
    assert fs.du("voice-a/ann") == len(FILES["ann/a.wav"]) + len(FILES["ann/b.flac"])
    assert fs.du("voice-a/ann", total=False)["voice-a/ann/a.wav"] == len(FILES["ann/a.wav"])


def test_segments_show_the_whole_object(fs: SecuredataFileSystem) -> None:
    one, two = (f"voice-a/{path}" for path in SEGMENTS)
    assert fs.cat_file(one) == fs.cat_file(two) == LONG
    assert fs.info(one)["size"] == len(LONG)
    assert fs.ukey(one) == fs.ukey(two)


def _index(paths: list[str]) -> Index:
    rows = [
        {"path": path, "object_id": i.to_bytes(16, "big"), "data_key": bytes(32), "source_sha256": bytes(32)}
        for i, path in enumerate(paths)
    ]
    return Index.build([lambda: rows_table(rows)], ("path", "subjects", *opened.COLUMNS), None)


def _children(paths: set[str], folder: str) -> dict[str, bool]:
    """What is in a folder, by looking at every path: is it a file?"""
    prefix = folder + "/" if folder else ""
    below = [path.removeprefix(prefix).split("/") for path in paths if path.startswith(prefix)]
    return {prefix + parts[0]: len(parts) == 1 for parts in sorted(below, key=len, reverse=True)}


PATH = st.lists(st.sampled_from(["a", "a-", "a.", "a0", "é"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(PATH, min_size=1, max_size=60), st.integers(1, 4))
def test_folders_of_any_paths(paths: set[str], first: int) -> None:
    listed = list(paths)
    index = _index(listed)
    folders = {path.rpartition("/")[0] for path in paths} | {""}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "_FIRST", first)
        patch.setattr(tree, "_BATCH", 5)
        patch.setattr(tree, "_BULK", 4)
        for folder in folders:
            found = list(tree.children(index, folder))
            wanted = _children(paths, folder)
            # a path may be both, a file and a folder of others
            assert {name for name, _ in found} == set(wanted)
            assert all(row is None or listed[row] == name for name, row in found)
            assert len(found) == len(set(found))
            for depth in (1, 2, None):
                passed: set[str] = set()
                files = [
                    (path, int(row))
                    for batch, rows in tree.below(index, folder, depth, passed)
                    for path, row in zip(batch, rows, strict=True)
                ]
                prefix = folder + "/" if folder else ""
                levels = {path: path.removeprefix(prefix).count("/") + 1 for path in paths if path.startswith(prefix)}
                assert {path for path, _ in files} == {p for p, n in levels.items() if depth is None or n <= depth}
                assert all(listed[row] == path for path, row in files)
                above = {p.rsplit("/", cut)[0] for p, n in levels.items() for cut in range(1, n)}
                assert passed == {p for p in above if depth is None or p.removeprefix(prefix).count("/") < depth}


@pytest.mark.quiet
def test_a_million_rows_are_listed_fast(monkeypatch: pytest.MonkeyPatch, voice: Voice) -> None:
    n, speakers = 1_000_000, 1000
    numbers = np.arange(n)
    speaker = pa.array([f"spk{i:04d}/" for i in range(speakers)], pa.large_string()).take(pa.array(numbers % speakers))
    paths = pa.compute.binary_join_element_wise(
        speaker, pa.array(numbers).cast(pa.large_string()), pa.scalar("", pa.large_string())
    )
    columns = {
        "path": paths,
        "object_id": pa.array(numbers.astype(">u8").repeat(2).view("S16"), pa.binary(16)),
        "data_key": pa.array([bytes(32)], pa.binary(32)).take(pa.array(np.zeros(n, int))),
        "size": pa.array(numbers),
    }
    one = rows_table([{"path": "x", "object_id": bytes(16), "data_key": bytes(32), "source_sha256": bytes(32)}])
    zeros = pa.array(np.zeros(n, int))
    table = pa.table([columns.get(name, one.column(name).take(zeros)) for name in SCHEMA.names], schema=SCHEMA)
    index = Index.build([lambda: table], ("path", "subjects", *opened.COLUMNS), None)
    corpus = opened.corpus_of(voice.reference)
    monkeypatch.setattr(corpus, "snapshot", replace(corpus.snapshot, index=index))
    fs = fsspec.filesystem("securedata", root="voice-a")

    def timed(call: Callable[[], Any]) -> tuple[float, Any]:
        begun = time.process_time()  # CPU seconds: others may be busy on the same machine
        result = call()
        return time.process_time() - begun, result

    fs.ls("")  # sorts once
    gc.collect()
    before = len(gc.get_objects())
    seconds, listed = timed(lambda: fs.ls("", detail=False))
    assert len(listed) == speakers
    assert seconds < 1
    assert timed(lambda: fs.info("spk0007/7"))[0] < 0.05
    assert timed(lambda: fs.ls("spk0500"))[0] < 0.5
    assert len(gc.get_objects()) - before < 5000
    seconds, listed = timed(lambda: fs.glob("spk*/77777?"))
    assert len(listed) == 10
    assert seconds < 15
