"""Rules of docs/format.md on sealed objects that nothing else holds: limits, and what a reader never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from securedata.errors import AuthenticationFailed, FormatError, LimitExceeded, StorageUnreachable, Truncated
from securedata.format.cobblestone import CHUNK, MAX_CHUNKS, MAX_PLAIN, PREFIX, SEALED_CHUNK, TAG, Message
from securedata.format.cobblestone import plain_size as message_plain_size
from securedata.format.header import FIXED, MAX_HEADER, Header, Kind
from securedata.format.ranges import Fetch, open_range, ranges_for
from securedata.format.sealed import Expect, open_stream, seal, sealed_size

KEY = bytes(range(32))
EXPECT = Expect(Kind.DATA, b"C" * 16, b"O" * 16, "memory://rules")


def sealed_of(plain: bytes) -> bytearray:
    return seal(Header(Kind.DATA, b"C" * 16, b"O" * 16), KEY, plain)


# -------------------------------------------------------------------------------------------------------------- limits

LAST = MAX_CHUNKS - 1
"""Index of the last chunk that a message may have."""


def test_a_message_ends_before_its_chunks_run_out() -> None:
    message = Message.new(KEY, b"context")
    out = memoryview(bytearray(3 * SEALED_CHUNK))
    assert message.seal_chunks(LAST, memoryview(b"end"), out, last=True) == 3 + TAG
    assert message.seal_chunks(LAST - 1, memoryview(bytes(CHUNK)), out, last=True) == SEALED_CHUNK + TAG
    for first, size, last in ((LAST, CHUNK, False), (LAST - 1, 2 * CHUNK, True), (LAST + 1, 0, True)):
        with pytest.raises(LimitExceeded, match=str(2**52 - 1)):
            message.seal_chunks(first, memoryview(bytes(size)), out, last=last)


def test_the_largest_message_and_one_more() -> None:
    largest = PREFIX + LAST * SEALED_CHUNK + CHUNK - 1 + TAG
    assert (message_plain_size(largest), MAX_PLAIN) == (2**52 - 1, 2**52 - 1)
    for more in range(1, 3 * TAG):
        assert message_plain_size(largest + more) is None


def fetched_nothing(ranges: object) -> list[bytes]:
    raise AssertionError("storage was asked")


@pytest.mark.parametrize("size", [-1, -TAG, -CHUNK, -(2**62), MAX_PLAIN + 1, 2**62])
@pytest.mark.parametrize("header_length", [FIXED, MAX_HEADER])
def test_a_row_that_no_object_can_be_is_refused_before_storage_is_asked(size: int, header_length: int) -> None:
    expect = EXPECT._replace(sealed_size=sealed_size(size, header_length), size=size)
    for offset, length in ((0, 1), (0, 0), (5, 2**62)):
        with pytest.raises(Truncated):
            ranges_for(offset, length, expect)
        with pytest.raises(Truncated):
            open_range(KEY, fetched_nothing, offset, length, expect)


def test_the_largest_row_is_read_at_both_ends() -> None:
    expect = EXPECT._replace(sealed_size=sealed_size(MAX_PLAIN), size=MAX_PLAIN)
    assert ranges_for(0, 1, expect) == [(0, FIXED + PREFIX + SEALED_CHUNK)]
    (_, (low, length)) = ranges_for(MAX_PLAIN - 1, 10, expect)
    assert (low, length) == (FIXED + PREFIX + LAST * SEALED_CHUNK, CHUNK - 1 + TAG)


@pytest.mark.parametrize("chunk", [2**32 - 1, 2**32, 2**32 + 1, 2**37, LAST - 1])
def test_chunks_far_behind_open_at_their_own_index_alone(chunk: int) -> None:
    """A counter of 32 bits would begin again at 64 TiB. The object is nowhere whole: storage makes what is asked."""
    header = Header(Kind.DATA, b"C" * 16, b"O" * 16).encode()
    message = Message.new(KEY, b"securedata/v1\0" + header)
    made = bytearray(SEALED_CHUNK)
    message.seal_chunks(chunk, memoryview(b"x" * CHUNK), memoryview(made), last=False)
    expect = EXPECT._replace(sealed_size=sealed_size(MAX_PLAIN), size=MAX_PLAIN)

    def read(at: int) -> bytes:
        got = open_range(KEY, lambda ranges: [header + message.prefix, made], at * CHUNK + 1, CHUNK - 1, expect)
        return bytes(got)

    assert read(chunk) == b"x" * (CHUNK - 1)
    for other in {chunk - 1, chunk & (2**32 - 1), (chunk + 2**32) % LAST} - {chunk, 0}:
        with pytest.raises(AuthenticationFailed, match=f"chunk {other} "):
            read(other)


# -------------------------------------------------------------------------------------------------------------- reading


def fetch_from(data: bytes | bytearray) -> Fetch:
    return lambda ranges: [data[low : low + size] for low, size in ranges]


def flipped(data: bytes | bytearray, at: int) -> bytearray:
    new = bytearray(data)
    new[at] ^= 1
    return new


@pytest.mark.parametrize("at", [20, FIXED, FIXED + PREFIX - 1])
@pytest.mark.parametrize(("offset", "length"), [(5, 0), (100, 1), (10**9, 5)])
def test_of_an_empty_range_the_object_is_checked_too(at: int, offset: int, length: int) -> None:
    good = sealed_of(bytes(100))
    expect = EXPECT._replace(sealed_size=len(good), size=100)
    for sizes in (expect, expect._replace(size=None)):
        for data, refused in ((good, False), (flipped(good, at), True)):
            if refused:
                with pytest.raises(FormatError, match=(b"O" * 16).hex()):
                    open_range(KEY, fetch_from(data), offset, length, sizes)
            else:
                assert open_range(KEY, fetch_from(data), offset, length, sizes) == b""


def drain(stream: Iterator[bytearray], into: bytearray) -> None:
    for piece in stream:
        into += piece


def cut(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]


def lost(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]
    raise StorageUnreachable("the network is gone")


def interrupted(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]
    raise KeyboardInterrupt


STREAMS: dict[str, tuple[Callable[[bytearray], Iterator[bytearray]], type[BaseException]]] = {
    "flipped in the second chunk": (lambda data: iter([flipped(data, -1)]), AuthenticationFailed),
    "cut": (cut, Truncated),
    "lost on the way": (lost, StorageUnreachable),
    "interrupted": (interrupted, KeyboardInterrupt),
}


@pytest.mark.parametrize(("pieces", "error"), STREAMS.values(), ids=STREAMS)
def test_a_stream_that_failed_never_comes_to_an_end(
    pieces: Callable[[bytearray], Iterator[bytearray]], error: type[BaseException]
) -> None:
    stream = open_stream(KEY, pieces(sealed_of(bytes(CHUNK + 100))), EXPECT)
    got = bytearray()
    first: BaseException | None = None
    for _ in range(5):
        with pytest.raises(error) as caught:
            drain(stream, got)
        first = first or caught.value
        assert caught.value is first
    assert got in (b"", bytes(CHUNK)), "the chunks before it, once"


def test_a_stream_that_is_whole_ends_for_good() -> None:
    stream = open_stream(KEY, [sealed_of(b"all")], EXPECT)
    assert b"".join(stream) == b"all"
    assert [*stream] == []
