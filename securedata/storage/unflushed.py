"""Files put on a local disk since the last flush. They are flushed together, and lost together.

The kernel reports a failed write only once, and only through descriptors that were open when it failed: the next fsync
succeeds although the data are gone. So each file is flushed through the descriptor that wrote it. If there are many,
the whole file system is flushed instead, through a descriptor that was opened before anything was written.
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
"""The most files that stay open until they are flushed one by one."""


def _syncfs_reports() -> bool:
    """Whether syncfs reports failed writes: on Linux 5.8 and later. It is much faster than an fsync per file."""
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return sys.platform.startswith("linux") and version is not None and tuple(map(int, version.groups())) >= (5, 8)


SYNCFS = _syncfs_reports()


class Unflushed:
    """Files of one root that must be flushed. Used by one thread at a time."""

    def __init__(self, root: Root) -> None:
        """Start empty.

        Raises:
            OSError
        """
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
            close(fd)  # flushed, or reported as lost

    def watch(self, folder: int) -> None:
        """Open a descriptor that will report failed writes on a folder's disk. Call it before writing a file there."""
        device = os.fstat(folder).st_dev
        if device not in self._disks:
            self._disks[device] = os.dup(folder)

    def add(self, key: str, fd: int | None) -> bool:
        """Add a file by the descriptor that wrote it, or None if it was flushed. False: no room, flush it yourself."""
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
                    except OSError as error:  # some file systems report a failed write only here
                        self._error = error
        return True

    def flush(self) -> None:
        """Flush everything.

        Raises:
            OSError: any file of the batch might be lost, and a second try would not report it.
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
        for folder in sorted(folders, key=len, reverse=True):  # each after the folders in it
            with contextlib.suppress(FileNotFoundError), self.root.folder(folder) as fd:
                os.fsync(fd)


def _syncfs(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
