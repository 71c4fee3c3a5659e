"""Sealed objects that were changed, cut, extended or swapped: one class of error per cause, and no plaintext is out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.errors import (
    AuthenticationFailed,
    FormatError,
    LimitExceeded,
    MalformedHeader,
    NotSealed,
    SecuredataError,
    Truncated,
    UnknownSuite,
    UnknownVersion,
    WrongCorpus,
    WrongKind,
    WrongObject,
)
from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK, TAG
from securedata.format.header import FIXED, MAX_HEADER, Header, Kind
from securedata.format.ranges import open_range
from securedata.format.sealed import Expect, open_into, open_stream, open_whole, seal

KEY = bytes(range(32))
CORPUS, OBJECT = b"C" * 16, b"O" * 16
ROOT = "memory://bad"
START = FIXED + PREFIX
SIZE = 2 * CHUNK + 100
PLAIN = random.Random(1).randbytes(SIZE)
SEALED = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, PLAIN))
KNOWN = Expect(Kind.DATA, CORPUS, OBJECT, ROOT, len(SEALED), SIZE)
"""With the sizes that a row has."""
LOOSE = Expect(Kind.DATA, CORPUS, OBJECT, ROOT)
"""Without: what a part or a head is known by."""


# ------------------------------------------------------------------------------------------ every way to open an object


def wiped(sealed: bytes, expect: Expect) -> None:
    """Whole, into a buffer, which holds nothing of the plaintext after an error."""
    out = bytearray(SIZE + 4 * SEALED_CHUNK)
    try:
        open_into(KEY, sealed, out, expect)
    except SecuredataError:
        assert not any(out), "what was written before the bad chunk is wiped"
        raise


def released(sealed: bytes, expect: Expect, step: int) -> None:
    """As a stream, which gives out whole good chunks from the start and nothing else."""
    out = bytearray()
    try:
        for piece in open_stream(KEY, (sealed[at : at + step] for at in range(0, len(sealed), step)), expect):
            out += piece
    except SecuredataError:
        assert len(out) % CHUNK == 0
        assert PLAIN.startswith(bytes(out))
        raise


def ranged(sealed: bytes, expect: Expect, offset: int, length: int) -> None:
    """By range. A storage gives no more than there is."""

    def fetch(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [sealed[at : at + size] for at, size in ranges]

    size = expect.sealed_size if expect.sealed_size is not None else len(sealed)
    expect = Expect(expect.kind, expect.corpus_id, expect.object_id, expect.root, size, expect.size)
    open_range(KEY, fetch, offset, length, expect)


WAYS: dict[str, Callable[[bytes, Expect], object]] = {
    "whole": lambda sealed, expect: open_whole(KEY, sealed, expect),
    "into a buffer": wiped,
    "stream": lambda sealed, expect: released(sealed, expect, 5000),
    "stream at once": lambda sealed, expect: released(sealed, expect, 1 << 20),
}


def refused(sealed: bytes, expect: Expect, ways: Iterable[str] = WAYS) -> set[type[SecuredataError]]:
    """The classes of the errors that every way of opening it must raise; each text is checked."""
    found = set()
    for way in ways:
        try:
            WAYS[way](sealed, expect)
        except SecuredataError as error:
            check_text(error)
            found.add(type(error))
        else:
            raise AssertionError(f"{way}: it was opened")
    return found


def check_text(error: SecuredataError) -> None:
    text = str(error)
    assert OBJECT.hex() in text, "which object"
    assert ROOT in text, "of which corpus"
    assert ";" in text, "and what to do"
    assert (error.root, error.object_id) == (ROOT, OBJECT)
    assert KEY.hex() not in text
    assert text.isprintable()


# --------------------------------------------------------------------------------------------------------- bit flips


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def cause(bit: int) -> set[type[SecuredataError]]:
    """What a flip of that bit is told as."""
    at = bit // 8
    if at < 8:
        return {NotSealed}
    if at == 8:
        return {UnknownVersion}
    if at == 9:
        return {UnknownSuite}
    if at in (10, 11):
        length = int.from_bytes(flipped(SEALED, bit)[10:12], "big")
        return {LimitExceeded} if length > MAX_HEADER else {MalformedHeader}
    if at == 12:
        return {WrongKind} if SEALED[12] ^ (1 << bit % 8) in (1, 2, 3) else {MalformedHeader}
    if at < 16 or 32 <= at < 48:
        return {MalformedHeader}
    if at < 32:
        return {WrongCorpus}
    return {WrongObject} if at < FIXED else {AuthenticationFailed}


HEAD_BITS = range(8 * START)
FIRST_CHUNK = range(8 * START, 8 * (START + SEALED_CHUNK))
LAST_CHUNK = range(8 * (START + 2 * SEALED_CHUNK), 8 * len(SEALED))


@pytest.mark.parametrize("at", range(START))
def test_every_flip_in_header_salt_and_commitment(at: int) -> None:
    for bit in range(8 * at, 8 * at + 8):
        changed = flipped(SEALED, bit)
        assert refused(changed, KNOWN) == cause(bit)
        for offset in (0, CHUNK, SIZE - 1):
            with pytest.raises(FormatError) as caught:
                ranged(changed, KNOWN, offset, 1)
            check_text(caught.value)
            assert {type(caught.value)} == cause(bit)


@pytest.mark.parametrize("at", range(START))
def test_every_flip_where_no_row_says_the_sizes(at: int) -> None:
    for bit in range(8 * at, 8 * at + 8):
        found = refused(flipped(SEALED, bit), LOOSE)
        if at in (10, 11):  # a longer header takes salt and commitment for its fields
            assert found <= {MalformedHeader, LimitExceeded, UnknownVersion, Truncated, AuthenticationFailed}
        else:
            assert found == cause(bit)


def sample(bits: range, count: int) -> list[int]:
    return sorted(random.Random(len(bits)).sample(bits, count))


def flips_in_chunks(bits: Iterable[int]) -> None:
    for bit in bits:
        changed = flipped(SEALED, bit)
        assert refused(changed, KNOWN, ["into a buffer", "stream"]) == {AuthenticationFailed}
        number = (bit // 8 - START) // SEALED_CHUNK
        with pytest.raises(AuthenticationFailed, match=f"chunk {number} of object"):
            ranged(changed, KNOWN, number * CHUNK, 1)
        good = (number + 1) % 2 * CHUNK
        ranged(changed, KNOWN, good, 10)  # a range is authentic by itself: other chunks do not matter to it


def test_flips_in_the_first_and_the_last_chunk() -> None:
    flips_in_chunks([*sample(FIRST_CHUNK, 250), *sample(LAST_CHUNK, 250)])


@pytest.mark.full
@pytest.mark.parametrize("slice_", range(16))
def test_every_flip_in_the_first_and_the_last_chunk(slice_: int) -> None:
    flips_in_chunks([*FIRST_CHUNK[slice_::16], *LAST_CHUNK[slice_::16]])


# ------------------------------------------------------------------------------------------------ cut and extended

BORDERS = sorted(
    {0, 1, 7, 8, 12, 63, 64, 65, START - 1, START, START + 1, START + TAG - 1, START + TAG}
    | {START + n * SEALED_CHUNK + d for n in (1, 2) for d in range(-TAG - 2, TAG + 3)}
    | {len(SEALED) - d for d in (1, 2, TAG - 1, TAG, TAG + 1, 100)}
)


def truncations(lengths: Iterable[int]) -> None:
    for length in lengths:
        cut = SEALED[:length]
        wanted = {Truncated} if length else {NotSealed}
        assert refused(cut, KNOWN) <= wanted | {AuthenticationFailed}, length
        assert refused(cut, KNOWN, ["whole", "into a buffer"]) == wanted, length
        with pytest.raises(FormatError) as caught:
            ranged(cut, KNOWN, SIZE - 1, 1)
        assert type(caught.value) in wanted, length
        check_text(caught.value)


@pytest.mark.parametrize("length", BORDERS)
def test_truncations_around_borders(length: int) -> None:
    truncations([length])


@pytest.mark.full
@pytest.mark.parametrize("slice_", range(16))
def test_every_truncation(slice_: int) -> None:
    truncations(range(slice_, len(SEALED), 16))


@pytest.mark.parametrize("length", BORDERS)
def test_every_truncation_where_no_row_says_the_sizes(length: int) -> None:
    # a cut inside a chunk leaves a shorter last chunk, which does not verify; one between chunks leaves none
    found = refused(SEALED[:length], LOOSE)
    ends_in_a_chunk = length >= START + TAG and (length - START) % SEALED_CHUNK >= TAG
    assert found == ({AuthenticationFailed} if ends_in_a_chunk else {Truncated} if length else {NotSealed})
    if length >= START:
        with pytest.raises(FormatError) as caught:
            ranged(SEALED[:length], LOOSE, 0, 1)
        assert {type(caught.value)} == found


def test_a_message_that_ends_after_a_full_chunk_was_cut() -> None:
    # its last chunk was empty, and is gone
    sealed = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, PLAIN[: 2 * CHUNK]))
    assert len(sealed) == START + 2 * SEALED_CHUNK + TAG
    cut = sealed[: START + 2 * SEALED_CHUNK]
    assert refused(cut, LOOSE) == {Truncated}
    assert refused(sealed[: START + SEALED_CHUNK], LOOSE) == {Truncated}


@pytest.mark.parametrize("more", [1, TAG - 1, TAG, TAG + 1, SEALED_CHUNK, len(SEALED)])
def test_every_extension(more: int) -> None:
    for tail in (bytes(more), SEALED[-more:], SEALED[START:][:more]):
        extended = SEALED + tail
        assert refused(extended, KNOWN) == {Truncated}
        assert refused(extended, LOOSE) <= {AuthenticationFailed, Truncated}


# ---------------------------------------------------------------------------------------------------------- reordered


def chunks(sealed: bytes) -> list[bytes]:
    return [sealed[at : at + SEALED_CHUNK] for at in range(START, len(sealed), SEALED_CHUNK)]


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (1, 1, 2), (0, 2), (1, 2), (0, 1, 1, 2), (0, 1), (2,)])
def test_chunks_swapped_repeated_or_left_out(order: Sequence[int]) -> None:
    parts = chunks(SEALED)
    changed = SEALED[:START] + b"".join(parts[number] for number in order)
    assert refused(changed, LOOSE) <= {AuthenticationFailed, Truncated}
    assert refused(changed, KNOWN) <= {AuthenticationFailed, Truncated}


def test_chunks_of_another_object_under_the_same_key() -> None:
    # the same key never seals two objects; if it did, their salts would still tell them apart
    other = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, PLAIN))
    for number in range(3):
        mixed = [*chunks(SEALED)]
        mixed[number] = chunks(other)[number]
        assert refused(SEALED[:START] + b"".join(mixed), KNOWN) == {AuthenticationFailed}


@pytest.mark.parametrize("start", [FIXED, FIXED + 24])
def test_salt_or_commitment_of_another_object(start: int) -> None:
    other = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, PLAIN))
    end = FIXED + 24 if start == FIXED else START
    assert refused(SEALED[:start] + other[start:end] + SEALED[end:], KNOWN) == {AuthenticationFailed}


def test_the_wrong_key_is_told_before_anything_is_decrypted() -> None:
    out = bytearray(SIZE)
    with pytest.raises(AuthenticationFailed, match="wrong key, or") as caught:
        open_into(bytes(32), SEALED, out, KNOWN)
    check_text(caught.value)
    assert not any(out)


# --------------------------------------------------------------------------------------------------- absurd lengths


@dataclass(frozen=True)
class Lie:
    """A row that lies about sizes; it would have to be authentic."""

    sealed_size: int
    size: int


@pytest.mark.parametrize(
    "lie",
    [
        Lie(len(SEALED), SIZE + 1),
        Lie(len(SEALED), SIZE - 1),
        Lie(len(SEALED) + 1, SIZE + 1),
        Lie(len(SEALED), 0),
        Lie(len(SEALED), 2**62),
        Lie(2**62, SIZE),
        Lie(2**62, 2**62),
        Lie(2**63 - 1, 2**63 - 1),
        Lie(0, 0),
        Lie(-1, -1),
        Lie(len(SEALED), -1),
        Lie(-(2**63), SIZE),
    ],
)
def test_sizes_that_cannot_be_are_refused_and_nothing_is_allocated(lie: Lie) -> None:
    expect = Expect(Kind.DATA, CORPUS, OBJECT, ROOT, lie.sealed_size, lie.size)
    assert refused(SEALED, expect) <= {Truncated, MalformedHeader}
    for offset, length in ((0, 1), (0, 2**62), (2**62, 1), (CHUNK, CHUNK)):
        try:
            ranged(SEALED, expect, offset, length)
        except FormatError as error:
            check_text(error)


# ------------------------------------------------------------------------------------------------ anything at all


@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: SEALED[:FIXED] + tail)))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert refused(data, KNOWN)
    assert refused(data, LOOSE)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(SEALED) - 1), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4
    )
)
def test_arbitrary_edits_are_refused(edits: list[tuple[int, int, bytes]]) -> None:
    data = SEALED
    for at, cut, new in edits:
        data = data[:at] + new + data[at + cut :]
    if data == SEALED:
        return
    assert refused(data, KNOWN)
    assert refused(data, LOOSE)
