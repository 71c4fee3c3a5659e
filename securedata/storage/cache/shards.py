"""The folders of entries: locked, counted, evicted from.

A writer holds the shared lock of its shard from before it enters its bytes in the ledger until its file has its name.
So a process that holds the exclusive lock knows that every temporary file there is of a process that was killed, and
that what it counts is all there is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from securedata.files import TEMPORARY
from securedata.storage.beneath import NotRegular, Root
from securedata.storage.cache.entry import SHARDS, Entry, on_disk, parse
from securedata.storage.cache.ledger import Busy, Uncounted, locked

_SLICE = 0.05
"""Seconds of counting after which a process goes back to its own work; the next one counts on."""
_MOST = 64 * 1024 * 1024
"""The most bytes for which room is made ahead of need."""
_SAMPLE = 512
"""Entries among which the oldest are searched for. The shards of a large cache have more each."""
_ROUNDS = 32
_TRIES, _PAUSE = 20, 0.0005
_NO_FOLDER = (FileNotFoundError, NotADirectoryError, NotRegular)
"""Raised where a shard's folder is missing, or something else is in its place."""


class File(NamedTuple):
    """A file in a shard: `entry` None if it is not ours; `used` seconds since the epoch."""

    name: str
    entry: Entry | None
    size: int
    used: float


def folder_name(shard: int) -> str:
    """The name of a shard's folder."""
    return f"{shard:02x}"


@contextlib.contextmanager
def held(root: Root, shard: int, *, alone: bool) -> Iterator[int]:
    """The descriptor of a shard's folder under its lock, shared or exclusive.

    Args:
        alone: take the exclusive lock of a folder that exists; otherwise the shared one, and make the folder.

    Raises:
        Busy, OSError
        FileNotFoundError: only if `alone`.
    """
    name = folder_name(shard)
    try:
        fd = root.open_folder(name)
    except FileNotFoundError:
        if alone:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=root.fd)
        fd = root.open_folder(name)
    try:
        _lock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has a copy
    finally:
        os.close(fd)


@contextlib.contextmanager
def only_evictor(root: Root) -> Iterator[int]:
    """Let one process at a time count and evict; gives a descriptor of the cache's folder.

    Raises:
        Busy: another one does.
        OSError
    """
    fd = root.open_folder("")
    try:
        _lock(fd, fcntl.LOCK_EX, tries=1)
        try:
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _lock(fd: int, how: int, tries: int = _TRIES) -> None:
    for left in reversed(range(tries)):
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)
    raise Busy


def files(folder: int) -> list[File]:
    """All files of a shard. No link is followed; folders are left out, for they cannot be ours."""
    found = []
    with os.scandir(folder) as entries:
        for one in entries:
            with contextlib.suppress(FileNotFoundError):  # dropped by a reader meanwhile
                if not one.is_dir(follow_symlinks=False):
                    status = one.stat(follow_symlinks=False)
                    found.append(File(one.name, parse(one.name), on_disk(status.st_size), status.st_mtime))
    return found


def count(root: Root) -> None:
    """Count the shards that were not counted since the boot, for a moment at most.

    Raises:
        Busy, OSError
    """
    until = time.monotonic() + _SLICE
    with only_evictor(root) as top:
        there = set(os.listdir(top))
        while True:
            with locked(root) as ledger:
                try:
                    ledger.used()
                    return
                except Uncounted as found:
                    shard = found.first
                shard = next((one for one in range(shard, SHARDS) if folder_name(one) in there), SHARDS)
                ledger.skip(shard)
            if shard == SHARDS:
                return
            size = 0
            with contextlib.suppress(*_NO_FOLDER), held(root, shard, alone=True) as folder:
                size = _delete(folder, files(folder), ()).left
            with locked(root) as ledger:
                ledger.count(shard, size)
            if time.monotonic() > until:
                raise Busy


class Deleted(NamedTuple):
    """What was deleted of a shard, and what is left there, in bytes."""

    files: int
    size: int
    left: int


def delete(root: Root, shard: int, wanted: Callable[[Entry], bool]) -> Deleted:
    """Delete entries of a shard, and what killed processes left there.

    Raises:
        Busy, OSError
    """
    try:
        with held(root, shard, alone=True) as folder:
            found = files(folder)
            done = _delete(folder, found, {file.name for file in found if file.entry and wanted(file.entry)})
            with locked(root) as ledger:
                ledger.set(shard, done.left)
            return done
    except _NO_FOLDER:
        return Deleted(0, 0, 0)


