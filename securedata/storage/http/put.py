"""One PUT under a key that must not exist, with a checksum that the server compares with what it received.

A tenth of the CPU that boto3 takes for it, which for short recordings is most of what an ingest would do.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pycurl

from securedata.errors import StorageUnreachable
from securedata.storage.base import Buffer
from securedata.storage.http.request import ERROR_BODY, RETRIED, SLOWEST, Arrivals, Request

_STALL_SECONDS = 60
_BUFFER = 512 * 1024
# 409: another request for the same key was under way. BadDigest: a bit turned on the way; not for ever, one hopes.
_RETRIED = RETRIED | {409}
_RETRIED_CODES = (b"<Code>BadDigest</Code>", b"<Code>RequestTimeout</Code>")
_DIGEST_TRIES = 3

NO_ETAG = "the answer was yes without an ETag, so it was not from a server that stored the object"
"""Of a page that something on the way shows, as of a gateway whose server is away: nothing may have been stored."""


class Sent(NamedTuple):
    """What the server answered.

    Attributes:
        tries: how often it was sent; from 2 on an earlier one may have been carried out though its answer was lost.
    """

    status: int
    body: bytes
    date: str
    region: str
    tries: int


@dataclass(slots=True, eq=False)
class Put(Request[Sent]):
    """One PUT.

    What may pass (connection, timeout, 429, 5xx, a checksum that does not match, a yes that is no server's of objects)
    is tried again. What does not pass is an error if no such server answered, else the last answer.

    `checksum`: send one with it.
    """

    content: Buffer = field(repr=False)
    checksum: bool = True
    # of the try under way
    _said: bytearray = field(default_factory=bytearray, init=False, repr=False)
    # of all tries
    _bad_digests: int = field(default=0, init=False)

    @property
    def most(self) -> int:
        return len(self.content)

    @property
    def body(self) -> Buffer:
        return self.content

    @staticmethod
    def configure(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER)
        curl.setopt(pycurl.LOW_SPEED_TIME, _STALL_SECONDS)

    def prepare(self, curl: pycurl.Curl, arrivals: Arrivals) -> list[str]:
        self._said.clear()
        curl.setopt(pycurl.INFILESIZE_LARGE, len(self.content))
        curl.setopt(pycurl.TIMEOUT, 2 * _STALL_SECONDS + len(self.content) // SLOWEST)
        # Without a function to seek libcurl cannot send a body twice by itself, and so never without our counting it.
        curl.setopt(pycurl.READFUNCTION, _reader(self.content))
        curl.setopt(pycurl.WRITEFUNCTION, self._keep)
        headers = ["Expect:", "Content-Type: application/octet-stream", "If-None-Match: *"]
        if self.checksum:
            checksum = base64.b64encode(zlib.crc32(self.content).to_bytes(4, "big")).decode()
            headers += [f"x-amz-checksum-crc32: {checksum}", "x-amz-sdk-checksum-algorithm: CRC32"]
        return headers

    def outcome(self, code: int, failed: str) -> Sent | StorageUnreachable | None:
        # A yes with an error as its body is none: the server had begun to answer before it failed. So botocore does it.
        status = 500 if self.status == 200 and b"<Error" in self._said else self.status
        if not failed and status == 200 and not self.etag:
            failed = NO_ETAG
        if failed:
            return self.again(code, failed)
        answer = Sent(status, bytes(self._said), self.date, self.region, self.tries)
        self._bad_digests += status == 400
        if not _may_pass(answer) or self._bad_digests >= _DIGEST_TRIES:
            return answer
        return answer if self.again(code, f"HTTP status {status}") is not None else None

    def _keep(self, data: bytes) -> int:
        """What the server writes, as far as it matters."""
        self._said += data[: max(0, ERROR_BODY - len(self._said))]
        return len(data)


def _may_pass(answer: Sent) -> bool:
    return answer.status in _RETRIED or (answer.status == 400 and any(code in answer.body for code in _RETRIED_CODES))


def _reader(body: Buffer) -> Callable[[int], bytes]:
    view, at = memoryview(body), 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = bytes(view[at : at + count])
        at += len(piece)
        return piece

    return read
