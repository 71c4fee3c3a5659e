"""How much of the recordings is in memory at once, whatever their sizes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from securedata.ingest.sources.origin import PIECE
from securedata.storage.base import Storage

TOTAL = 64 * 1024 * 1024 * max(2, os.cpu_count() or 1)
"""Bytes that the recordings under way may take together."""

_COPIES = 4  # of a piece: as it is read, sealed, opened again to be compared, and on its way


def needed(size: int, storage: Storage) -> int:
    """Bytes of memory, at most, while a recording of `size` bytes is sealed and put."""
    return _COPIES * min(size, PIECE) + min(size, storage.buffered)


class ByteBudget:
    """Memory that threads take and give back, in the order in which they ask; who wants more than all goes alone."""

    def __init__(self, total: int) -> None:
        self._total, self._taken = total, 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Wait for room; it is given back at the end of the block."""
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
