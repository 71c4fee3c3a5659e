"""How many bytes each shard of the cache holds: the sum is compared with the limit before anything is written.

A writer adds to the ledger before it writes, and an evictor subtracts after it has deleted. So the ledger is never too
low, wherever a process is killed; where it is too high, the next count of that shard corrects it. After a power cut it
could be too low, since it is not flushed: it carries the boot id, and counts only in the same boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from securedata.storage.beneath import NotRegular, Root
from securedata.storage.cache.entry import SHARDS

LEDGER = "ledger"
_MAGIC = b"SDCACHE1"
_HEADER = struct.Struct("<8s16sQQ")  # magic, boot id, shards counted since the boot, the shard to evict from next
_CELL = struct.Struct("<Q")
_SHARDS = struct.Struct(f"<{SHARDS}Q")
_SIZE = _HEADER.size + _SHARDS.size
_COUNTED, _TURN = _HEADER.size - 2 * _CELL.size, _HEADER.size - _CELL.size
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TRIES, _PAUSE = 50, 0.0002
"""The lock is held for microseconds. Who does not get it goes on without the cache: training never waits for it."""


class Busy(Exception):
    """Other processes held a lock for too long."""


class Uncounted(Exception):
    """The ledger is new, of another boot, or was not one: shards from number `first` on must be counted."""

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first


class Ledger:
    """The ledger while this process has its lock."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def used(self) -> tuple[int, ...]:
        """Bytes by shard.

        Raises:
            Uncounted
        """
        data = os.pread(self._fd, _SIZE + 1, 0)
        if len(data) != _SIZE or _HEADER.unpack_from(data)[:2] != (_MAGIC, _boot()):
            self._reset()
            raise Uncounted(0)
        counted = _HEADER.unpack_from(data)[2]
        if counted < SHARDS:
            raise Uncounted(counted)
        return _SHARDS.unpack_from(data, _HEADER.size)

    def _reset(self) -> None:
        """Start over. The header comes last, so that a process that is killed in here leaves no ledger."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, bytes(_SHARDS.size), _HEADER.size)
        os.pwrite(self._fd, _HEADER.pack(_MAGIC, _boot(), 0, 0), 0)

    def set(self, shard: int, size: int) -> None:
        """Replace the count of a shard."""
        self._write(_HEADER.size + shard * _CELL.size, size)

    def count(self, shard: int, size: int) -> None:
        """Enter the first count of a shard; they come in order."""
        self.set(shard, size)
        self.skip(shard + 1)

    def skip(self, first: int) -> None:
        """The shards before this one are counted, or missing: their counts are 0 after a reset."""
        self._write(_COUNTED, first)

    @property
    def turn(self) -> int:
        """The shard to evict from next."""
        return int.from_bytes(os.pread(self._fd, _CELL.size, _TURN), "little") % SHARDS

    @turn.setter
    def turn(self, shard: int) -> None:
        self._write(_TURN, shard)

    def _write(self, at: int, value: int) -> None:
        os.pwrite(self._fd, _CELL.pack(value), at)


@contextlib.contextmanager
def locked(root: Root) -> Iterator[Ledger]:
    """Hold the lock of the ledger, which is created if missing.

    Raises:
        Busy, OSError
    """
    # opened for every lock: flock belongs to the open file description, which a forked child would share
    fd = root.open(LEDGER, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotRegular(None, "the ledger of the cache is not a regular file")
        _lock(fd)
        try:
            yield Ledger(fd)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has a copy, and would keep holding the lock
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_PAUSE)
    raise Busy


def _boot() -> bytes:
    """16 bytes that differ after each boot; zeros where there is no such file."""
    if not _known:
        try:
            _known.append(uuid.UUID(_BOOT_ID.read_text().strip()).bytes)
        except (OSError, ValueError):
            _known.append(bytes(16))
    return _known[0]


_known: list[bytes] = []
