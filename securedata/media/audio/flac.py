"""The frames of a FLAC file, of which libsndfile reads no more than its header counts."""

from __future__ import annotations

from collections.abc import Callable

_ReadAt = Callable[[int, int], bytes]

_BUFFER = 8192  # libFLAC reads so much at once, and may be that far behind the frame it decoded
_LONGEST = 65_536  # bytes looked at where the header does not say how long a frame is, and behind what was read
_SCAN = 1 << 20


def has_more(read_at: _ReadAt, size: int, frames: int, position: int) -> bool:
    """Whether there is audio behind the frames that the header counts: a wrong count, or another FLAC behind this one.

    Another FLAC of exactly as many frames hides the end of the first from libFLAC's seek. It is searched for only where
    the file has more bytes than `frames` can fill, so that no other file is read whole: two recordings that are mostly
    silent, of the same length to the sample and joined, are not seen.

    Args:
        frames: what the header counts, not 0.
        position: where libsndfile stopped reading once it had decoded the last of them.
    """
    at = _tag_bytes(read_at)
    head = read_at(at, 256)
    if not head.startswith(b"fLaC") or len(head) < 42:
        return False
    block, longest = int.from_bytes(head[10:12], "big"), int.from_bytes(head[15:18], "big")
    begin = _audio_offset(read_at, at, head)
    sync = read_at(begin, 2)
    start = max(begin, position - _BUFFER - (longest or _LONGEST))
    near = read_at(start, min(size, position + _LONGEST) - start)
    if _begins_flac(near) or _counts_more(near, sync, block, frames):
        return True
    count = -(-frames // max(block, 1))
    return size - begin > count * longest and _is_joined(read_at, begin, size)


def _tag_bytes(read_at: _ReadAt) -> int:
    head = read_at(0, 10)
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _audio_offset(read_at: _ReadAt, at: int, head: bytes) -> int:
    """Position of the first frame of a FLAC that begins at `at`, with `head`."""
    behind = 4
    while len(block := head[behind : behind + 4] if behind <= 252 else read_at(at + behind, 4)) == 4:
        behind += 4 + int.from_bytes(block[1:], "big")
        if block[0] & 0x80:
            break
    return at + behind


def _begins_flac(data: bytes) -> bool:
    at = data.find(b"fLaC")
    while at >= 0:
        if data[at + 4 : at + 8] in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22"):
            return True
        at = data.find(b"fLaC", at + 4)
    return False


def _is_joined(read_at: _ReadAt, begin: int, size: int) -> bool:
    return any(_begins_flac(read_at(at, _SCAN + 8)) for at in range(begin, size, _SCAN))


def _counts_more(data: bytes, sync: bytes, block: int, frames: int) -> bool:
    """Whether the frame that ends behind the last of `frames`, or the one after it, is in sight."""
    at = data.find(sync) if len(sync) == 2 else -1
    while at >= 0:
        if _reaches(data[at : at + 16], block, frames):
            return True
        at = data.find(sync, at + 1)
    return False


def _reaches(header: bytes, block: int, frames: int) -> bool:
    """Whether this is the header of such a frame, by RFC 9639."""
    if len(header) < 16 or header[3] & 1 or header[2] & 15 == 15 or not header[2] >> 4:
        return False
    ones = 8 - (header[4] ^ 0xFF).bit_length()  # the number is written as UTF-8, of up to 36 bits
    at = 4 + max(1, ones)
    number = header[4] & (0x7F >> ones)
    for byte in header[5:at]:
        number = number << 6 | byte & 0x3F
    first = number if header[1] & 1 else number * block
    if first >= frames + block or first + block <= frames:
        return False
    size, rate = header[2] >> 4, header[2] & 15
    if size in (6, 7):
        width = size - 5
        samples = int.from_bytes(header[at : at + width], "big") + 1
        at += width
    else:
        samples = 192 if size == 1 else 144 << size if size < 6 else 1 << size
    at += (0, 1, 2, 2)[rate - 11] if rate > 11 else 0
    return first + samples > frames and _crc8(header[:at]) == header[at]


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 7) & 0xFF if crc & 0x80 else crc << 1
    return crc
