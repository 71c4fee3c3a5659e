"""What the processes of a job have done with a dataset: a line of counters per process, in shared memory.

A line also says which rows its process has open, so that the workers that it started see when it refreshes.

Each process writes its own line and reads all. A line outlives its process, and the next process that takes it counts
on from there: the workers of a thousand epochs need no more lines than processes that run at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

import numpy as np

from securedata.corpus.objects.counters import Counters
from securedata.corpus.rows.memfd import HAVE_MEMFD, spawning
from securedata.forks import Instances

_LINES = 4096  # the first says how many are used; processes beyond these share the last one, and might lose counts
_CELLS = 24
_OWNER, _EPOCH, _IN_EPOCH = 20, 21, 22
_ROWS = 23  # a 64-bit integer, not a double
_COUNTS = 13
_LINE = struct.Struct(f"={_COUNTS}d")


class Stats(NamedTuple):
    """What a dataset has done since it was opened, in this process and the workers of its loaders.

    Attributes:
        bytes: of plaintext, decrypted for samples.
        samples: how many were returned.
        seconds_fetch: until storage had delivered.
        seconds_decrypt: including checks.
        seconds_decode: including resampling, without the dataset's `transform`.
        seconds_wait: for keys, between the tries of a fetch, and to learn why an object is missing.
        kms_calls: unwraps of the corpus key.
        replaced: samples that could not be read and were replaced by the next readable row.
        skipped: samples whose row was gone, and that made their batch shorter (`on_gone="skip"`).
        batches_ahead: batches that a worker had begun to fetch before it was asked for them.
        restricted, expired, withdrawn, other_purpose: recordings that were left out when the rows were opened: of
            people whose erasure waits for the end of a hold, whose consent had ended, that have consent to no purpose,
            or none to the purpose that was named.
        other_files: files in the corpora that are no recordings, and were left out.
        cache_hits, cache_misses: ranges of sealed objects that the cache on local disk had, and had not; 0 without one.
        cache_bytes: sealed bytes read from it.

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
    skipped: int = 0
    restricted: int = 0
    expired: int = 0
    withdrawn: int = 0
    other_purpose: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
    batches_ahead: int = 0
    other_files: int = 0


