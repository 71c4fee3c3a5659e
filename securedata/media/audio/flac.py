"""The frames of a FLAC file, of which libsndfile reads no more than its header counts."""

from __future__ import annotations

from collections.abc import Callable

from securedata.media.audio.sniff import id3_bytes

_ReadAt = Callable[[int, int], bytes]

_BUFFER = 8192  # libFLAC reads this much at once, and might be this far past the frame that it decoded
_LONGEST = 65_536  # bytes to search if the header does not say how long a frame is, and after what was read
_SCAN = 1 << 20


def has_more(read_at: _ReadAt, size: int, frames: int, position: int) -> bool:
    """Whether there is audio after the frames that the header counts: a wrong count, or a second FLAC in the file.

    A second FLAC of exactly as many frames hides the end of the first from libFLAC's seek. It is searched for only if
    the file has more bytes than `frames` can fill, so that other files are not read whole: two joined recordings that
    are mostly silent, and equally long to the sample, go unnoticed.

    Args:
        frames: the header's count, not 0.
        position: where libsndfile stopped reading once it had decoded the last of them.
    """
    at = id3_bytes(read_at(0, 10))
    head = read_at(at, 256)
    if not head.startswith(b"fLaC") or len(head) < 42:
        return False
    block, longest = int.from_bytes(head[10:12], "big"), int.from_bytes(head[15:18], "big")
    begin = _audio_offset(read_at, at, head)
    sync = read_at(begin, 2)
    start = max(begin, position - _BUFFER - (longest or _LONGEST))
    near = read_at(start, min(size, position + _LONGEST) - start)
    if _counts_more(near, sync, block, frames, begin - start) or (position < size and _begins_flac(near)):
        return True
    count = -(-frames // max(block, 1))
    return size - begin > count * longest and _is_joined(read_at, begin, size)


def _audio_offset(read_at: _ReadAt, at: int, head: bytes) -> int:
    """Position of the first frame of a FLAC that begins at `at` with the bytes `head`."""
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


def _counts_more(data: bytes, sync: bytes, block: int, frames: int, begin: int) -> bool:
    """Whether `data` holds a frame that ends after the last of `frames`, the one after it, or a second first frame.

    Searches from the end, where nearly all files have the last frame.
    """
    at = data.rfind(sync) if len(sync) == 2 else -1
    while at >= 0:
        header = data[at : at + 16]
        first, end, length = _span(header, block)
        if end >= frames > first - block and _crc8(header[:length]) == header[length]:
            return end > frames
        if first == 0 < end and at != begin and _crc8(header[:length]) == header[length]:
            return True
        at = data.rfind(sync, 0, at + 1)
    return False


def _span(header: bytes, block: int) -> tuple[int, int, int]:
    """First sample of a frame, the one after its last, and its CRC's position, by RFC 9639; zeros if not a header."""
    if len(header) < 16 or header[3] & 1 or header[2] & 15 == 15 or not header[2] >> 4:
        return 0, 0, 0
    number, at = header[4], 5
    if number & 0x80:  # written as UTF-8, of up to 36 bits
        ones = 8 - (number ^ 0xFF).bit_length()
        at = 4 + ones
        number &= 0x7F >> ones
        for byte in header[5:at]:
            number = number << 6 | byte & 0x3F
    first = number if header[1] & 1 else number * block
    size, rate = header[2] >> 4, header[2] & 15
    if size in (6, 7):
        width = size - 5
        samples = int.from_bytes(header[at : at + width], "big") + 1
        at += width
    else:
        samples = 192 if size == 1 else 144 << size if size < 6 else 1 << size
    at += (0, 1, 2, 2)[rate - 11] if rate > 11 else 0
    return first, first + samples, at


def _table() -> bytes:
    table = bytearray()
    for crc in range(256):
        for _ in range(8):
            crc = (crc << 1 ^ 7) & 0xFF if crc & 0x80 else crc << 1
        table.append(crc)
    return bytes(table)


_TABLE = _table()


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc
