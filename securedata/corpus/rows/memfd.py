"""Memory that worker processes share: sealed memfds, mapped by whoever holds the descriptor.

Nothing of it has a name in a file system, and nothing reaches a disk. Where there is no memfd the bytes
stay in this process, and other processes open the corpus for themselves.
"""

from __future__ import annotations

import fcntl
import io
import mmap
import os
from collections.abc import Callable
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from typing import Any

from securedata.files import write_all

HAVE_MEMFD = hasattr(os, "memfd_create")
_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14


def spawning() -> bool:
    """Is multiprocessing pickling for a process that it is about to start?"""
    return get_spawning_popen() is not None


class _Whole(io.RawIOBase):
    """Writes to a descriptor, always all: Python's own raw files write up to 2 GiB at once, and say so in a number."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        write_all(self._fd, data)
        return memoryview(data).nbytes


class SharedBytes:
    """Bytes that are written once and then only read, by this process and its workers."""

    def __init__(self, fd: int | None, size: int, data: bytes | None = None) -> None:
        self._fd = fd
        self.size = size
        if fd is None:
            self.view = memoryview(data or b"")
        elif size == 0:
            self.view = memoryview(b"")
        else:
            # private and read-only: the same pages as a shared map, which older kernels refuse on a sealed memfd
            self._map = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            self.view = memoryview(self._map)

    @classmethod
    def build(cls, name: str, fill: Callable[[io.RawIOBase], None]) -> SharedBytes:
        """Let `fill` write the bytes, then seal them against any change."""
        if not HAVE_MEMFD:
            memory = io.BytesIO()
            fill(memory)  # type: ignore[arg-type]  # a BytesIO has the one method that is used, write
            return cls(None, memory.tell(), memory.getvalue())
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            fill(_Whole(fd))
            fcntl.fcntl(
                fd,
                fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL,
            )
            return cls(fd, os.fstat(fd).st_size)
        except BaseException:  # raised again: the descriptor has no owner yet
            os.close(fd)
            raise

    @property
    def shareable(self) -> bool:
        """Can it be handed to a process that multiprocessing starts?"""
        return self._fd is not None

    def populate(self) -> None:
        """Map all pages here, so that a worker that touches one shares it rather than being its only owner."""
        if self._fd is not None and self.size:
            try:
                self._map.madvise(_POPULATE_READ)
            except OSError:  # an older kernel: pages are mapped as they are touched
                return

    def close(self) -> None:
        """Close the descriptor. Views of it stay readable until they are gone."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when the interpreter ends, `os` is gone
        if (fd := getattr(self, "_fd", None)) is not None:
            close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        if not spawning() or self._fd is None:
            raise TypeError("shared memory goes to workers of multiprocessing only, never into a pickle that is kept")
        return _attach, (DupFd(self._fd), self.size)


def _attach(handle: Any, size: int) -> SharedBytes:
    fd = handle.detach()
    os.set_inheritable(fd, False)  # a received descriptor is inheritable: a child of the worker must not have it
    return SharedBytes(fd, size)
