"""Where the samples of a file are, according to its header, in formats where libsndfile ignores a wrong length.

WAV, FLAC and MP3 have modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from securedata.media.audio.wav import MAX_CHUNKS, is_placeholder

_ReadAt = Callable[[int, int], bytes]

_SAMPLES = (b"SSND", b"BODY", b"data")
_AU: dict[bytes, Literal["big", "little"]] = {b".snd": "big", b"dns.": "little"}
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_VOC_UNKNOWN = 0xFFFFFF
_VOC_HEADS = {1: 2, 9: 12}  # bytes before the samples in a block of sound, by its type
_NIST = (b"channel_count", b"sample_n_bytes", b"sample_count")
_MANY = 4096  # bytes: fewer than this after the samples are tags and padding


class Samples(NamedTuple):
    """Byte positions in the file: of the first sample, and after the last."""

    start: int
    end: int


def missing_bytes(read_at: _ReadAt, size: int) -> int:
    """Bytes of samples that the header counts beyond the end of the file."""
    found = _samples(read_at, size)
    return max(0, found.end - size) if found else 0


def sample_bytes(read_at: _ReadAt, size: int) -> int | None:
    """Bytes of samples, if libsndfile would read on after them, through other chunks; else None.

    If the header counts too few, because its writer was killed, more samples follow, and not a chunk.
    """
    head = read_at(0, 12)
    aligned = 8 if head[:4] == b"riff" else 2 if head[8:] in (b"8SVX", b"16SV") else 1
    found = _samples(read_at, size) if aligned > 1 or head[:4] == b"Crea" else None
    if found is None:
        return None
    behind = read_at(found.end + -found.end % aligned, 4)
    is_other = aligned == 1 or (behind.isascii() and behind.decode("ascii").isprintable())
    return found.end - found.start if is_other else None


def left_bytes(read_at: _ReadAt, size: int) -> int:
    """Bytes after the samples of an AU, which should have none there, if they are many and not all zeros."""
    found = _samples(read_at, size) if read_at(0, 4) in _AU else None
    if found is None or size - found.end < _MANY or not read_at(found.end, _MANY).strip(b"\0"):
        return 0
    return size - found.end


def _samples(read_at: _ReadAt, size: int) -> Samples | None:
    """The samples' position; None if the header does not say it."""
    head = read_at(0, 40)
    if head[:4] == b"FORM" or head[:4] == b"RIFX":
        return _chunks(read_at)
    if head[:6] == b"caff\0\1":
        return _caf(read_at)
    if head[:4] == b"riff":
        return _w64(read_at)
    if head[:4] in _AU:
        offset, length = (int.from_bytes(field, _AU[head[:4]]) for field in (head[4:8], head[8:12]))
        return None if is_placeholder(length) else Samples(offset, offset + length)
    if head[:8] == b"NIST_1A\n":
        return _nist(read_at, head, size)
    if head[:19] == b"Creative Voice File":
        return _voc(read_at, int.from_bytes(head[20:22], "little"))
    return None


def _chunks(read_at: _ReadAt) -> Samples | None:
    position = 12
    for _ in range(MAX_CHUNKS):
        chunk = read_at(position, 8)
        if len(chunk) < 8:
            return None
        length = int.from_bytes(chunk[4:], "big")
        if chunk[:4] in _SAMPLES:
            return None if is_placeholder(length) else Samples(position + 8, position + 8 + length)
        position += 8 + length + (length & 1)
    return None


def _w64(read_at: _ReadAt) -> Samples | None:
    position = 40
    for _ in range(MAX_CHUNKS):
        chunk = read_at(position, 24)
        length = int.from_bytes(chunk[16:], "little")  # with these 24 bytes
        if len(chunk) < 24 or length < 24:
            return None
        if chunk[:16] == _W64_DATA:
            return None if is_placeholder(length - 24) else Samples(position + 24, position + length)
        position += length + 7 & ~7
    return None


def _caf(read_at: _ReadAt) -> Samples | None:
    position = 8
    for _ in range(MAX_CHUNKS):
        chunk = read_at(position, 12)
        length = int.from_bytes(chunk[4:], "big", signed=True)
        if len(chunk) < 12 or length < 0:
            return None
        if chunk[:4] == b"data":
            return Samples(position + 12, position + 12 + length)
        position += 12 + length
    return None


def _nist(read_at: _ReadAt, head: bytes, size: int) -> Samples | None:
    if not head[8:16].strip().isdigit():
        return None
    offset = int(head[8:16])
    fields = [line.split(None, 2) for line in read_at(16, max(0, offset - 16)).splitlines()]
    said = {field[0]: field[2].strip() for field in fields if len(field) == 3}
    numbers = [said.get(name, b"") for name in _NIST]
    if b"embedded" in said.get(b"sample_coding", b"") or not all(number.isdigit() for number in numbers):
        return None  # the header of a compressed file counts samples before compression
    channels, width, count = map(int, numbers)
    if offset + width * count == size:  # counted over all channels, against the standard
        return Samples(offset, size)
    return Samples(offset, offset + channels * width * count)


def _voc(read_at: _ReadAt, position: int) -> Samples | None:
    """For a single block of sound; None for several, or if other blocks are between them."""
    block = read_at(position, 4)
    length = int.from_bytes(block[1:], "little")
    if len(block) < 4 or block[0] not in _VOC_HEADS or length == _VOC_UNKNOWN:
        return None
    end = position + 4 + length
    if read_at(end, 1) not in (b"", b"\0"):
        return None
    return Samples(position + 4 + _VOC_HEADS[block[0]], end)