class Tally:
    """The lines, and what this process adds to its own. After a fork it claims another; spawn passes the memory on."""

    def __init__(self, fd: int | None = None, parent: int | None = None, rows: int = 0) -> None:
        """
        Args:
            fd: the memory of the process that started this one; None: new memory.
            parent: where that process has its line, in bytes.
            rows: which rows are open, as `open_rows` computes it.
        """
        self._fd = _memory() if fd is None else fd
        self._map = mmap.mmap(self._fd, _LINES * _CELLS * 8)
        self._lines = np.frombuffer(self._map, np.float64).reshape(_LINES, _CELLS)
        self._words = memoryview(self._map).cast("Q")
        self._rows = rows
        self._at = parent
        self._fresh_process()
        _tallies.add(self)

    def _fresh_process(self) -> None:
        self.samples = self.replaced = self.skipped = self.batches_ahead = 0
        self.seconds_decode = 0.0
        self._claiming = threading.Lock()
        # the word of the process that started this one, by which this one sees a refresh there
        self._parents: int | None = None if self._at is None else self._at // 8 + _ROWS
        self._at = None
        self._before: tuple[float, ...] = ()

    def open_rows(self, generations: Iterable[int]) -> None:
        """Show the workers of this process which rows it has open: those of its corpora in these generations."""
        digest = hashlib.blake2b(repr(list(generations)).encode(), digest_size=8).digest()
        self._rows = int.from_bytes(digest, "little")
        if self._at is not None:
            self._words[self._at // 8 + _ROWS] = self._rows

    @property
    def inherited(self) -> bool:
        """Whether this process got the dataset from the process that started it."""
        return self._parents is not None

    def is_behind(self) -> bool:
        """Whether the process that started this one has other rows open by now. Takes about 40 ns."""
        return self._parents is not None and self._words[self._parents] != self._rows

    def publish(self, counters: Iterable[Counters]) -> None:
        """Show the other processes what this one has counted so far: here, and in its corpora."""
        at = self._claim() if self._at is None else self._at
        size, fetch, decrypt, wait, calls = 0, 0.0, 0.0, 0.0, 0
        hits = misses = cached = 0
        for one in counters:
            size += one.bytes
            fetch += one.seconds_fetch
            decrypt += one.seconds_decrypt
            wait += one.seconds_wait
            calls += one.unwraps
            hits += one.cache_hits
            misses += one.cache_misses
            cached += one.cache_bytes
        before = self._before
        _LINE.pack_into(
            self._map,
            at,
            before[0] + size,
            before[1] + self.samples,
            before[2] + fetch,
            before[3] + decrypt,
            before[4] + self.seconds_decode,
            before[5] + wait,
            before[6] + calls,
            before[7] + self.replaced,
            before[8] + self.skipped,
            before[9] + hits,
            before[10] + misses,
            before[11] + cached,
            before[12] + self.batches_ahead,
        )

    def total(self) -> Stats:
        """The sum over all processes, as they last published."""
        size, samples, fetch, decrypt, decode, wait, *counts = self._used()[:, :_COUNTS].sum(0).tolist()
        *counts, hits, misses, cached, ahead = map(int, counts)
        found = Stats(int(size), int(samples), fetch, decrypt, decode, wait, *counts)
        return found._replace(cache_hits=hits, cache_misses=misses, cache_bytes=cached, batches_ahead=ahead)

    def skip(self, many: int) -> None:
        """Count skipped samples."""
        self.skipped += many

    def replace(self, many: int, rows: int) -> int:
        """Count replaced samples; returns how many all processes replaced in this epoch.

        An epoch is `rows` samples, whichever process returned them.
        """
        at = self._claim()
        self.replaced += many
        used, own = self._used(), self._lines[at // (_CELLS * 8)]
        epoch = used[:, 1].sum() // rows + 1
        own[_IN_EPOCH] = many + (own[_IN_EPOCH] if own[_EPOCH] == epoch else 0)
        own[_EPOCH] = epoch
        return int(used[used[:, _EPOCH] == epoch, _IN_EPOCH].sum())

    def _used(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The lines that processes have claimed."""
        return self._lines[1 : 1 + int(self._lines[0, 0])]

    def _claim(self) -> int:
        """Where this process has its line, in bytes."""
        if self._at is None:
            with self._claiming:
                if self._at is None:
                    self._at = self._take_line()
        return self._at

    def _take_line(self) -> int:
        """Take the first line that is free, or whose process has ended."""
        # the lock belongs to this process alone, even where it shares a descriptor with its parent; it is held only
        # briefly, since closing any other descriptor of this memory in this process releases it
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            used = int(self._lines[0, 0])
            for number in range(1, _LINES):
                if number > used or not _alive(int(self._lines[number, _OWNER])):
                    break
            at = number * _CELLS * 8
            self._before = _LINE.unpack_from(self._map, at)
            self._words[at // 8 + _ROWS] = self._rows
            self._lines[number, _OWNER] = os.getpid()
            self._lines[0, 0] = max(used, number)
            return at
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when the interpreter ends, `os` is gone
        if hasattr(self, "_fd"):
            close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        # only a pickle for a worker carries the counts; any other starts from zero
        return (_attach, (DupFd(self._fd), self._claim(), self._rows)) if spawning() else (Tally, ())


def _memory() -> int:
    """A descriptor of empty memory that processes can share."""
    if HAVE_MEMFD:
        fd = os.memfd_create("securedata-stats", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _LINES * _CELLS * 8)
    if HAVE_MEMFD:  # a worker that shrank it would crash the others
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def _attach(handle: Any, parent: int, rows: int) -> Tally:
    fd = handle.detach()
    os.set_inheritable(fd, False)
    return Tally(fd, parent, rows)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process, so it is alive
        return True
    return True


_tallies = Instances(before=Tally._claim, in_child=Tally._fresh_process)  # a child watches the line of its parent
