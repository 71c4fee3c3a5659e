"""The header of a sealed object: 64 bytes and optional TLVs; every byte is bound into the key derivation.

    offset size
    0      8    magic
    8      1    version = 1
    9      1    suite = 1 (Cobblestone-256)
    10     2    header length H, TLVs included, a multiple of 8
    12     1    kind: 1 data, 2 head, 3 table
    13     3    zero
    16     16   corpus id
    32     16   id of the corpus key (head), zero otherwise
    48     16   object id (of a head: the write id)
    64     -    TLVs: u16 type (top bit: critical), u16 length, value, zero padding to 8

Numbers are big-endian. The magic begins with a byte above 127 and holds CR LF and ^Z, so that damage by
a text mode transfer or an editor shows at once (an idea from PNG).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from securedata.errors import LimitExceeded, MalformedHeader, NotSealed, Truncated, UnknownSuite, UnknownVersion
from securedata.format.cobblestone import Buffer

MAGIC = b"\x89SDE\r\n\x1a\n"
VERSION = 1
SUITE = 1
FIXED = 64
MAX_HEADER = 4096
MAX_HEAD_HEADER = 65528
ID = 16
NO_KEY = bytes(ID)
CRITICAL = 0x8000
WRAP = CRITICAL | 1
"""TLV of a head: u16 length of a KMS URI, the URI, and the corpus key wrapped by that KMS."""

REQUIRES = CRITICAL | 2
"""TLV of a head: names of features that no reader may ignore, in ASCII, sorted and separated by one space each."""

_FIXED = struct.Struct(">8sBBHB3s16s16s16s")
_TLV = struct.Struct(">HH")
_CONTEXT = b"securedata/v1\x00"


class Kind(IntEnum):
    """What a sealed object is; bound into its key, so that one kind cannot pass for another."""

    DATA = 1
    HEAD = 2
    TABLE = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The parsed header. Ids are 16 bytes each; TLVs are (type, value) in their order."""

    kind: Kind
    corpus_id: bytes
    object_id: bytes
    key_id: bytes = NO_KEY
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def encode(self) -> bytes:
        """The header's bytes.

        Raises:
            LimitExceeded: the TLVs do not fit.
        """
        size = FIXED + sum((4 + len(value) + 7) // 8 * 8 for _, value in self.tlvs)
        limit = MAX_HEAD_HEADER if self.kind is Kind.HEAD else MAX_HEADER
        if size > limit:  # before writing a length that does not fit 16 bits
            raise LimitExceeded(f"a header of {size} bytes is above the limit of {limit}")
        tail = b"".join(_TLV.pack(kind, len(value)) + value + bytes(-(4 + len(value)) % 8) for kind, value in self.tlvs)
        fixed = _FIXED.pack(
            MAGIC, VERSION, SUITE, size, self.kind, b"\0\0\0", self.corpus_id, self.key_id, self.object_id
        )
        return fixed + tail

    @classmethod
    def decode(cls, data: Buffer, name: str) -> Header:
        """Parse the header at the start of `data`, which may hold more after it.

        Args:
            data: at least the header's bytes.
            name: what `data` is, for error texts.

        Raises:
            NotSealed, UnknownVersion, UnknownSuite, MalformedHeader, LimitExceeded, Truncated
        """
        size = header_size(data, name)
        kind_byte, zero, corpus_id, key_id, object_id = _FIXED.unpack_from(data)[4:]
        try:
            kind = Kind(kind_byte)
        except ValueError:
            raise MalformedHeader(f"{name}: unknown kind {kind_byte}; run 'securedata verify'") from None
        limit = MAX_HEAD_HEADER if kind is Kind.HEAD else MAX_HEADER
        if size > limit:
            raise LimitExceeded(
                f"{name}: its header claims {size} bytes, above the limit of {limit}; it was changed or is not ours"
            )
        if zero != b"\0\0\0" or (kind is not Kind.HEAD and key_id != NO_KEY):
            raise MalformedHeader(f"{name}: reserved header bytes are not zero; the object was changed or is not ours")
        if size == FIXED:
            return cls(kind, corpus_id, object_id, key_id)
        if len(data) < size:
            raise Truncated(f"{name}: {len(data)} bytes, its header alone claims {size}; it was cut")
        return cls(kind, corpus_id, object_id, key_id, _tlvs(memoryview(data)[FIXED:size], name, kind))


_COMPRESSED = "it was stored compressed, or a server or proxy compresses what it sends; turn that off"
_LOOKS = (
    (b"\x1f\x8b", f", but as gzip: {_COMPRESSED}"),
    (b"\x28\xb5\x2f\xfd", f", but as zstd: {_COMPRESSED}"),
    (b"<", ", but as HTML or XML: a page of a server, or of a proxy that wants a sign-in"),
)


def _looks_like(data: Buffer) -> str:
    begin = bytes(data[:4])
    return next((text for magic, text in _LOOKS if begin.startswith(magic)), "")


def header_size(data: Buffer, name: str) -> int:
    """Length of the header at the start of `data`, which must hold at least 64 bytes.

    Raises:
        NotSealed, UnknownVersion, UnknownSuite, MalformedHeader, Truncated
    """
    if bytes(data[: len(MAGIC)]) != MAGIC[: len(data)] or not len(data):
        raise NotSealed(
            f"{name} is not a sealed object: it does not begin with the securedata magic{_looks_like(data)}; "
            "check the root, and run 'securedata verify'"
        )
    if len(data) < FIXED:
        raise Truncated(f"{name}: {len(data)} bytes, but a header has at least {FIXED}; it was cut")
    version, suite, size = struct.unpack_from(">BBH", data, 8)
    if version != VERSION:
        raise UnknownVersion(f"{name}: format version {version}; this securedata knows {VERSION}: update securedata")
    if suite != SUITE:
        raise UnknownSuite(f"{name}: cipher suite {suite}; this securedata knows {SUITE}: update securedata")
    if size < FIXED or size % 8:
        raise MalformedHeader(f"{name}: impossible header length {size}; the object was changed or is not ours")
    return int(size)


def context(header: Buffer) -> bytes:
    """The key derivation context: a label and all of the header's bytes."""
    return _CONTEXT + header


def _tlvs(data: memoryview, name: str, owner: Kind) -> tuple[tuple[int, bytes], ...]:
    found = []
    at = 0
    while at < len(data):
        # at and len(data) are multiples of 8, so four bytes always remain
        kind, size = _TLV.unpack_from(data, at)
        end = at + 4 + size
        padded = end + -(4 + size) % 8
        if padded > len(data) or any(data[end:padded]):
            raise MalformedHeader(f"{name}: a header field runs over its end; the object was changed or is not ours")
        if kind & CRITICAL and not (kind in (WRAP, REQUIRES) and owner is Kind.HEAD):
            raise UnknownVersion(f"{name}: critical header field {kind:#06x} is unknown here; update securedata")
        found.append((kind, bytes(data[at + 4 : end])))
        at = padded
    return tuple(found)
