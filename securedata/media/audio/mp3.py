"""The headers of an MP3."""

from __future__ import annotations

from collections.abc import Callable

_MAX_FRAME = 1441  # bytes: Layer III at 320 kbit/s and 32 kHz, padded


def missing_bytes(read_at: Callable[[int, int], bytes], size: int) -> int:
    """Bytes that the Xing or Info header of an MP3 counts beyond the end of the file, if more than a frame; else 0."""
    start = 0
    tag = read_at(0, 10)
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = read_at(start, 64)
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    # The header follows the side information, whose length depends on version, channels and CRC: 9 to 34 bytes.
    at = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if at < 0 or not frame[at + 7] & 2:  # flag 2: a byte count, after the frame count if flag 1
        return 0
    counted_at = at + 8 + (4 if frame[at + 7] & 1 else 0)
    missing = start + int.from_bytes(frame[counted_at : counted_at + 4], "big") - size
    return missing if missing > _MAX_FRAME else 0
