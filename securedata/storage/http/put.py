"""One PUT under a key that must not exist, with a checksum that the server verifies.

It takes a tenth of boto3's CPU, which would be most of the CPU of ingesting short recordings.
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
# 409: another request for the same key was under way. BadDigest: the body was damaged on the way, perhaps only once.
_RETRIED = RETRIED | {409}
_RETRIED_CODES = (b"<Code>BadDigest</Code>", b"<Code>RequestTimeout</Code>")
_DIGEST_TRIES = 3

NO_ETAG = "the answer was a success without an ETag, so it was not from a server that stored the object"
"""For a page that something in between sends, such as a gateway whose server is down: maybe nothing was stored."""


class Sent(NamedTuple):
    """The server's answer.

    Attributes:
        tries: how often it was sent; from 2 on, an earlier try may have stored the object and lost its answer.
    """

    status: int
    body: bytes
    date: str
    region: str
    tries: int


@dataclass(slots=True, eq=False)
class Put(Request[Sent]):
    """One PUT.

    Failures that may be temporary (connection, timeout, 429, 5xx, a wrong checksum, a success without an ETag) are
    retried. If they persist, the outcome is the last answer, or an error if there was none from an object store.

    `checksum`: whether to send one.
    """

    content: Buffer = field(repr=False)
    checksum: bool = True
    # of the try under way
    _received: bytearray = field(default_factory=bytearray, init=False, repr=False)
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
        self._received.clear()
        curl.setopt(pycurl.INFILESIZE_LARGE, len(self.content))
        curl.setopt(pycurl.TIMEOUT, 2 * _STALL_SECONDS + len(self.content) // SLOWEST)
        # No SEEKFUNCTION: so libcurl cannot send the body again by itself, and `tries` counts every try.
        curl.setopt(pycurl.READFUNCTION, _reader(self.content))
        curl.setopt(pycurl.WRITEFUNCTION, self._keep)
        headers = ["Expect:", "Content-Type: application/octet-stream", "If-None-Match: *"]
        if self.checksum:
            checksum = base64.b64encode(zlib.crc32(self.content).to_bytes(4, "big")).decode()
            headers += [f"x-amz-checksum-crc32: {checksum}", "x-amz-sdk-checksum-algorithm: CRC32"]
        return headers

    def outcome(self, code: int, failed: str) -> Sent | StorageUnreachable | None:
        # A 200 with an error in its body: the server began to answer before it failed. botocore does the same.
        status = 500 if self.status == 200 and b"<Error" in self._received else self.status
        if not failed and status == 200 and not self.etag:
            failed = NO_ETAG
        if failed:
            return self.again(code, failed)
        answer = Sent(status, bytes(self._received), self.date, self.region, self.tries)
        self._bad_digests += status == 400
        if not _may_pass(answer) or self._bad_digests >= _DIGEST_TRIES:
            return answer
        return answer if self.again(code, f"HTTP status {status}") is not None else None

    def _keep(self, data: bytes) -> int:
        """Keep the beginning of the answer's body."""
        self._received += data[: max(0, ERROR_BODY - len(self._received))]
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
