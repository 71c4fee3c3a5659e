"""The chunks of a WAV."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_SLACK = 65_536  # bytes that writers reserve for headers, or round down by
_LARGEST = (2**31, 2**32, 2**63, 2**64)
_MP3 = b"\x55\0"  # format tag
MAX_CHUNKS = 1000  # before the data chunk; real files have a handful


class WavData(NamedTuple):
    """Where the samples are.

    Attributes:
        offset: position of the first byte.
        length: bytes, from the header, or what the file holds if the header has a placeholder.
        form: 14 bytes of the format chunk, from its tag on.
    """

    offset: int
    length: int
    form: bytes

    @property
    def is_mp3(self) -> bool:
        """Whether the header says that it holds MP3."""
        return self.form[:2] == _MP3

    @property
    def channels(self) -> int:
        """Channels, from the header."""
        return int.from_bytes(self.form[2:4], "little")

    @property
    def block(self) -> int:
        """Bytes of a block, if samples are coded in blocks."""
        return int.from_bytes(self.form[12:14], "little")


def wav_data(read_at: Callable[[int, int], bytes], size: int) -> WavData | None:
    """Where the samples of a little-endian WAV are; None for anything else (RIFX is big-endian)."""
    head = read_at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    position, long_length, form = 12, 0, bytes(14)
    for _ in range(MAX_CHUNKS):
        chunk = read_at(position, 22)
        if len(chunk) < 8:
            return None
        name, length = chunk[:4], int.from_bytes(chunk[4:8], "little")
        if name == b"data":
            if head[:4] == b"RF64" and length == 0xFFFFFFFF:
                length = long_length
            offset = position + 8
            length = size - offset if _is_unknown(read_at, length, offset, size) else length
            return WavData(offset, length, form)
        if name == b"fmt ":
            form = chunk[8:]
        elif name == b"ds64":
            long_length = int.from_bytes(read_at(position + 16, 8), "little")
        position += 8 + length + (length & 1)
    return None


BLOCK_CODED = ("IMA_ADPCM", "MS_ADPCM", "GSM610")
"""Encodings whose last block might be cut off."""


def coded_frames(wav: WavData, subtype: str) -> int | None:
    """The frames of all blocks if the last is cut off; None if it is not.

    libsndfile fills such a block with samples of the one before, or leaves it out.
    """
    if subtype == "GSM610":  # libsndfile counts one block more if the header has a placeholder
        return wav.length // 65 * 320
    blocks, rest = divmod(wav.length, max(1, wav.block))
    if not rest:
        return None
    return blocks * _frames_of(wav.block, subtype, wav.channels) + _frames_of(rest, subtype, wav.channels)


def _frames_of(block: int, subtype: str, channels: int) -> int:
    if subtype == "IMA_ADPCM":
        return 1 + (block - 4 * channels) // (4 * channels) * 8 if block >= 4 * channels else 0
    return 2 + (block - 7 * channels) * 2 // channels if block >= 7 * channels else 0


def _is_unknown(read_at: Callable[[int, int], bytes], length: int, offset: int, size: int) -> bool:
    """Whether a data chunk's length is a placeholder by a writer that could not seek back, such as into a pipe.

    Such writers write 0, or the largest number that fits the field (signed or not, of 32 bits or 64), less what they
    reserve for headers or round by. Such a length can only mean what the file holds.
    """
    if length == 0:
        return not _are_chunks(read_at, offset, size)
    return length > size - offset and is_placeholder(length)


def is_placeholder(length: int) -> bool:
    """Whether it is 0, or close to the largest number that fits a field."""
    return length == 0 or any(0 <= largest - length <= _SLACK for largest in _LARGEST)


def _are_chunks(read_at: Callable[[int, int], bytes], position: int, size: int) -> bool:
    """Whether the rest of a file is chunks, such as texts after an empty recording, and not samples."""
    for _ in range(MAX_CHUNKS):
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
