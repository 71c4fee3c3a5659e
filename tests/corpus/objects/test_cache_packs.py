"""Members of packs in the cache of sealed objects: each is an entry of its own, and leaves with its person."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.objects.cache import covered
from securedata.corpus.objects.fetch import Piece
from securedata.storage.cache.folder import NAME
from tests.corpus.objects.test_cache import Counted, a_clip, files, patient
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, make_corpus

PEOPLE = ("ann", "bob", "cat")
__all__ = ["patient"]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A corpus of one pack."""
    made = make_corpus(
        tmp_path, [a_clip(f"{name}/{i}.raw", f"{name} {i} ".encode() * 900) for name in PEOPLE for i in range(4)]
    )
    sd.pack(made)
    assert len({row["pack"] for row in current(made.reference).values()}) == 1
    return made


def read_all(root: Root, cache: Path, together: bool = False) -> int:
    """Read everything, one by one or together; returns how many ranges of packs were asked for."""
    storage = Counted(root)
    with open_quietly(root.reference, storage, cache=str(cache)) as corpus:
        data = {clip.path: clip.data for clip in root.clips}
        paths = corpus.table.column("path").to_pylist()
        storage.asked.clear()
        if together:
            for at, got in corpus.read_many([Piece(i) for i in range(len(paths))]):
                assert got == data[paths[at]]
        else:
            for i, path in enumerate(paths):
                assert corpus.read(i) == data[path]
                assert corpus.read_range(i, 50, 60) == data[path][50:110]
        return sum(key.startswith("packs/") for key in storage.asked)


def members(cache: Path) -> set[tuple[int, int]]:
    """Offset and length of each entry."""
    return {(int(path.name.split("-")[2], 16), int(path.name.split("-")[3], 16)) for path in files(cache)}


def places(root: Root, *people: str) -> set[tuple[int, int]]:
    rows = current(root.reference).items()
    return {(row["offset"], row["sealed_size"]) for path, row in rows if path.partition("/")[0] in people}


def test_each_member_is_fetched_once(root: Root, tmp_path: Path) -> None:
    assert read_all(root, tmp_path / "cache") == 12
    assert read_all(root, tmp_path / "cache") == 0
    assert members(tmp_path / "cache") == places(root, *PEOPLE)


def test_members_that_are_fetched_together_are_one_entry(root: Root, tmp_path: Path) -> None:
    end = max(offset + size for offset, size in places(root, *PEOPLE))
    assert read_all(root, tmp_path / "cache", together=True) == 1
    assert members(tmp_path / "cache") == {(0, end)}
    assert read_all(root, tmp_path / "cache", together=True) == 0
    [path] = files(tmp_path / "cache")
    path.write_bytes(bytes(end))
    assert read_all(root, tmp_path / "cache", together=True) == 12, "each by itself"
    assert read_all(root, tmp_path / "cache", together=True) == 1
    erase(root, "bob")
    with open_quietly(root.reference, cache=str(tmp_path / "cache")):
        assert members(tmp_path / "cache") == set(), "it holds members of a person who was erased"


def test_a_member_of_another_place_is_not_served(root: Root, tmp_path: Path) -> None:
    read_all(root, tmp_path / "cache")
    found = files(tmp_path / "cache")
    first = found[0].read_bytes()
    for path in found[1:]:
        path.write_bytes(first[: path.stat().st_size].ljust(path.stat().st_size))
    assert read_all(root, tmp_path / "cache") >= 11


def test_a_renewal_evicts_the_members_of_who_was_erased(root: Root, tmp_path: Path) -> None:
    storage = Counted(root)
    with open_quietly(root.reference, storage, cache=str(tmp_path / "cache"), ttl=0.2) as corpus:
        for i in range(12):
            corpus.read(i)
        left = places(root, "ann", "cat")
        # a range that begins in a member which stays and ends in one that goes, as a block of a stream might be
        [one, *_] = files(tmp_path / "cache")
        corpus_id, pack, *_ = one.name.split("-")
        end = max(offset + size for offset, size in places(root, *PEOPLE))
        block = one.parent / f"{corpus_id}-{pack}-0-{end:x}"
        block.write_bytes(bytes(end))
        erase(root, "bob")
        time.sleep(0.2)
        corpus.read("ann/0.raw")
    assert not block.exists()
    assert members(tmp_path / "cache") >= left
    assert not members(tmp_path / "cache") & (places(root, "bob"))
    assert len(members(tmp_path / "cache")) == 8


def test_the_next_opening_evicts_them_too(root: Root, tmp_path: Path) -> None:
    read_all(root, tmp_path / "cache")
    left = places(root, "ann", "cat")
    erase(root, "bob")
    assert len(members(tmp_path / "cache")) == 12
    read_all(root, tmp_path / "cache")
    assert len(members(tmp_path / "cache")) == 8
    assert members(tmp_path / "cache") == left
    assert (tmp_path / "cache" / NAME / "CACHEDIR.TAG").exists()


def test_packing_again_leaves_nothing_that_serves_the_old_place(root: Root, tmp_path: Path) -> None:
    read_all(root, tmp_path / "cache")
    erase(root, "bob")
    sd.pack(root, compact=0.0)
    assert read_all(root, tmp_path / "cache") >= 0
    evicted = sd.cache(root, folder=tmp_path / "cache", evict=True)
    assert evicted.entries == 8
    assert members(tmp_path / "cache") == places(root, "ann", "cat")


def test_what_extents_cover() -> None:
    extents = [(0, 10), (10, 5), (20, 5)]
    assert [covered(*one, extents) for one in [(0, 10), (0, 15), (3, 9), (20, 5), (24, 1)]] == [True] * 5
    assert [covered(*one, extents) for one in [(0, 16), (14, 2), (15, 1), (19, 2), (24, 2), (30, 1)]] == [False] * 6
    assert not covered(0, 1, [])
