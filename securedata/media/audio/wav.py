"""The chunks of a WAV."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_SLACK = 65_536  # bytes that writers keep for headers, or round down by
_LARGEST = (2**31, 2**32, 2**63, 2**64)
_MAX_CHUNKS = 1000  # before the data chunk; a real file has a handful


class WavData(NamedTuple):
    """Where the samples are.

    Attributes:
        offset: position of the first byte.
        length: bytes, as the header says, or what the file holds where the header does not know.
    """

    offset: int
    length: int


def wav_data(read_at: Callable[[int, int], bytes], size: int) -> WavData | None:
    """Where the samples of a little-endian WAV are; None for anything else (RIFX is big-endian)."""
    head = read_at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    position, long_length = 12, 0
    for _ in range(_MAX_CHUNKS):
        chunk = read_at(position, 8)
        if len(chunk) < 8:
            return None
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            if head[:4] == b"RF64" and length == 0xFFFFFFFF:
                length = long_length
            offset = position + 8
            return WavData(offset, size - offset if _is_unknown(read_at, length, offset, size) else length)
        if name == b"ds64":
            long_length = int.from_bytes(read_at(position + 16, 8), "little")
        position += 8 + length + (length & 1)
    return None


def _is_unknown(read_at: Callable[[int, int], bytes], length: int, offset: int, size: int) -> bool:
    """Whether a data chunk's length is a placeholder of a writer that could not seek back, into a pipe for one.

    Such writers say 0, or the largest number that a field holds (signed or not, of 32 bits or 64), less what they keep
    for headers or round it by. No more than what the file holds can be meant by that.
    """
    if length == 0:
        return not _are_chunks(read_at, offset, size)
    return length > size - offset and any(0 <= largest - length <= _SLACK for largest in _LARGEST)


def _are_chunks(read_at: Callable[[int, int], bytes], position: int, size: int) -> bool:
    """Whether the rest of a file is chunks, such as the texts behind an empty recording, and no samples."""
    for _ in range(_MAX_CHUNKS):
        if position >= size:
            return True
        chunk = read_at(position, 8)
        if len(chunk) < 8 or not chunk[:4].isascii() or not chunk[:4].decode("ascii").isprintable():
            return False
        length = int.from_bytes(chunk[4:], "little")
        position += 8 + length + (length & 1)
        if position > size + 1:
            return False
    return False
