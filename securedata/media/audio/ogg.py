"""The pages of an Ogg file."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

_PAGE = 65_307  # the most bytes in a page
_PIECE = 1 << 20
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex   ")  # what a stream of audio begins with
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST, _KNOWN = 2, 7  # flags: for the first page of a stream, and all of them


class Pages(NamedTuple):
    """How the pages of a file follow each other.

    Attributes:
        is_chained: whether a stream begins after pages of another; libsndfile does not read it.
        is_whole: whether no page is missing or damaged, by their numbers and CRCs; anything may follow the last page,
            and the last may be cut off.
        tracks: streams of audio that begin in parallel, of which libsndfile reads the first.
    """

    is_chained: bool
    is_whole: bool
    tracks: int


def walk(read_at: Callable[[int, int], bytes], size: int) -> Pages:
    """Look at each page, which takes some microseconds."""
    following: dict[bytes, int] = {}  # the number of the next page, by stream
    position, piece, at, is_whole, in_head, tracks = 0, b"", 0, True, True, 0
    while True:
        if not piece or (at + _PAGE > len(piece) and position + len(piece) - at < size):
            piece, at = read_at(position, _PIECE), 0
        if piece[at : at + 4] != b"OggS" or len(piece) < at + 27 or piece[at + 4] or piece[at + 5] > _KNOWN:
            resumed = _resume(read_at, position + 1)
            if resumed is None:
                return Pages(False, is_whole, tracks)
            position, piece, is_whole = resumed, b"", False
            continue
        stream, number = piece[at + 14 : at + 18], int.from_bytes(piece[at + 18 : at + 22], "little")
        if not piece[at + 5] & _FIRST:
            in_head = False
            is_whole = is_whole and following.get(stream) == number
        elif not in_head:
            return Pages(True, is_whole, tracks)
        following[stream] = number + 1 & 0xFFFFFFFF
        segments = piece[at + 26]
        if in_head and piece.startswith(_AUDIO, at + 27 + segments):
            tracks += 1
        length = 27 + segments + sum(piece[at + 27 : at + 27 + segments])
        if at + length <= len(piece) and not _is_sound(piece[at : at + length]):
            is_whole = False
        position += length
        at = min(at + length, len(piece))


def _is_sound(page: bytes) -> bool:
    """Whether the page's CRC is right: zlib's polynomial, with reversed bits and starting from zeros."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    crc = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_MIRRORED) == page[22:26]


def _resume(read_at: Callable[[int, int], bytes], position: int) -> int | None:
    """Where the next page begins; a packet can hold the four letters, so version and flags are checked as well."""
    while len(piece := read_at(position, _PIECE)) >= 6:
        found = piece.find(b"OggS")
        while found >= 0 and found + 6 <= len(piece):
            if not piece[found + 4] and piece[found + 5] <= _KNOWN:
                return position + found
            found = piece.find(b"OggS", found + 1)
        position += len(piece) - 5
    return None
