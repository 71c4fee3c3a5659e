"""What the processes of a job have done with a dataset, in memory that they share: a line of numbers for each.

Each process writes its own line and reads all. A line outlives its process, and the next one that starts counts on
from there: the workers of a thousand epochs need no more lines than run at a time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Iterable
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

import numpy as np

from securedata.corpus.counters import Counters
from securedata.corpus.shared import HAVE_MEMFD, spawning

_LINES = 4096  # the first says how many are used; processes beyond the others share the last one, and may lose counts
_CELLS = 16
_OWNER, _EPOCH, _IN_EPOCH = 8, 9, 10
_LINE = struct.Struct("=8d")


class Stats(NamedTuple):
    """What a dataset has done since it was opened, in this process and the workers of its loaders.

    Attributes:
        bytes: of plaintext, decrypted for samples.
        samples: that were given out.
        seconds_fetch: until storage had delivered.
        seconds_decrypt: checks included.
        seconds_decode: resampling included, and the dataset's `transform` not.
        seconds_wait: for keys, between the tries of a fetch, and to learn why an object is missing.
        kms_calls: unwraps of the corpus key.
        replaced: samples that could not be read, in whose place the next readable row was given.

    Seconds are summed over all processes.
    """

    bytes: int
    samples: int
    seconds_fetch: float
    seconds_decrypt: float
    seconds_decode: float
    seconds_wait: float
    kms_calls: int
    replaced: int


class Tally:
    """The lines, and what this process adds to its own. A fork makes it claim another; spawn hands the memory over."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = _memory() if fd is None else fd
        self._map = mmap.mmap(self._fd, _LINES * _CELLS * 8)
        self._lines = np.frombuffer(self._map, np.float64).reshape(_LINES, _CELLS)
        self._fresh_process()
        _tallies.add(self)

    def _fresh_process(self) -> None:
        self.samples = self.replaced = 0
        self.seconds_decode = 0.0
        self._claiming = threading.Lock()
        self._at: int | None = None
        self._before: tuple[float, ...] = ()

    def publish(self, counters: Iterable[Counters]) -> None:
        """Show the others what this process has counted until now: here, and in its corpora."""
        if self._at is None:
            self._claim()
            assert self._at is not None
        size, fetch, decrypt, wait, calls = 0, 0.0, 0.0, 0.0, 0
        for one in counters:
            size += one.bytes
            fetch += one.seconds_fetch
            decrypt += one.seconds_decrypt
            wait += one.seconds_wait
            calls += one.unwraps
        before = self._before
        _LINE.pack_into(
            self._map,
            self._at,
            before[0] + size,
            before[1] + self.samples,
            before[2] + fetch,
            before[3] + decrypt,
            before[4] + self.seconds_decode,
            before[5] + wait,
            before[6] + calls,
            before[7] + self.replaced,
        )

    def total(self) -> Stats:
        """The sum over all processes, as they last published."""
        size, samples, fetch, decrypt, decode, wait, calls, replaced = self._used()[:, :8].sum(0).tolist()
        return Stats(int(size), int(samples), fetch, decrypt, decode, wait, int(calls), int(replaced))

    def replace(self, many: int, rows: int) -> int:
        """Count samples that are replaced; returns how many there were in this epoch, of all processes.

        An epoch is `rows` samples, whoever of the processes gave them out.
        """
        if self._at is None:
            self._claim()
            assert self._at is not None
        self.replaced += many
        used, own = self._used(), self._lines[self._at // (_CELLS * 8)]
        epoch = used[:, 1].sum() // rows + 1
        own[_IN_EPOCH] = many + (own[_IN_EPOCH] if own[_EPOCH] == epoch else 0)
        own[_EPOCH] = epoch
        return int(used[used[:, _EPOCH] == epoch, _IN_EPOCH].sum())

    def _used(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The lines that processes have claimed."""
        return self._lines[1 : 1 + int(self._lines[0, 0])]

    def _claim(self) -> None:
        """Take the first line that nobody has, or whose process has ended."""
        with self._claiming:
            if self._at is not None:
                return
            # held by this process alone, also where a descriptor is shared with its parent; and not for long, since
            # whoever closes another descriptor of this memory gives the lock away
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                used = int(self._lines[0, 0])
                for number in range(1, _LINES):
                    if number > used or not _alive(int(self._lines[number, _OWNER])):
                        break
                at = number * _CELLS * 8
                self._before = _LINE.unpack_from(self._map, at)
                self._lines[number, _OWNER] = os.getpid()
                self._lines[0, 0] = max(used, number)
                self._at = at
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        # any other pickle than one for a worker begins anew
        return (_attach, (DupFd(self._fd),)) if spawning() else (Tally, ())


def _memory() -> int:
    """A descriptor of empty memory that processes can share."""
    if HAVE_MEMFD:
        fd = os.memfd_create("securedata-stats", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _LINES * _CELLS * 8)
    if HAVE_MEMFD:  # a worker that made it smaller would bring the others down
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def _attach(handle: Any) -> Tally:
    fd = handle.detach()
    os.set_inheritable(fd, False)
    return Tally(fd)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody's, so it is there
        return True
    return True


_tallies: weakref.WeakSet[Tally] = weakref.WeakSet()


def _after_fork() -> None:
    for tally in list(_tallies):
        tally._fresh_process()


os.register_at_fork(after_in_child=_after_fork)
