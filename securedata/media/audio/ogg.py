"""The pages of an Ogg file."""

from __future__ import annotations

from collections.abc import Callable

_PAGE = 65_307  # bytes, at most
_BEGINS = 2  # flag of the first page of a stream


def is_chained(read_at: Callable[[int, int], bytes], size: int) -> bool:
    """Whether streams follow each other: the last page is of none of those that begin the file side by side."""
    serials, position = set(), 0
    while True:
        page = read_at(position, 27 + 255)
        if page[:4] != b"OggS" or len(page) < 27 or not page[5] & _BEGINS:
            break
        serials.add(page[14:18])
        segments = page[27 : 27 + page[26]]
        position += 27 + page[26] + sum(segments)
    start = max(0, size - 2 * _PAGE)
    tail = read_at(start, size - start)
    at = tail.rfind(b"OggS")
    # the four letters may stand in a packet: a page has version 0 and only known flags
    while at >= 0 and (len(tail) < at + 27 or tail[at + 4] != 0 or tail[at + 5] > 7):
        at = tail.rfind(b"OggS", 0, at)
    return at >= 0 and bool(serials) and tail[at + 14 : at + 18] not in serials
