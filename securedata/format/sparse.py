"""Open parts of a sealed object into memory as long as its plaintext, of which only the pages that are filled exist."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence

from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK, TAG, Buffer, Message, plain_size
from securedata.format.header import FIXED
from securedata.format.ranges import whole
from securedata.format.sealed import Expect, header_length_of, open_chunks, open_message

_START = FIXED + PREFIX
_GAP = 8 * SEALED_CHUNK
"""Bytes that are fetched although nobody needs them, for one request less: either takes about as much CPU."""


class OtherHeader(Exception):
    """The object has another header than objects of this version, so its chunks are elsewhere: read it whole."""


class SparseObject:
    """The plaintext of an object whose sealed size is known from the head; bytes that were not fetched are zeros.

    The size of its plaintext is as authentic as that sealed size once header and commitment are verified, which happens
    before the first chunk is opened.
    """

    def __init__(self, key: Buffer, expect: Expect) -> None:
        """
        Raises:
            OtherHeader: no object with the usual header has this size.
        """
        self._key, self._expect = key, expect
        self._sealed = expect.sealed_size or 0
        size = plain_size(self._sealed - FIXED)
        if size is None:
            raise OtherHeader
        self.size = size
        self._there = bytearray(size // CHUNK + 1)
        self._message: Message | None = None
        # not a bytearray: it would be zeroed, and so exist, wherever the allocator reuses memory
        self._memory = mmap.mmap(-1, max(1, size), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.plain = memoryview(self._memory)[:size]

    def has(self, start: int, end: int) -> bool:
        """Whether these bytes of the plaintext were opened."""
        return start >= end or 0 not in self._there[start // CHUNK : -(-end // CHUNK)]

    def ranges(self, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """What to fetch for these starts and ends in the plaintext: (offset, length) in the sealed object, ascending.

        Empty if all of it is there; the first time it begins with the header.
        """
        found = [] if self._message is not None else [(0, _START)]
        for start, end in sorted(wanted):
            if start == end:
                continue
            first, last = max(0, start) // CHUNK, (min(end, self.size) - 1) // CHUNK
            while first <= last and self._there[first]:
                first += 1
            while first <= last and self._there[last]:
                last -= 1
            if first > last:
                continue
            low = _START + first * SEALED_CHUNK
            high = min(_START + (last + 1) * SEALED_CHUNK, self._sealed)
            if found and low <= (end_before := sum(found[-1])) + _GAP:
                at = found[-1][0]
                found[-1] = at, max(end_before, high) - at
            else:
                found.append((low, high - low))
        return found

    def open(self, fetched: Sequence[Buffer], ranges: Sequence[tuple[int, int]]) -> None:
        """Open what was fetched of `ranges`, as `ranges` gave them.

        Raises:
            FormatError: one subclass per cause; `plain` has no byte of a range in which a chunk fails.
            OtherHeader: nothing was opened.
        """
        for (offset, _), data in zip(ranges, whole(fetched, ranges, self._expect), strict=True):
            at = offset
            if self._message is None:
                if header_length_of(data, self._expect) > FIXED:
                    raise OtherHeader
                self._message, _ = open_message(self._key, data[:_START], self._expect)
            if at == 0:
                at, data = _START, data[_START:]
            if not len(data):
                continue
            first = (at - _START) // SEALED_CHUNK
            chunks = -(-len(data) // SEALED_CHUNK)
            out = self.plain[first * CHUNK :][: len(data) - TAG * chunks]
            open_chunks(self._message, first, data, out, self._expect)
            self._there[first : first + chunks] = b"\1" * chunks
