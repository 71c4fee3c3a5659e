"""Bounds the memory that recordings take at once, whatever their sizes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from securedata.ingest.sources.origin import PIECE
from securedata.storage.base import Storage

TOTAL = 64 * 1024 * 1024 * max(2, os.cpu_count() or 1)
"""Bytes that recordings in progress may take together."""

_COPIES = 4  # of a piece: read, sealed, reopened for comparison, and being sent


def needed(size: int, storage: Storage) -> int:
    """Bytes of memory that sealing and putting a recording of `size` bytes takes at most."""
    return _COPIES * min(size, PIECE) + min(size, storage.buffered)


class ByteBudget:
    """Memory that threads take in the order of their requests; a request above the total runs alone."""

    def __init__(self, total: int) -> None:
        self._total, self._taken = total, 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Wait for memory; the end of the block gives it back."""
        count = min(count, self._total)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken + count <= self._total)
            self._taken += count
        try:
            yield
        finally:
            with self._changed:
                self._taken -= count
                self._changed.notify_all()
