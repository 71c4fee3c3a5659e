"""The epoch that a stream is in, in memory that it shares with its workers: those that persist begin it as well."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any

from torch.utils.data import get_worker_info

from securedata.corpus.rows.memfd import HAVE_MEMFD, spawning
from securedata.forks import Instances

_NUMBER, _LOADS, _TAKEN, _TAKEN_LOADS = range(4)
_BYTES = 8 * 4


class Epoch:
    """What one process says of the epoch, and its loaders' workers read."""

    def __init__(self, fd: int | None = None, given: int | None = None, loads: int = 0) -> None:
        """
        Args:
            fd: the memory of the process that started this one; None: new memory.
            given, loads: what that process had there when it did.
        """
        self._open(_memory() if fd is None else fd)
        # A worker begins the epoch that there was when its loader was: it must not matter how soon that set another.
        self._given, self._known = given, loads
        self._inherited = fd is not None
        _epochs.add(self)

    def _open(self, fd: int) -> None:
        self._fd = fd
        self._map = mmap.mmap(fd, _BYTES)
        self._words = memoryview(self._map).cast("Q")

    @property
    def number(self) -> int:
        """The epoch that the next iteration is of."""
        return self._words[_NUMBER] if self._given is None else self._given

    @number.setter
    def number(self, epoch: int) -> None:
        self._given, self._words[_NUMBER] = None, epoch

    @property
    def taken(self) -> bool:
        """Whether a worker has begun to deliver what `number` and the last state say, since `restart`."""
        begun, loads = self._words[_TAKEN], self._words[_TAKEN_LOADS]
        return begun == self._words[_NUMBER] + 1 and loads == self._words[_LOADS]

    def begin(self, epoch: int) -> None:
        """An iteration of an epoch begins here."""
        self._given = None
        # A worker that starts late can be in an epoch that its loader's process has left: that is none of the next.
        # So it notes what it begins, not that it does: the process can set another right now.
        if get_worker_info() is not None and epoch == self._words[_NUMBER] and not self.behind:
            self._words[_TAKEN], self._words[_TAKEN_LOADS] = epoch + 1, self._known

    def restart(self, loaded: bool) -> None:
        """What was delivered before no longer counts; because a state was `loaded`, which workers do not know of."""
        self._words[_TAKEN] = 0
        self._words[_LOADS] += loaded

    @property
    def behind(self) -> bool:
        """Whether a state was loaded after this worker was started."""
        return get_worker_info() is not None and self._words[_LOADS] != self._known

    def settle(self) -> bool:
        """Called in a process that was given this by another; returns whether it is a worker, the first time.

        Any other process, such as a rank, says by itself in which epoch it is.
        """
        inherited, self._inherited = self._inherited, False
        if not inherited or get_worker_info() is not None:
            return inherited
        number = self.number
        os.close(self._fd)
        self._open(_memory())
        self.number = number
        return False

    def _about_to_start(self) -> None:
        if get_worker_info() is None:  # else its workers would share what it was given with workers of other ranks
            self.settle()
        self._at_start = self.number, self._words[_LOADS]

    def _in_child(self) -> None:
        (self._given, self._known), self._inherited = self._at_start, True

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when the interpreter ends, `os` is gone
        if hasattr(self, "_fd"):
            close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        if spawning():
            self._about_to_start()
            return _attach, (DupFd(self._fd), *self._at_start)
        return _alone, (self.number,)


_epochs = Instances(before=Epoch._about_to_start, in_child=Epoch._in_child)


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


def _attach(handle: Any, given: int, loads: int) -> Epoch:
    fd = handle.detach()
    os.set_inheritable(fd, False)
    return Epoch(fd, given, loads)


def _alone(number: int) -> Epoch:
    epoch = Epoch()
    epoch.number = number
    return epoch
