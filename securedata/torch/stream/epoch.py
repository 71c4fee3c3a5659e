"""The epoch that a stream is in, in memory that workers share: those that persist begin it with their loader."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any

from securedata.corpus.rows.memfd import HAVE_MEMFD, spawning

_BYTES = 8


class Epoch:
    """A whole number that one process sets and its children read."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = _memory() if fd is None else fd
        self._map = mmap.mmap(self._fd, _BYTES)
        self._words = memoryview(self._map).cast("Q")

    @property
    def number(self) -> int:
        """The epoch."""
        return self._words[0]

    @number.setter
    def number(self, epoch: int) -> None:
        self._words[0] = epoch

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when the interpreter ends, `os` is gone
        if hasattr(self, "_fd"):
            close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_attach, (DupFd(self._fd),)) if spawning() else (_alone, (self.number,))


def _memory() -> int:
    if HAVE_MEMFD:
        fd = os.memfd_create("securedata-epoch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _BYTES)
    if HAVE_MEMFD:  # a worker that shrank it would crash the others
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def _attach(handle: Any) -> Epoch:
    fd = handle.detach()
    os.set_inheritable(fd, False)
    return Epoch(fd)


def _alone(number: int) -> Epoch:
    epoch = Epoch()
    epoch.number = number
    return epoch
