"""What the processes of a host have read of one corpus through the cache: one small file for each corpus.

It also says of which erasures the entries were deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from securedata.storage.beneath import NotRegular, Root
from securedata.storage.cache.ledger import Busy

PREFIX = "counts-"
_MAGIC = b"SDCOUNT1"
_CELLS = struct.Struct("<8s4Q16s")


class Counts(NamedTuple):
    """Since the cache was made or cleared.

    Attributes:
        hits, misses: ranges that were read from the cache, and those that were fetched from storage.
        size: sealed bytes read from the cache.
        errors: failures of the disk.
        swept: identifies the erasures whose entries were deleted; 16 zero bytes: none.
    """

    hits: int = 0
    misses: int = 0
    size: int = 0
    errors: int = 0
    swept: bytes = bytes(16)


def read_counts(root: Root, corpus: str) -> Counts:
    """The counts of a corpus, given by its id in hex; zeros without a file.

    Raises:
        OSError
    """
    try:
        fd, _ = root.read(PREFIX + corpus)
    except FileNotFoundError:
        return Counts()
    try:
        return _read(fd)
    finally:
        os.close(fd)


def add_counts(root: Root, corpus: str, more: Counts) -> None:
    """Add to the counts of a corpus; `swept` replaces what was there, unless it is zero.

    Raises:
        Busy, OSError
    """
    with _locked(root, corpus) as fd:
        had = _read(fd)
        sums = (one + other for one, other in zip(had[:4], more[:4], strict=True))
        swept = more.swept if any(more.swept) else had.swept
        os.pwrite(fd, _CELLS.pack(_MAGIC, *(min(one, 2**63) for one in sums), swept), 0)


def forget_counts(root: Root, corpus: str) -> None:
    """Set the counts of a corpus to zero; of which erasures entries were deleted is forgotten as well.

    Raises:
        OSError
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(PREFIX + corpus, dir_fd=root.fd)


@contextlib.contextmanager
def sweeping(root: Root, corpus: str) -> Iterator[None]:
    """Let one process at a time delete the entries of erased recordings of a corpus.

    Raises:
        Busy: another one does.
        OSError
    """
    with _locked(root, f"{corpus}.sweep"):
        yield


@contextlib.contextmanager
def _locked(root: Root, name: str) -> Iterator[int]:
    fd = root.open(PREFIX + name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotRegular(None, "the counts of the cache are not a regular file")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        try:
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has a copy
    finally:
        os.close(fd)


def _read(fd: int) -> Counts:
    data = os.pread(fd, _CELLS.size, 0)
    if len(data) != _CELLS.size or not data.startswith(_MAGIC):
        return Counts()
    return Counts(*_CELLS.unpack(data)[1:])
