"""`securedata cache` and what `info` says of a cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(
        tmp_path, [clip(f"{name}/{i}.flac", 0.1, speaker=name) for name in ("ann", "bob") for i in (1, 2)]
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that every job of this test uses."""
    monkeypatch.setenv("SECUREDATA_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def read(root: Root, times: int = 2) -> None:
    with sd.open_corpus(root) as corpus:
        for _ in range(times):
            for i in range(len(corpus)):
                corpus.read(i)


def test_it_shows_what_is_held_and_how_often_it_was_used(run: Run, root: Root, folder: Path) -> None:
    assert "not yet" in run("cache", root.name).out
    read(root)
    shown = run("cache", root.name)
    assert shown.code == 0
    assert str(folder) in shown.out
    assert "4 files" in shown.out
    assert "4 of 8 reads (50.0%)" in shown.out
    report = run("cache", root.name, "--json").json
    assert report == {
        "folder": str(folder),
        "limit": 10**10,
        "entries": 4,
        "bytes": report["total_bytes"],
        "total_bytes": report["bytes"],
        "foreign": 0,
        "hits": 4,
        "misses": 4,
        "hit_bytes": report["hit_bytes"],
        "errors": 0,
        "deleted": 0,
    }
    assert 0 < report["hit_bytes"] < report["bytes"]
    info = run("info", root.name)
    assert f"{folder}, " in info.out
    assert "4 of 8 reads (50.0%)" in info.out
    known = run("info", root.name, "--json").json["cache"]
    assert (known["hits"], known["misses"], known["limit"]) == (4, 4, 10**10)
    assert known["total_bytes"] == report["total_bytes"]


def test_without_a_cache_it_says_how_to_set_one(run: Run, root: Root) -> None:
    asked = run("cache", root.name)
    assert asked.code == 2
    assert "set cache in its entry" in asked.err
    assert "cache" not in run("info", root.name, "--json").json
    with pytest.raises(InvalidArgument, match="no cache is set"):
        sd.cache(root)


def test_the_entry_for_a_colleague_names_no_folder_of_this_machine(run: Run, root: Root, folder: Path) -> None:
    assert str(folder) not in run("info", root.name, "--config").out


def test_evict_deletes_what_the_manifest_does_not_name(run: Run, root: Root, folder: Path) -> None:
    read(root)
    erase(root, "bob")
    assert run("cache", root.name, "--json").json["entries"] == 4
    evicted = run("cache", root.name, "--evict", "--json").json
    assert (evicted["entries"], evicted["deleted"]) == (2, 2)
    assert run("cache", root.name, "--evict", "--json").json["deleted"] == 0


def test_clear_deletes_one_corpus_and_asks_nobody(run: Run, root: Root, folder: Path, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("ann/1.flac", 0.1)], name="voice-b")
    read(root)
    read(other)
    Path(root).rename(tmp_path / "away")
    root.key_file.unlink()
    cleared = run("cache", root.name, "--clear", "--json").json
    assert (cleared["entries"], cleared["deleted"], cleared["hits"], cleared["misses"]) == (0, 4, 0, 0)
    kept = run("cache", other.name, "--json").json
    assert (kept["entries"], kept["hits"]) == (1, 1)
    assert kept["total_bytes"] == kept["bytes"]


def test_a_folder_can_be_named(run: Run, root: Root, tmp_path: Path) -> None:
    with sd.open_corpus(root, cache=tmp_path / "here") as corpus:
        corpus.read(0)
    assert run("cache", root.name, "--folder", tmp_path / "here", "--json").json["entries"] == 1
    assert sd.cache(root, folder=tmp_path / "here").entries == 1
    (tmp_path / "file").touch()
    assert run("cache", root.name, "--folder", tmp_path / "file", "--json").json["entries"] == 0
