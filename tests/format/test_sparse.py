"""Pieces of a sealed object whose sealed size is known: what is fetched, and that nothing else is opened."""

from __future__ import annotations

import random

import pytest

from securedata.errors import AuthenticationFailed, FormatError, Truncated, WrongObject
from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK
from securedata.format.header import FIXED, Header, Kind
from securedata.format.sealed import Expect, seal
from securedata.format.sparse import OtherHeader, SparseObject

KEY = bytes(range(32))
CORPUS, OBJECT = b"C" * 16, b"O" * 16
START = FIXED + PREFIX
SIZES = (0, 1, CHUNK, CHUNK + 1, 40 * CHUNK, 40 * CHUNK + 77)


def sealed_of(plain: bytes, tlvs: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    return bytes(seal(Header(Kind.TABLE, CORPUS, OBJECT, tlvs=tlvs), KEY, plain))


def expect_of(sealed: bytes, object_id: bytes = OBJECT) -> Expect:
    return Expect(Kind.TABLE, CORPUS, object_id, "memory://format", len(sealed))


def fetch(sealed: bytes, ranges: list[tuple[int, int]]) -> list[bytes]:
    return [sealed[offset : offset + length] for offset, length in ranges]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_asked_for_is_there_and_only_its_chunks_are(size: int) -> None:
    plain = bytes(one or 1 for one in random.Random(size).randbytes(size))
    sealed, chosen = sealed_of(plain), random.Random(0)
    for _ in range(20):
        found = SparseObject(KEY, expect_of(sealed))
        assert (found.size, len(found.plain)) == (size, size)
        for _ in range(3):
            wanted = []
            for _ in range(chosen.randrange(4)):
                start = chosen.randrange(size + 1)
                wanted.append((start, min(size, start + chosen.choice((0, 1, 100, CHUNK, 3 * CHUNK)))))
            ranges = found.ranges(wanted)
            found.open(fetch(sealed, ranges), ranges)
            assert all(found.has(*one) and found.plain[slice(*one)] == plain[slice(*one)] for one in wanted)
            assert found.ranges(wanted) == []
        for at in range(0, size, CHUNK):
            there = plain[at : at + CHUNK] if found.has(at, at + 1) else bytes(len(plain[at : at + CHUNK]))
            assert found.plain[at : at + CHUNK] == there


def test_a_small_gap_is_fetched_and_a_large_one_is_not() -> None:
    sealed = sealed_of(bytes(60 * CHUNK))
    found = SparseObject(KEY, expect_of(sealed))
    ranges = found.ranges([(9 * CHUNK, 9 * CHUNK + 1), (0, 1), (50 * CHUNK, 51 * CHUNK)])
    assert ranges == [(0, START + 10 * SEALED_CHUNK), (START + 50 * SEALED_CHUNK, SEALED_CHUNK)]
    found.open(fetch(sealed, ranges), ranges)
    assert found.has(5 * CHUNK, 6 * CHUNK)
    assert not found.has(50 * CHUNK, 51 * CHUNK + 1)
    assert found.ranges([(9 * CHUNK, 12 * CHUNK)]) == [(START + 10 * SEALED_CHUNK, 2 * SEALED_CHUNK)]


def test_what_was_changed_cut_or_swapped_is_refused() -> None:
    plain = b"x" * (30 * CHUNK)
    sealed = sealed_of(plain)
    for at in (FIXED, START, START + 20 * SEALED_CHUNK):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        found = SparseObject(KEY, expect_of(sealed))
        ranges = found.ranges([(0, CHUNK), (20 * CHUNK, 21 * CHUNK)])
        with pytest.raises(AuthenticationFailed):
            found.open(fetch(bytes(flipped), ranges), ranges)
        assert not found.plain[20 * CHUNK : 21 * CHUNK].tobytes().strip(b"\0")
    found = SparseObject(KEY, expect_of(sealed))
    ranges = found.ranges([(20 * CHUNK, 21 * CHUNK)])
    moved = fetch(sealed, [ranges[0], (ranges[1][0] + SEALED_CHUNK, SEALED_CHUNK)])
    with pytest.raises(AuthenticationFailed):
        found.open(moved, ranges)
    with pytest.raises(Truncated):
        SparseObject(KEY, expect_of(sealed)).open(fetch(sealed[:-9], ranges := [(0, len(sealed))]), ranges)
    with pytest.raises(WrongObject):
        SparseObject(KEY, expect_of(sealed, b"P" * 16)).open([sealed], [(0, len(sealed))])
    with pytest.raises(FormatError):
        SparseObject(KEY, expect_of(sealed)).open([bytes(len(sealed))], [(0, len(sealed))])


def test_an_object_with_another_header_has_to_be_read_whole() -> None:
    for size in (100, CHUNK - 60):  # with the latter, no object with the usual header has this sealed size
        sealed = sealed_of(bytes(size), ((1, b"x" * 40),))
        with pytest.raises(OtherHeader):
            (found := SparseObject(KEY, expect_of(sealed))).open(fetch(sealed, found.ranges([])), found.ranges([]))
