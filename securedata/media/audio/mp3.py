"""The frames of MPEG audio, mostly MP3: how many there are, and how many the header claims.

libsndfile trusts a Xing or Info header, whatever it says, and without one guesses from the file's size, tags included.
So the frames are counted here, one by one: a third of a microsecond each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from securedata.media.audio.sniff import id3_bytes, mpeg_length

ReadAt = Callable[[int, int], bytes]
"""Bytes by (offset, length), fewer at the end of the file."""

MAX_FRAME = 1441
"""The most bytes in a frame: Layer III at 320 kbit/s and 32 kHz, padded."""

_PIECE = 1024 * 1024
_MAX_TAGS = 20
_IN_A_ROW = 3  # frames that cannot be chance, as two can in a cover image of some megabytes
_ALIKE = 0xFE0C  # bits of byte 1 and 2 that hold version, layer and sample rate
_SYNC_WITHIN = 65_536  # the most bytes before the first frame that are not a tag
_LAYER_III, _LAYER_I = 1, 3


class Mp3(NamedTuple):
    """Where the audio is, and what the encoder's header says about it.

    Attributes:
        start: position of the first frame that holds audio.
        frame_bytes: the 4 bytes that a frame begins with.
        is_headed: whether there is a Xing or Info header.
        counted: the frames that this header counts; None without a header.
        counted_end: where the audio ends, according to this header; None if it does not say.
    """

    start: int
    frame_bytes: bytes
    is_headed: bool
    counted: int | None
    counted_end: int | None

    @property
    def samples(self) -> int:
        """Samples of one frame, per channel."""
        version, layer = self.frame_bytes[1] >> 3 & 3, _layer(self.frame_bytes)
        if layer == _LAYER_III:
            return 1152 if version == 3 else 576
        return 384 if layer == _LAYER_I else 1152


def _length_table() -> list[int]:
    """The length of a frame by byte 1 and 2 of its header; 0 if these do not begin a frame."""
    return [0] * 0xE000 + [mpeg_length(b"\xff" + two.to_bytes(2, "big")) for two in range(0xE000, 0x10000)]


_LENGTHS = _length_table()


def find(read_at: ReadAt, size: int) -> Mp3 | None:
    """The first frame of MPEG audio and its header; None for other files, or for a free bit rate.

    A frame of Layer I or II counts only directly after the tags; an MP3 may begin later.
    """
    start = 0
    for _ in range(_MAX_TAGS):
        tag = read_at(start, 10)
        if not (length := id3_bytes(tag)):
            break
        start += length
        start += 10 if tag[5] & 0x10 else 0  # a footer
    head = read_at(start, _SYNC_WITHIN if start or tag[:1] == b"\xff" else 0)
    at = -1
    while True:
        at = head.find(b"\xff", at + 1)
        if at < 0 or at + 4 > len(head):
            return None
        length = _length(head, at)
        if length and at and _layer(head[at : at + 4]) != _LAYER_III:
            continue
        # any two bytes might look like a frame, so another must follow, unless the file ends there
        alone = at == 0 and start + length >= size
        if length and (alone or _alike(read_at(start + at + length, 4), head[at : at + 4])):
            break
    frame = head[at : at + 64] if at + 64 <= len(head) else read_at(start + at, 64)
    # The header follows the side information, whose length depends on version, channels and CRC: 9 to 34 bytes.
    xing = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if xing < 0 or xing + 16 > len(frame):  # the latter: the file ends in its header
        return Mp3(start + at, frame[:4], False, None, None)
    flags, field = frame[xing + 7], xing + 8
    counted = end = None
    if flags & 1:
        counted = int.from_bytes(frame[field : field + 4], "big")
        field += 4
    if flags & 2:
        end = start + at + int.from_bytes(frame[field : field + 4], "big")
    return Mp3(start + at + length, frame[:4], True, counted, end)


def missing_bytes(found: Mp3, size: int) -> int:
    """Bytes that the header counts beyond the end of the file, if more than one frame; else 0."""
    missing = (found.counted_end or 0) - size
    return missing if missing > MAX_FRAME else 0


def count(found: Mp3, read_at: ReadAt) -> tuple[int, bool]:
    """Whole frames from the first on, and whether they follow each other, all of one version and sample rate.

    Other bytes between frames are skipped, such as tags; after the last frame anything may follow.
    """
    frames, position, piece, at = 0, found.start, b"", 0
    table, like, unbroken = _LENGTHS, (found.frame_bytes[1] << 8 | found.frame_bytes[2]) & _ALIKE, True
    while True:
        if at + 4 > len(piece):
            piece, at = read_at(position, _PIECE), 0
            if len(piece) < 4:
                return frames, unbroken
        two = piece[at + 1] << 8 | piece[at + 2]
        length = table[two] if piece[at] == 0xFF else 0
        if not length:
            resumed = _resume(read_at, position, found.frame_bytes)
            if resumed is None:
                return frames, unbroken
            position, piece, at, unbroken = resumed, b"", 0, False
            continue
        if at + length > len(piece):
            piece, at = read_at(position, _PIECE), 0
            if length > len(piece):  # the file ends in this frame
                return frames, unbroken
        if two & _ALIKE != like:
            unbroken = False
        frames += 1
        at += length
        position += length


def _resume(read_at: ReadAt, position: int, first: bytes) -> int | None:
    """Where frames continue: several in a row, since any two bytes might look like one."""
    while len(piece := read_at(position, _PIECE)) >= 4:
        at = -1
        while (at := piece.find(b"\xff", at + 1)) >= 0:
            following = at
            for _ in range(_IN_A_ROW):
                header = piece[following : following + 4]
                if len(header) < 4:
                    header = read_at(position + following, 4)
                if not _alike(header, first):
                    break
                following += _length(header, 0)
            else:
                return position + at
        position += len(piece) - 3 if len(piece) == _PIECE else len(piece)
    return None


def _layer(header: bytes) -> int:
    return header[1] >> 1 & 3


def _length(data: bytes, at: int) -> int:
    return _LENGTHS[data[at + 1] << 8 | data[at + 2]] if data[at] == 0xFF else 0


def _alike(header: bytes, first: bytes) -> bool:
    """Whether both begin frames of one stream, with the same version, layer and sample rate."""
    if len(header) < 4 or not _length(header, 0):
        return False
    return not ((header[1] ^ first[1]) << 8 | header[2] ^ first[2]) & _ALIKE
