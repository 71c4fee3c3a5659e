"""A remote file, read in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Bytes = bytes | bytearray | memoryview


class Blocks:
    """Keeps the last few blocks of a file: decoders read a few bytes at a time, and go back."""

    BLOCK = 1024 * 1024
    KEPT = 4

    def __init__(self, fetch: Callable[[int, int], Bytes], size: int) -> None:
        """`fetch` returns bytes for an (offset, length) inside the file; `size` is the file's size in bytes."""
        self._fetch, self._size = fetch, size
        self._blocks: dict[int, bytes] = {}

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer at the end of the file."""
        end = min(offset + length, self._size)
        found = bytearray()
        while offset < end:
            number, start = divmod(offset, self.BLOCK)
            found += self._block(number)[start : start + end - offset]
            offset = number * self.BLOCK + self.BLOCK
        return bytes(found)

    def read_into(self, offset: int, target: Any) -> int:
        """The same into a buffer; returns the number of bytes."""
        found = self.read_at(offset, len(target))
        target[: len(found)] = found
        return len(found)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            at = number * self.BLOCK
            block = bytes(self._fetch(at, min(self.BLOCK, self._size - at)))
            while len(self._blocks) >= self.KEPT:
                del self._blocks[next(iter(self._blocks))]
        self._blocks[number] = block
        return block