def evict(root: Root, limit: int, need: int) -> bool:
    """Delete the entries of a sample that were not used for the longest time, until there is room.

    Returns:
        Whether there is room for `need` bytes.

    Raises:
        Busy, OSError
        Uncounted: see `count`.
    """
    wanted = max(need, min(limit // SHARDS, _MOST))
    with only_evictor(root):
        for _ in range(_ROUNDS):
            with locked(root) as ledger:
                used = ledger.used()
                lacking = sum(used) + wanted - limit
            if lacking <= 0:
                return True
            for shard, going in _oldest(root, used, lacking).items():
                with contextlib.suppress(Busy), held(root, shard, alone=True) as folder:  # if writers are in it, later
                    left = _delete(folder, files(folder), going).left
                    with locked(root) as ledger:
                        ledger.set(shard, left)
        with locked(root) as ledger:
            return sum(ledger.used()) + need <= limit


def _oldest(root: Root, used: tuple[int, ...], lacking: int) -> dict[int, set[str]]:
    """The oldest entries of the next shards, enough for `lacking` bytes, but no more than a quarter; names by shard."""
    sample: list[tuple[float, int, int, str]] = []
    with locked(root) as ledger:
        turn = ledger.turn
    for shard in (number % SHARDS for number in range(turn, turn + SHARDS)):
        if not used[shard]:
            continue
        try:
            with root.folder(folder_name(shard)) as folder:
                found = files(folder)
        except _NO_FOLDER:
            found = []
        ours = [(file.used, shard, file.size, file.name) for file in found if file.entry is not None]
        sample += ours or [(0.0, shard, 0, "")]  # to be counted again, since there is less than the ledger says
        turn = shard + 1
        if len(sample) >= _SAMPLE:
            break
    with locked(root) as ledger:
        ledger.turn = turn % SHARDS
    most = sum(size for _, _, size, _ in sample) // 4
    going: dict[int, set[str]] = {}
    for _, shard, size, name in sorted(sample):
        if name and (lacking <= 0 or most < 0):
            break
        going.setdefault(shard, set()).add(name)
        lacking -= size
        most -= size
    return going


def _delete(folder: int, found: list[File], going: Container[str]) -> Deleted:
    many = size = left = 0
    for file in found:
        # under the exclusive lock nobody is writing a temporary file
        if TEMPORARY in file.name and parse(file.name.partition(TEMPORARY)[0]):
            gone = True
        elif gone := file.name in going:
            many += 1
            size += file.size
        if gone:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name, dir_fd=folder)
        else:
            left += file.size
    return Deleted(many, size, left)


def unlink(root: Root, shards: Iterable[int], goes: Callable[[Entry], bool]) -> int:
    """Delete entries at once, without a lock, whoever uses them; returns how many.

    The ledger counts them until their shard is counted again, when it is evicted from.

    Raises:
        OSError
    """
    many = 0
    for shard in shards:
        try:
            with root.folder(folder_name(shard)) as folder:
                for name in os.listdir(folder):
                    if (entry := parse(name)) is not None and goes(entry):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=folder)
                            many += 1
        except _NO_FOLDER:
            continue
    return many


def names(root: Root) -> Iterator[Entry]:
    """The entries of all shards, by their names alone.

    Raises:
        OSError
    """
    for shard in range(SHARDS):
        try:
            with root.folder(folder_name(shard)) as folder:
                found = os.listdir(folder)
        except _NO_FOLDER:
            continue
        yield from (entry for name in found if (entry := parse(name)) is not None)


class Census(NamedTuple):
    """What the cache holds.

    Attributes:
        entries, size: of one corpus, in files and bytes.
        total: bytes of all corpora, and of what is not ours.
        foreign: files that are not ours.
    """

    entries: int
    size: int
    total: int
    foreign: int


def census(root: Root, corpus: str) -> Census:
    """Count what is there now; `corpus` is an id in hex. Locks nothing.

    Raises:
        OSError
    """
    entries = size = total = foreign = 0
    for file in walk(root):
        total += file.size
        if file.entry is None:
            foreign += TEMPORARY not in file.name
        elif file.entry.corpus == corpus:
            entries += 1
            size += file.size
    return Census(entries, size, total, foreign)


def walk(root: Root) -> Iterator[File]:
    """The files of all shards.

    Raises:
        OSError
    """
    for shard in range(SHARDS):
        try:
            with root.folder(folder_name(shard)) as folder:
                found = files(folder)
        except _NO_FOLDER:
            continue
        yield from found
