"""What tests of the cache share: entries, and what a folder takes on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.storage.cache.entry import Entry
from securedata.storage.cache.folder import NAME, CacheFolder

LIMIT = 4 * 1024 * 1024
CORPUS = "c0" * 16


@pytest.fixture
def cache(tmp_path: Path) -> CacheFolder:
    """An empty cache of 4 MiB."""
    return CacheFolder(str(tmp_path / "cache"), LIMIT)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a process may find a lock taken for longer than it waits, and go on without the cache."""
    monkeypatch.setattr("securedata.storage.cache.ledger._TRIES", 50_000)
    monkeypatch.setattr("securedata.storage.cache.shards._TRIES", 50_000)
    monkeypatch.setattr("securedata.storage.cache.shards._SLICE", 30.0)


def entry(size: int, corpus: str = CORPUS) -> Entry:
    """A new entry of this size."""
    return Entry(corpus, os.urandom(16).hex(), 0, size)


def content(one: Entry) -> bytes:
    """What an entry of these tests holds."""
    return (one.stored.encode() * (one.length // 32 + 1))[: one.length]


def fill(cache: CacheFolder, many: int, size: int) -> list[Entry]:
    """Put new entries; returns them."""
    found = [entry(size) for _ in range(many)]
    for one in found:
        cache.put(one, content(one))
    return found


def holds(cache: CacheFolder, one: Entry) -> bool:
    """Does the cache have an entry? It must be right if it does."""
    got = cache.read(one, [(0, one.length + 1)])
    assert got is None or got == [content(one)]
    return got is not None


def on_disk(cache: CacheFolder) -> int:
    """Bytes that all files of the cache take, temporary ones too."""
    total = 0
    for folder, _, names in os.walk(cache.path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def file_of(cache: CacheFolder, one: Entry) -> Path:
    """The file of an entry."""
    return Path(cache.place, NAME, one.key)


def in_child(act: Callable[[], None]) -> int:
    """Run something in a forked process; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)
