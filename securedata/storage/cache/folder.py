"""The folder of the cache: read and put entries. Whatever goes wrong in it, reading goes on without it.

PLACE/securedata-cache/         0700; a folder of another user is refused
    CACHEDIR.TAG                backups leave it out
    ledger                      bytes by shard: see `ledger`
    counts-CORPUS               hits and misses: see `counts`
    00/ ... ff/                 entries: see `entry`
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Sequence

from securedata.files import NEW, make_folders, temporary_name, write_all
from securedata.foreign.describe import describe
from securedata.forks import Instances
from securedata.storage.base import Buffer
from securedata.storage.beneath import NotRegular, Root
from securedata.storage.cache.entry import Entry, on_disk
from securedata.storage.cache.ledger import Busy, Uncounted, locked
from securedata.storage.cache.shards import count, evict, held
from securedata.storage.mounts import REMOTE, file_system

NAME = "securedata-cache"
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Sealed objects, kept by securedata. See https://bford.info/cachedir/\n"
_TOUCH = 60.0
"""Seconds after which a use of an entry is noted again."""
_PAUSE = 60.0
"""Seconds without the cache after an error of the disk."""
_LARGEST = 8
"""An entry takes at most this fraction of the limit."""
_PLANTED = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)

_log = logging.getLogger("securedata")


class CacheFolder:
    """A cache on a local disk. Safe for many processes and threads; no method raises, or waits for long."""

    def __init__(self, place: str, limit: int) -> None:
        """Makes no system call yet.

        Args:
            place: the folder to keep it in, absolute.
            limit: bytes that it takes at most.
        """
        self.place = place
        self.path = os.path.join(place, NAME)
        self.limit = limit
        self._uid = os.geteuid()
        self._warned = False
        self._fresh_process()
        _live.add(self)

    def __repr__(self) -> str:
        if not hasattr(self, "limit"):
            return "<CacheFolder, not made>"
        return f"CacheFolder({self.path!r}, {self.limit})"

    def _fresh_process(self) -> None:
        self._root: Root | None = None
        self.failed = 0
        self._off_until = 0.0
        self._opening = threading.Lock()

    # ------------------------------------------------------------ read

    def read(self, entry: Entry, ranges: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """(offset, length) ranges of an entry, cut at its end; None without it.

        What is in its place and cannot be the entry is dropped. The bytes count only once they were opened: see `drop`.
        """
        root = self._root or self.root()
        if root is None:
            return None
        try:
            fd, size = root.read(entry.key)
        except FileNotFoundError:
            return None
        except OSError:
            self.drop(entry)
            return None
        try:
            status = os.fstat(fd)
            if size == entry.length and status.st_uid == self._uid:
                got = [os.pread(fd, length, offset) for offset, length in ranges]
                if time.time() - status.st_mtime > _TOUCH:
                    with contextlib.suppress(OSError):  # of a folder that is read-only
                        os.utime(fd)
                return got
        except OSError as error:  # a bad sector: it is fetched again
            self._fails(error)
        finally:
            os.close(fd)
        self.drop(entry)
        return None

    def expects(self, entry: Entry) -> bool:
        """Is there a file that could be the entry? The kernel begins to read it from the disk, for a `read` soon."""
        root = self._root or self.root()
        if root is None:
            return False
        try:
            fd, size = root.read(entry.key)
        except FileNotFoundError:
            return False
        except OSError:
            self.drop(entry)
            return False
        try:
            if size != entry.length:
                self.drop(entry)
                return False
            if hasattr(os, "posix_fadvise"):
                with contextlib.suppress(OSError):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            return True
        finally:
            os.close(fd)

    # ------------------------------------------------------------ write

    def put(self, entry: Entry, data: Buffer) -> bool:
        """Keep an entry, if there is room or other entries can make it; returns whether it was kept."""
        size = on_disk(entry.length)
        if len(data) != entry.length or size > self.limit // _LARGEST or time.monotonic() < self._off_until:
            return False
        try:
            root = self.root()
            if root is None:
                return False
            with contextlib.suppress(Uncounted):
                return self._put_or_evict(root, entry, data, size)
            count(root)  # with no shard locked, for it locks each
            return self._put_or_evict(root, entry, data, size)
        except (Busy, Uncounted):
            return False
        except OSError as error:
            if not isinstance(error, NotRegular) and error.errno not in _PLANTED:  # those harm this entry only
                self._fails(error)
            return False

    def _put_or_evict(self, root: Root, entry: Entry, data: Buffer, size: int) -> bool:
        """Raises Busy, Uncounted, OSError."""
        if self._put(root, entry, data, size):
            return True
        if evict(root, self.limit, size):
            return self._put(root, entry, data, size)
        # what is not ours fills it: searching for room again and again would cost each read milliseconds
        self._off_until = time.monotonic() + _PAUSE
        return False

    def _put(self, root: Root, entry: Entry, data: Buffer, size: int) -> bool:
        """Raises Busy, Uncounted, OSError."""
        with held(root, entry.shard, alone=False) as folder:
            if not self._reserve(root, entry.shard, size):
                return False
            temporary = temporary_name(entry.name)
            try:
                fd = os.open(temporary, NEW, 0o600, dir_fd=folder)
                try:
                    write_all(fd, data)
                finally:
                    os.close(fd)
                os.rename(temporary, entry.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:  # raised again, Ctrl-C too
                with contextlib.suppress(OSError, Busy, Uncounted):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                    with locked(root) as ledger:
                        ledger.set(entry.shard, max(0, ledger.used()[entry.shard] - size))
                raise
        return True

    def _reserve(self, root: Root, shard: int, size: int) -> bool:
        """Raises Busy, Uncounted, OSError."""
        with locked(root) as ledger:
            used = ledger.used()
            if sum(used) + size > self.limit:
                return False
            ledger.set(shard, used[shard] + size)
            return True

    def has_room(self, size: int) -> bool:
        """Would a put of so many bytes succeed now without making room?"""
        try:
            root = self.root()
            if root is None or time.monotonic() < self._off_until or size > self.limit // _LARGEST:
                return False
            with locked(root) as ledger:
                return sum(ledger.used()) + size <= self.limit
        except Uncounted:
            return True
        except (Busy, OSError):
            return False

    def drop(self, entry: Entry) -> None:
        """Delete an entry that is not what it should be."""
        root = self._root
        if root is not None:
            with contextlib.suppress(OSError):
                folder, _, name = entry.key.partition("/")
                with root.folder(folder) as fd:
                    os.unlink(name, dir_fd=fd)

    # ------------------------------------------------------------ the folder

    def root(self) -> Root | None:
        """The opened folder, made if missing; None while it cannot be used."""
        if self._root is not None:
            return self._root
        if time.monotonic() < self._off_until:
            return None
        with self._opening:
            if self._root is None:
                try:
                    self._root = open_folder(self.place)
                except OSError as error:
                    self._fails(error)
            return self._root

    def _fails(self, error: OSError) -> None:
        """Count an error of the disk, warn of the first, and leave the cache alone for a moment."""
        self.failed += 1
        self._off_until = time.monotonic() + _PAUSE
        if error.errno in (errno.ENOENT, errno.ESTALE):  # deleted under us: it is made again
            self._root = None
        if not self._warned:
            self._warned = True
            _log.warning(
                "the cache in %s is not used for now: %s; reading goes on without it, from storage",
                self.place,
                describe(error),
            )


def open_folder(place: str, make: bool = True) -> Root:
    """Open the folder of a cache.

    Raises:
        OSError: it cannot be made or opened, is another user's, or is on a network file system.
    """
    path = os.path.join(place, NAME)
    if make and not os.path.lexists(path):
        make_folders(place, 0o700)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", path)
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user: name a folder of your own", path)
    kind = file_system(path)
    if kind.startswith(REMOTE):
        raise OSError(errno.ENOTSUP, f"it is on {kind}, and a cache must be on a local disk", path)
    root = Root(path)
    opened = os.fstat(root.fd)
    if not os.path.samestat(opened, status):
        raise PermissionError(errno.EPERM, "it was replaced while it was opened", path)
    if stat.S_IMODE(status.st_mode) & 0o077:
        os.chmod(path, 0o700)
    if make:
        _tag(root)
    return root


def _tag(root: Root) -> None:
    with contextlib.suppress(OSError):  # it is there, or the folder is read-only
        fd = root.open("CACHEDIR.TAG", NEW, 0o600)
        with open(fd, "wb", buffering=0) as file:
            file.write(_TAG)


_live = Instances(in_child=CacheFolder._fresh_process)
