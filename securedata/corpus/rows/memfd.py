"""Memory that worker processes share: sealed memfds, mapped by every process that has the descriptor.

A memfd has no name in a file system and is never written to a disk. Without memfds, the bytes stay in this process, and
other processes open the corpus for themselves.
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
    """Writes to a descriptor, always everything; Python's raw files write at most 2 GiB and return how much."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        write_all(self._fd, data)
        return memoryview(data).nbytes


class SharedBytes:
    """Bytes that are written once, and then only read by this process and its workers."""

    def __init__(self, fd: int | None, size: int, data: bytes | None = None) -> None:
        self._fd = fd
        self.size = size
        if fd is None:
            self.view = memoryview(data or b"")
        elif size == 0:
            self.view = memoryview(b"")
        else:
            # private and read-only: the same pages as a shared mapping, which older kernels refuse on a sealed memfd
            self._map = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            self.view = memoryview(self._map)

    @classmethod
    def build(cls, name: str, fill: Callable[[io.RawIOBase], None]) -> SharedBytes:
        """Let `fill` write the bytes, then seal them against any change."""
        if not HAVE_MEMFD:
            memory = io.BytesIO()
            fill(memory)  # type: ignore[arg-type]  # only `write` is used, which BytesIO has
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
        """Can it be passed to a process that multiprocessing starts?"""
        return self._fd is not None

    def populate(self) -> None:
        """Map all pages in this process, so that workers share them instead of each faulting in its own."""
        if self._fd is not None and self.size:
            try:
                self._map.madvise(_POPULATE_READ)
            except OSError:  # an older kernel: pages are mapped as they are touched
                return

    def close(self) -> None:
        """Close the descriptor. Existing views stay readable."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when the interpreter ends, `os` is gone
        if (fd := getattr(self, "_fd", None)) is not None:
            close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        if not spawning() or self._fd is None:
            raise TypeError("shared memory can be passed only to multiprocessing workers, never into a stored pickle")
        return _attach, (DupFd(self._fd), self.size)


def _attach(handle: Any, size: int) -> SharedBytes:
    fd = handle.detach()
    os.set_inheritable(fd, False)  # received descriptors are inheritable, but a worker's children must not get it
    return SharedBytes(fd, size)
