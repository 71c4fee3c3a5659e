"""The published vectors of Cobblestone-256, and a differential test against the implementation of pyca/cryptography.

tests/data/cobblestone256.json holds the values of C2SP/wycheproof, c2sp_chunked_encryption_aes_256_gcm_test.json, at
commit b61843a of 2026-07-21, the first and newest that has them (Apache-2.0); ciphertexts are base64 of zlib. The
vectors are bare messages with a context of their own, so a header is put in front of each, and the context that it
would give is replaced by the vector's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from securedata.errors import AuthenticationFailed, InvalidArgument, Truncated
from securedata.format import cobblestone
from securedata.format.cobblestone import CHUNK, PREFIX, TAG, message_size
from securedata.format.header import FIXED, Header, Kind, context
from securedata.format.ranges import open_range
from securedata.format.sealed import Expect, open_into, open_stream, open_whole, plain_size, seal

FILE = Path(__file__).parents[1] / "data" / "cobblestone256.json"
HEADER = Header(Kind.DATA, b"c" * 16, b"o" * 16).encode()
EXPECT = Expect(Kind.DATA, b"c" * 16, b"o" * 16, "memory://vectors")


@dataclass(frozen=True)
class Vector:
    id: int
    key: bytes
    context: bytes
    message: bytes
    length: int | None
    sha512: str | None
    valid: bool
    flags: frozenset[str]

    @property
    def sealed(self) -> bytes:
        return HEADER + self.message

    def holds(self, plain: bytes | bytearray) -> bool:
        return len(plain) == self.length and hashlib.sha512(plain).hexdigest() == self.sha512

    def range(self, offset: int, length: int) -> bytearray:
        """As without a row: the size comes from storage."""
        sealed = self.sealed

        def fetch(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
            return [sealed[at : at + size] for at, size in ranges]

        expect = Expect(Kind.DATA, b"c" * 16, b"o" * 16, "memory://vectors", len(sealed))
        return open_range(self.key, fetch, offset, length, expect)


def _vectors() -> list[Vector]:
    return [
        Vector(
            one["id"],
            bytes.fromhex(one["key"]),
            bytes.fromhex(one["context"]),
            zlib.decompress(base64.b64decode(one["ciphertext"])),
            one.get("length"),
            one.get("sha512"),
            one["valid"],
            frozenset(one["flags"]),
        )
        for one in json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
    ]


VECTORS = _vectors()
VALID = [one for one in VECTORS if one.valid]
INVALID = [one for one in VECTORS if not one.valid]

REFUSED = (AuthenticationFailed, Truncated, InvalidArgument)
"""InvalidArgument: two of the vectors have keys of 31 and 33 bytes."""


@pytest.fixture
def vector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Vector:
    found: Vector = request.param
    monkeypatch.setattr("securedata.format.sealed.context", lambda header: found.context)
    return found


def test_there_are_35_of_them() -> None:
    assert len(VECTORS) == 35
    assert (len(VALID), len(INVALID)) == (10, 25)


@pytest.mark.parametrize("vector", VALID, ids=lambda v: str(v.id), indirect=True)
def test_valid_vector_opens_whole_as_stream_and_by_range(vector: Vector) -> None:
    plain = open_whole(vector.key, vector.sealed, EXPECT)
    assert vector.holds(plain)
    out = bytearray(len(plain))
    assert open_into(vector.key, vector.sealed, out, EXPECT) == len(plain)
    assert out == plain
    for piece in (1 if len(plain) < 100 else 4096, 16400, 1 << 20):
        pieces = (vector.sealed[at : at + piece] for at in range(0, len(vector.sealed), piece))
        assert b"".join(open_stream(vector.key, pieces, EXPECT)) == plain
    borders = {0, 1, CHUNK - 1, CHUNK, CHUNK + 1, len(plain) - 1, len(plain), len(plain) // 2}
    for offset in sorted(border for border in borders if 0 <= border <= len(plain)):
        for length in (0, 1, CHUNK, len(plain)):
            assert vector.range(offset, length) == plain[offset : offset + length]


@pytest.mark.parametrize("vector", INVALID, ids=lambda v: str(v.id), indirect=True)
def test_invalid_vector_is_refused_whole_as_stream_and_by_range(vector: Vector) -> None:
    with pytest.raises(REFUSED):
        open_whole(vector.key, vector.sealed, EXPECT)
    out = bytearray(max(len(vector.sealed), 1))
    with pytest.raises(REFUSED):
        open_into(vector.key, vector.sealed, out, EXPECT)
    assert not any(out), "what had been decrypted before the bad chunk is wiped"
    refused = []
    for offset in range(0, (plain_size(len(vector.sealed)) or 0) + 1, CHUNK):
        try:
            vector.range(offset, CHUNK)
        except REFUSED as error:
            refused.append(type(error))
    assert refused, "the bad chunk, or all of them"


@pytest.mark.parametrize("vector", INVALID, ids=lambda v: str(v.id), indirect=True)
def test_stream_of_an_invalid_vector_gives_the_chunks_before_the_bad_one_and_no_more(vector: Vector) -> None:
    stream = open_stream(vector.key, (vector.sealed[at : at + 512] for at in range(0, len(vector.sealed), 512)), EXPECT)
    released = bytearray()
    with pytest.raises(REFUSED):
        _drain(stream, released)
    assert vector.holds(released) if vector.length else not released


@pytest.mark.parametrize("vector", INVALID, ids=lambda v: str(v.id), indirect=True)
def test_the_length_of_an_invalid_vector_is_not_authentic(vector: Vector) -> None:
    """Unless its last chunk is valid where it is, and what is wrong lies before it."""
    size = plain_size(len(vector.sealed)) or 0
    if "ValidFinalChunk" in vector.flags:
        assert vector.range(size, 0) == b""
    else:
        with pytest.raises(REFUSED):
            vector.range(size, 0)


@pytest.mark.parametrize("vector", VALID, ids=lambda v: str(v.id), indirect=True)
def test_the_same_salt_gives_the_same_bytes(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bytes(open_whole(vector.key, vector.sealed, EXPECT))
    monkeypatch.setattr(cobblestone.os, "urandom", lambda size: vector.message[:size])
    assert seal(Header(Kind.DATA, b"c" * 16, b"o" * 16), vector.key, plain) == vector.sealed


def _drain(stream: Iterable[bytearray], into: bytearray) -> None:
    for piece in stream:
        into += piece


# ----------------------------------------------------------------------------- the same bytes as pyca/cryptography

SIZES = sorted(
    {0, 1, 15, 16, 17, 100}
    | {CHUNK * n + d for n in (1, 2, 3) for d in (-17, -16, -1, 0, 1, 16, 17)}
    | {random.Random(7).randrange(5 * CHUNK) for _ in range(20)}
)


@pytest.mark.parametrize("size", SIZES)
def test_pyca_opens_what_we_seal(size: int) -> None:
    key, plain = os.urandom(32), random.Random(size).randbytes(size)
    sealed = bytes(seal(Header(Kind.DATA, b"c" * 16, b"o" * 16), key, plain))
    assert sealed[:FIXED] == HEADER
    decryptor = Cobblestone256Decryptor(key, context(HEADER))
    assert decryptor.update(sealed[FIXED:]) + decryptor.finalize() == plain


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_pyca_seals(size: int) -> None:
    key, plain = os.urandom(32), random.Random(size).randbytes(size)
    encryptor = Cobblestone256Encryptor(key, context(HEADER))
    message = encryptor.update(plain) + encryptor.finalize()
    assert len(message) == message_size(size)
    assert open_whole(key, HEADER + message, EXPECT) == plain
    assert b"".join(open_stream(key, [HEADER, message], EXPECT)) == plain


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_both_refuse_the_same_changes(size: int) -> None:
    key, plain = os.urandom(32), random.Random(size).randbytes(size)
    sealed = bytes(seal(Header(Kind.DATA, b"c" * 16, b"o" * 16), key, plain))
    flips = [FIXED, FIXED + 24, FIXED + PREFIX, len(sealed) - TAG, len(sealed) - 1]
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in flips]
    changed += [sealed[:-1], sealed[: -TAG - 1], sealed + b"\0", sealed + bytes(TAG)]
    for one in changed:
        decryptor = Cobblestone256Decryptor(key, context(HEADER))
        with pytest.raises(InvalidTag):
            _ = decryptor.update(one[FIXED:]), decryptor.finalize()
        with pytest.raises((AuthenticationFailed, Truncated)):
            open_whole(key, one, EXPECT)
