"""One GET, what is known of it while it is under way, and what came back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

_RANGE = re.compile(rb"\s*bytes\s+(\d{1,19})-")


class Answer(NamedTuple):
    """What came back.

    Attributes:
        body: as long as it is; empty where the status is 413, which says that more came than was asked for.
        size: bytes of the body, as the server told; 0 where it did not.
        region: where the server says that the bucket is.
        as_asked: it does not say that it sends another range.
    """

    status: int
    body: memoryview
    etag: str
    date: str
    size: int
    region: str
    as_asked: bool = True


@dataclass(slots=True, eq=False)
class Get:
    """One GET: `length` bytes from `offset`, or fewer where the object ends; None: all of at most `limit` bytes.

    `least`: bytes without which the answer counts as cut short, which may pass.
    """

    url: str
    offset: int = 0
    length: int | None = None
    limit: int = 64 * 1024 * 1024
    least: int = 0
    # of the try under way
    buffer: bytearray = field(default_factory=bytearray, repr=False)
    got: int = 0
    status: int = 0
    etag: str = ""
    date: str = ""
    region: str = ""
    overflow: bool = False
    begun: float = 0.0
    slow: bool = False
    first: int | None = None
    size: int = 0
    # of all tries
    tries: int = 0
    failed_at: float = 0.0
    not_before: float = 0.0
    failure: str = ""

    @property
    def most(self) -> int:
        """Bytes that may come."""
        return self.limit if self.length is None else self.length


def header_reader(get: Get) -> Callable[[bytes], None]:
    """What takes the lines of an answer's head; what is no number in them libcurl refuses by itself."""

    def read(line: bytes) -> None:
        if line[:5] == b"HTTP/":
            get.status, get.size, get.first = _number(line.split(b" ", 2)[1:2]), 0, None
        elif line[:15].lower() == b"content-length:":
            get.size = _number([line[15:]])
        elif line[:14].lower() == b"content-range:":
            found = _RANGE.match(line[14:])
            get.first = int(found[1]) if found else None
        elif line[:5].lower() == b"etag:":
            get.etag = line[5:].strip().decode("latin-1")
        elif line[:5].lower() == b"date:":
            get.date = line[5:].strip().decode("latin-1")
        elif line[:20].lower() == b"x-amz-bucket-region:":
            get.region = line[20:].strip().decode("latin-1")

    return read


def _number(text: list[bytes]) -> int:
    return int(text[0]) if text and text[0].strip().isdigit() and len(text[0]) < 25 else 0
