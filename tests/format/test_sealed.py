"""The sealed object: sizes, whole, stream and range against each other, and which bytes a range fetches."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.errors import (
    AuthenticationFailed,
    InvalidArgument,
    LimitExceeded,
    MalformedHeader,
    NotSealed,
    Truncated,
    UnknownSuite,
    UnknownVersion,
)
from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK, TAG
from securedata.format.header import CRITICAL, FIXED, MAGIC, MAX_HEADER, WRAP, Header, Kind
from securedata.format.ranges import open_range
from securedata.format.sealed import (
    Expect,
    open_into,
    open_stream,
    open_whole,
    plain_size,
    seal,
    seal_stream,
    sealed_size,
)

KEY = bytes(range(32))
CORPUS, OBJECT = b"C" * 16, b"O" * 16
ROOT = "memory://format"
BORDERS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 77]
TLVS: list[tuple[tuple[int, bytes], ...]] = [(), ((1, b"x"),), ((1, b""), (2, bytes(4000)))]


def plain_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def header_of(tlvs: tuple[tuple[int, bytes], ...] = ()) -> Header:
    return Header(Kind.DATA, CORPUS, OBJECT, tlvs=tlvs)


def expect_of(sealed_size: int | None = None, size: int | None = None) -> Expect:
    return Expect(Kind.DATA, CORPUS, OBJECT, ROOT, sealed_size, size)


class Tracking:
    """A place that remembers which ranges of an object were fetched, call by call."""

    def __init__(self, sealed: bytes | bytearray) -> None:
        self.sealed = bytes(sealed)
        self.calls: list[list[tuple[int, int]]] = []

    def __call__(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.calls.append(list(ranges))
        return [self.sealed[offset : offset + length] for offset, length in ranges]


def pieces(data: bytes | bytearray, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        step = next(sizes)
        yield bytes(data[at : at + step])
        at += step


# ------------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("tlvs", TLVS, ids=["plain", "one field", "long"])
@pytest.mark.parametrize("size", BORDERS)
def test_whole_stream_and_sizes(size: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    plain, header = plain_of(size), header_of(tlvs)
    length = len(header.encode())
    sealed = seal(header, KEY, plain)
    assert len(sealed) == sealed_size(size, length) == length + PREFIX + size + TAG * (size // CHUNK + 1)
    assert plain_size(len(sealed), length) == size
    expect = expect_of(len(sealed), size)
    assert open_whole(KEY, sealed, expect) == plain
    out = bytearray(b"\xee" * (size + 10))
    assert open_into(KEY, memoryview(sealed), out, expect) == size
    assert out[:size] == plain
    assert out[size:] == b"\xee" * 10, "not a byte behind the plaintext is touched"
    assert b"".join(open_stream(KEY, [sealed], expect)) == plain


@pytest.mark.parametrize("size", BORDERS)
def test_a_stream_is_sealed_like_the_whole(size: int) -> None:
    plain = plain_of(size)
    sealed = b"".join(seal_stream(header_of(), KEY, pieces(plain, iter(lambda: 1000, None))))
    assert len(sealed) == sealed_size(size)
    assert open_whole(KEY, sealed, expect_of(len(sealed), size)) == plain


def test_sealing_twice_gives_other_bytes() -> None:
    assert seal(header_of(), KEY, b"same")[FIXED:] != seal(header_of(), KEY, b"same")[FIXED:]


def test_no_object_has_these_sizes() -> None:
    assert plain_size(FIXED + PREFIX + TAG - 1) is None
    for rest in range(TAG):
        assert plain_size(FIXED + PREFIX + SEALED_CHUNK + rest) is None, "after full chunks a short one must follow"
    assert plain_size(FIXED + PREFIX + SEALED_CHUNK + TAG) == CHUNK


def test_a_buffer_that_is_too_small_is_refused_untouched() -> None:
    out = bytearray(9)
    with pytest.raises(InvalidArgument, match="10 bytes, the buffer 9"):
        open_into(KEY, seal(header_of(), KEY, plain_of(10)), out, expect_of())
    assert not any(out)


def test_only_the_key_opens() -> None:
    with pytest.raises(InvalidArgument, match="32 bytes"):
        seal(header_of(), KEY[:31], b"")


sizes = st.one_of(st.sampled_from(BORDERS), st.integers(0, 4 * CHUNK))
steps = st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=5)


@given(size=sizes, cut=steps, other=steps)
def test_pieces_of_any_size_go_in_and_come_out(size: int, cut: list[int], other: list[int]) -> None:
    plain = plain_of(size)

    def cycle(numbers: list[int]) -> Iterator[int]:
        while True:
            yield from numbers

    sealed = b"".join(seal_stream(header_of(), KEY, pieces(plain, cycle(cut))))
    for expect in (expect_of(), expect_of(len(sealed), size)):
        assert b"".join(open_stream(KEY, pieces(sealed, cycle(other)), expect)) == plain
    assert open_whole(KEY, sealed, expect_of()) == plain


# ------------------------------------------------------------------------------------------------------------- ranges


EDGES = sorted({0, 1, *(CHUNK * n + d for n in (1, 2, 3) for d in (-1, 0, 1)), 4 * CHUNK, 2**62})


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 1])
def test_a_range_at_every_border_is_a_slice(size: int) -> None:
    plain = plain_of(size)
    sealed = seal(header_of(), KEY, plain)
    for expect in (expect_of(len(sealed), size), expect_of(len(sealed))):
        for offset, length in itertools.product(EDGES, EDGES):
            assert open_range(KEY, Tracking(sealed), offset, length, expect) == plain[offset : offset + length]


@given(size=sizes, offset=st.integers(0, 5 * CHUNK), length=st.integers(0, 5 * CHUNK), tlvs=st.sampled_from(TLVS))
def test_a_range_is_a_slice(size: int, offset: int, length: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    plain = plain_of(size)
    sealed = seal(header_of(tlvs), KEY, plain)
    for expect in (expect_of(len(sealed), size), expect_of(len(sealed))):
        assert open_range(KEY, Tracking(sealed), offset, length, expect) == plain[offset : offset + length]


def chunk(index: int, count: int = 1) -> tuple[int, int]:
    return FIXED + PREFIX + index * SEALED_CHUNK, count * SEALED_CHUNK


START = (0, FIXED + PREFIX)
SIZE = 5 * CHUNK + 77
END = sealed_size(SIZE)


@pytest.mark.parametrize(
    ("offset", "length", "fetched"),
    [
        # header and chunks touch: one range
        (0, 1, [(0, FIXED + PREFIX + SEALED_CHUNK)]),
        (0, CHUNK, [(0, FIXED + PREFIX + SEALED_CHUNK)]),
        (0, CHUNK + 1, [(0, FIXED + PREFIX + 2 * SEALED_CHUNK)]),
        (CHUNK - 1, 2, [(0, FIXED + PREFIX + 2 * SEALED_CHUNK)]),
        (0, SIZE, [(0, END)]),
        (0, SIZE + 1000, [(0, END)]),
        # otherwise two, side by side in one call
        (CHUNK, 1, [START, chunk(1)]),
        (CHUNK + 1, CHUNK - 1, [START, chunk(1)]),
        (CHUNK + 1, CHUNK, [START, chunk(1, 2)]),
        (3 * CHUNK - 1, 1, [START, chunk(2)]),
        (3 * CHUNK, 2 * CHUNK, [START, chunk(3, 2)]),
        (5 * CHUNK, 77, [START, (chunk(5)[0], 77 + TAG)]),
        (5 * CHUNK - 1, 10_000, [START, (chunk(4)[0], SEALED_CHUNK + 77 + TAG)]),
        # nothing to decrypt: the header alone tells whether it is the object
        (SIZE, 1, [START]),
        (10 * SIZE, 1, [START]),
        (5, 0, [START]),
    ],
)
def test_a_range_fetches_header_and_its_chunks_and_nothing_else(
    offset: int, length: int, fetched: list[tuple[int, int]]
) -> None:
    plain = plain_of(SIZE)
    place = Tracking(seal(header_of(), KEY, plain))
    assert open_range(KEY, place, offset, length, expect_of(END, SIZE)) == plain[offset : offset + length]
    assert place.calls == [fetched]


def test_a_range_without_a_row_verifies_the_last_chunk_first() -> None:
    plain = plain_of(SIZE)
    place = Tracking(seal(header_of(), KEY, plain))
    assert open_range(KEY, place, CHUNK, 1, expect_of(END)) == plain[CHUNK : CHUNK + 1]
    assert place.calls == [[START], [(chunk(5)[0], 77 + TAG)], [chunk(1)]]


def test_a_range_with_header_fields() -> None:
    plain = plain_of(SIZE)
    header = header_of(TLVS[1])
    length = len(header.encode())
    place = Tracking(seal(header, KEY, plain))
    total = sealed_size(SIZE, length)
    assert open_range(KEY, place, CHUNK, 1, expect_of(total, SIZE)) == plain[CHUNK : CHUNK + 1]
    assert place.calls == [[(0, length + PREFIX), (chunk(1)[0] + length - FIXED, SEALED_CHUNK)]]


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1)])
def test_a_range_is_not_negative(offset: int, length: int) -> None:
    with pytest.raises(InvalidArgument, match="negative"):
        open_range(KEY, Tracking(b""), offset, length, expect_of(END, SIZE))


def test_a_range_needs_the_sealed_size() -> None:
    with pytest.raises(InvalidArgument, match="sealed size"):
        open_range(KEY, Tracking(b""), 0, 1, expect_of())


@pytest.mark.parametrize("header_length", [0, 56, MAX_HEADER + 8, 2**40, 2**62])
def test_sizes_that_leave_an_absurd_header_are_refused_before_anything_is_fetched(header_length: int) -> None:
    place = Tracking(b"")
    with pytest.raises(Truncated, match=OBJECT.hex()):
        open_range(KEY, place, 0, 1, expect_of(sealed_size(10, header_length), 10))
    assert place.calls == []


# ------------------------------------------------------------------------------------------------------------- header


@given(
    kind=st.sampled_from(Kind),
    corpus=st.binary(min_size=16, max_size=16),
    object_id=st.binary(min_size=16, max_size=16),
    tlvs=st.lists(st.tuples(st.integers(0, CRITICAL - 1), st.binary(max_size=40)), max_size=5).map(tuple),
)
def test_a_header_reads_back(kind: Kind, corpus: bytes, object_id: bytes, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    key_id = b"K" * 16 if kind is Kind.HEAD else bytes(16)
    if kind is Kind.HEAD:
        tlvs = (*tlvs, (WRAP, b"wrap"))
    header = Header(kind, corpus, object_id, key_id, tlvs)
    encoded = header.encode()
    assert len(encoded) % 8 == 0
    assert Header.decode(encoded + b"what follows", "it") == header
    assert struct.unpack_from(">8sBBHB", encoded) == (MAGIC, 1, 1, len(encoded), int(kind))


def test_the_layout_is_the_documented_one() -> None:
    encoded = Header(Kind.HEAD, b"C" * 16, b"O" * 16, b"K" * 16, ((WRAP, b"12345"),)).encode()
    assert encoded.hex() == (
        "895344450d0a1a0a0101005002000000" + "43" * 16 + "4b" * 16 + "4f" * 16 + "80010005313233343500000000000000"
    )


def changed(encoded: bytes, at: int, new: bytes) -> bytes:
    return encoded[:at] + new + encoded[at + len(new) :]


PLAIN = header_of().encode()
LONG = header_of(TLVS[1]).encode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotSealed),
        (b"RIFF", NotSealed),
        (b"RIFF" + bytes(100), NotSealed),
        (PLAIN.replace(b"\r\n", b"\n"), NotSealed),  # what a text mode transfer does
        (PLAIN[:1], Truncated),
        (PLAIN[:63], Truncated),
        (LONG[:71], Truncated),
        (changed(PLAIN, 8, b"\0"), UnknownVersion),
        (changed(PLAIN, 8, b"\2"), UnknownVersion),
        (changed(PLAIN, 9, b"\0"), UnknownSuite),
        (changed(PLAIN, 9, b"\2"), UnknownSuite),
        (changed(PLAIN, 10, b"\0\0"), MalformedHeader),
        (changed(PLAIN, 10, b"\0\x38"), MalformedHeader),
        (changed(PLAIN, 10, b"\0\x41"), MalformedHeader),
        (changed(PLAIN, 10, b"\xff\xff"), MalformedHeader),
        (changed(PLAIN, 10, struct.pack(">H", MAX_HEADER + 8)), LimitExceeded),
        (changed(PLAIN, 10, b"\xff\xf8"), LimitExceeded),
        (changed(PLAIN, 12, b"\0"), MalformedHeader),
        (changed(PLAIN, 12, b"\4"), MalformedHeader),
        (changed(PLAIN, 13, b"\1"), MalformedHeader),
        (changed(PLAIN, 15, b"\1"), MalformedHeader),
        (changed(PLAIN, 32, b"\1"), MalformedHeader),  # only a head has a corpus key
        (changed(LONG, 64, b"\x80"), UnknownVersion),  # a critical field
        (changed(LONG, 66, b"\xff\xff"), MalformedHeader),  # a field longer than the header
        (changed(LONG, 66, b"\0\5"), MalformedHeader),
        (changed(LONG, 71, b"\1"), MalformedHeader),  # padding that is not zero
    ],
    ids=itertools.count(),
)
def test_a_header_that_breaks_the_format(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="the thing") as caught:
        Header.decode(data, "the thing")
    assert type(caught.value) is error
    assert str(caught.value).count(";") >= 1, "what, where, and the next step"


def test_a_header_has_a_limit_when_it_is_written_too() -> None:
    with pytest.raises(LimitExceeded, match="4096"):
        header_of(((1, bytes(4096)),)).encode()
    for kind in Kind:
        with pytest.raises(LimitExceeded, match="65608"):
            Header(kind, CORPUS, OBJECT, tlvs=((1, bytes(65536)),)).encode()


def test_every_header_byte_is_bound() -> None:
    # a non-critical field that an older version ignores is still under the commitment
    sealed = seal(header_of(TLVS[1]), KEY, b"x")
    other = bytearray(sealed)
    other[68] ^= 1
    assert Header.decode(other, "it") != Header.decode(sealed, "it")
    with pytest.raises(AuthenticationFailed):
        open_whole(KEY, other, expect_of())
