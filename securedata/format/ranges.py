"""Open a range of a sealed object: which of its bytes to fetch, and the plaintext that they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from securedata.errors import InvalidArgument
from securedata.format.cobblestone import CHUNK, MAX_PLAIN, PREFIX, SEALED_CHUNK, TAG, Buffer, Message, message_size
from securedata.format.header import FIXED, MAX_HEADER
from securedata.format.sealed import (
    Expect,
    header_length_of,
    open_chunks,
    open_message,
    read_header,
    refuse_cut,
    refuse_length,
    size_of,
)

Fetch = Callable[[Sequence[tuple[int, int]]], Sequence[Buffer]]
"""Takes (offset, length) ranges of one sealed object and returns their bytes."""


def open_range(key: Buffer, fetch: Fetch, offset: int, length: int, expect: Expect) -> bytearray:
    """Open `length` bytes of plaintext from `offset` on, cut at the object's end like a slice.

    With `expect.sealed_size` and `expect.size` from a row, header, prefix and the chunks are fetched
    in parallel (in one range if they touch), and nothing else. With only `expect.sealed_size`, as
    storage reports it, the last chunk is verified first: the size is known only then.

    Raises:
        FormatError: one subclass per cause.
        InvalidArgument: a negative offset or length.
    """
    if expect.sealed_size is not None and expect.size is not None:
        ranges = ranges_for(offset, length, expect)
        return open_fetched(key, fetch(ranges), ranges, offset, length, expect)
    _refuse_negative(offset, length)
    if expect.sealed_size is None:
        raise InvalidArgument("a range needs the sealed size, from the row or from storage")
    return _open_range_unknown(key, fetch, offset, length, expect, expect.sealed_size)


def open_fetched(
    key: Buffer, fetched: Sequence[Buffer], ranges: Sequence[tuple[int, int]], offset: int, length: int, expect: Expect
) -> bytearray:
    """Like `open_range`, for an object whose row is known, from the `ranges` that `ranges_for` returned.

    Raises:
        FormatError: one subclass per cause.
    """
    header_length, size = _known(expect)
    start, length = header_length + PREFIX, max(0, min(length, size - offset))
    got = whole(fetched, ranges, expect)
    message, found = open_message(key, got[0][:start], expect)
    if found != header_length:
        refuse_length(expect, f"{expect.sealed_size} with a header of {found}, for {size} of plaintext")
    if length == 0:
        return bytearray()
    chunks = got[1] if len(ranges) == 2 else got[0][start:]
    return _slice(message, offset // CHUNK, chunks, offset, length, expect)


def ranges_for(offset: int, length: int, expect: Expect) -> list[tuple[int, int]]:
    """What `open_range` fetches of an object whose row is known: (offset, length) of one range or two.

    Raises:
        Truncated: the row's sizes contradict each other, or no object can have them.
        InvalidArgument: a negative offset or length.
    """
    _refuse_negative(offset, length)
    header_length, size = _known(expect)
    start, length = header_length + PREFIX, max(0, min(length, size - offset))
    if length == 0:
        return [(0, start)]
    _, low, high = _chunks(offset, length, start, header_length + message_size(size))
    return [(0, high)] if low == start else [(0, start), (low, high - low)]


def _refuse_negative(offset: int, length: int) -> None:
    if offset < 0 or length < 0:
        raise InvalidArgument(f"a range must not have a negative offset or length: {offset}, {length}")


def _known(expect: Expect) -> tuple[int, int]:
    """The lengths of header and plaintext that follow from a row."""
    if expect.sealed_size is None or expect.size is None:
        raise InvalidArgument("the ranges are known in advance only with the sizes of a row")
    header_length = expect.sealed_size - message_size(expect.size)
    if not (FIXED <= header_length <= MAX_HEADER and 0 <= expect.size <= MAX_PLAIN):
        refuse_length(expect, f"{expect.sealed_size} for {expect.size} of plaintext")
    return header_length, expect.size


def _open_range_unknown(key: Buffer, fetch: Fetch, offset: int, length: int, expect: Expect, sealed: int) -> bytearray:
    if sealed < FIXED + PREFIX + TAG:
        refuse_cut(expect, sealed)
    head = _fetch(fetch, [(0, FIXED + PREFIX)], expect)[0]
    header_length = header_length_of(head, expect)
    if header_length > FIXED:
        # Header.decode checks the limit for each kind; here only the fetch is limited, to 64 KiB
        head = _fetch(fetch, [(0, min(header_length + PREFIX, sealed))], expect)[0]
    message, header_length = open_message(key, head, expect)
    start = header_length + PREFIX
    size = size_of(sealed, header_length, expect)
    last = start + size // CHUNK * SEALED_CHUNK
    tail = _fetch(fetch, [(last, sealed - last)], expect)[0]
    end = bytearray(len(tail) - TAG)
    open_chunks(message, size // CHUNK, tail, memoryview(end), expect)
    length = max(0, min(length, size - offset))
    if length == 0:
        return bytearray()
    first, low, high = _chunks(offset, length, start, sealed)
    return _slice(message, first, _fetch(fetch, [(low, high - low)], expect)[0], offset, length, expect)


def _chunks(offset: int, length: int, start: int, sealed: int) -> tuple[int, int, int]:
    """The first chunk of a range, and where its chunks begin and end in the sealed object."""
    first, last = offset // CHUNK, (offset + max(length, 1) - 1) // CHUNK
    return first, start + first * SEALED_CHUNK, min(start + (last + 1) * SEALED_CHUNK, sealed)


def _fetch(fetch: Fetch, ranges: list[tuple[int, int]], expect: Expect) -> list[memoryview]:
    return whole(fetch(ranges), ranges, expect)


def whole(fetched: Sequence[Buffer], ranges: Sequence[tuple[int, int]], expect: Expect) -> list[memoryview]:
    """What was fetched, if each range is as long as it was asked for.

    Raises:
        FormatError: the object ends before.
    """
    got = [memoryview(part).cast("B") for part in fetched]
    for (offset, length), part in zip(ranges, got, strict=True):
        if len(part) != length:
            if offset == 0:
                read_header(part, expect)
            refuse_cut(expect, offset + len(part))
    return got


def _slice(message: Message, first: int, chunks: memoryview, offset: int, length: int, expect: Expect) -> bytearray:
    out = bytearray(len(chunks) - TAG * -(-len(chunks) // SEALED_CHUNK))
    open_chunks(message, first, chunks, memoryview(out), expect)
    skip = offset - first * CHUNK
    if skip == 0 and len(out) == length:
        return out
    return out[skip : skip + length]
