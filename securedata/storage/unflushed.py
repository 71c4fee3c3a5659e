"""What was put on a local disk since it was flushed last: it is flushed together, and lost together.

A disk tells once that a write failed, and to those who had the file or a file of that disk open: the next fsync
succeeds, and the data are gone. So a file is flushed by the descriptor that wrote it; and where there are many, their
whole file system is, by a descriptor that was opened before anything was written.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Callable

from securedata.files import close_quietly
from securedata.storage.beneath import Root

MANY = 64
"""So many files are flushed one by one, and wait for that with their descriptors open."""


def _syncfs_tells() -> bool:
    """Does syncfs report writes that failed? Linux 5.8 and later; it is much faster than an fsync per file."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return sys.platform.startswith("linux") and version is not None and tuple(map(int, version.groups())) >= (5, 8)


SYNCFS = _syncfs_tells()


class Unflushed:
    """Files of one root that are to be flushed. Used by one thread at a time."""

    def __init__(self, root: Root) -> None:
        """Empty. Raises OSError."""
        self.root = root
        self.keys: list[str] = []
        self._files: list[int] = []
        self._folders: set[str] = {""}
        self._disks: dict[int, int] = {}
        self._together = False
        self._error: OSError | None = None
        with root.folder("") as folder:
            self.watch(folder)

    def __del__(self, close: Callable[[int], None] = close_quietly) -> None:
        for fd in (*self._files, *self._disks.values()):
            close(fd)  # flushed, or lost and said so

    def watch(self, folder: int) -> None:
        """Hear of writes that fail from now on, on the disk of a folder: called before a file is written there."""
        device = os.fstat(folder).st_dev
        if device not in self._disks:
            self._disks[device] = os.dup(folder)

    def add(self, key: str, fd: int | None) -> bool:
        """Add a file by the descriptor that wrote it; None: it was flushed. False: there is no room, flush it first."""
        if fd is not None and len(self._files) >= MANY and not SYNCFS:
            return False
        self.keys.append(key)
        self._folders.add(key.rpartition("/")[0])
        if fd is not None and not self._together:
            self._files.append(os.dup(fd))
            if len(self._files) > MANY:
                self._together = True
                while self._files:
                    try:
                        os.close(self._files.pop())
                    except OSError as error:  # some file systems tell here that a write failed, and only here
                        self._error = error
        return True

    def flush(self) -> None:
        """Flush everything.

        Raises:
            OSError: of no file of the batch is it known that it survives, and a second try would not tell.
        """
        if self._error is not None:
            raise self._error
        if self._together:
            for fd in self._disks.values():
                _syncfs(fd)
            return
        for fd in self._files:
            os.fsync(fd)
        folders = set(self._folders)
        for folder in self._folders:
            while folder := folder.rpartition("/")[0]:
                folders.add(folder)
        for folder in sorted(folders, key=len, reverse=True):  # after the folders and files in it
            with contextlib.suppress(FileNotFoundError), self.root.folder(folder) as fd:
                os.fsync(fd)


def _syncfs(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
