"""The chunks of a WAV."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# Data chunk lengths that mean 'unknown': what ffmpeg and sox write into a pipe, and a header never completed.
_UNKNOWN_LENGTHS = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
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
            return WavData(offset, size - offset if length in _UNKNOWN_LENGTHS else length)
        if name == b"ds64":
            long_length = int.from_bytes(read_at(position + 16, 8), "little")
        position += 8 + length + (length & 1)
    return None
