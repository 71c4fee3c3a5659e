"""One GET into a buffer of its own, and its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pycurl

from securedata.errors import StorageUnreachable
from securedata.storage.http.request import ERROR_BODY, RETRIED, SLOWEST, Arrivals, Request

_STALL_SECONDS, _LEAST_SECONDS = 10, 30
_BUFFER = 512 * 1024
_AT_FIRST = 64 * 1024 * 1024  # the most bytes allocated because of Content-Length alone
_DROPS = 16 * 1024  # bytes in one callback; with more there is no need to check the clock
_SHORT_TRIES = 3


class Answer(NamedTuple):
    """The server's answer.

    Attributes:
        status: HTTP status; 413 also if more bytes came than were asked for.
        body: the bytes received; empty with status 413.
        size: the body's length from its headers; 0 if they give none.
        region: the bucket's region, from its headers.
        as_asked: false if the headers name another range than the one asked for.
    """

    status: int
    body: memoryview
    etag: str
    date: str
    size: int
    region: str
    as_asked: bool = True


@dataclass(slots=True, eq=False)
class Get(Request[Answer]):
    """One GET: `length` bytes from `offset`, or fewer where the object ends; None: the whole object, up to `limit`.

    Failures that may be temporary (connection, timeout, short body, 429, 5xx) are retried. Other statuses are answers.

    `least`: a shorter body counts as cut short, and is retried.
    """

    offset: int = 0
    length: int | None = None
    limit: int = 64 * 1024 * 1024
    least: int = 0
    # of the try under way
    _buffer: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _overflow: bool = field(default=False, init=False)
    _slow: bool = field(default=False, init=False)

    @property
    def most(self) -> int:
        return self.limit if self.length is None else self.length

    @property
    def body(self) -> bytes:
        return b""

    @staticmethod
    def configure(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
        curl.setopt(pycurl.LOW_SPEED_TIME, _STALL_SECONDS)

    def prepare(self, curl: pycurl.Curl, arrivals: Arrivals) -> list[str]:
        self._buffer = bytearray()
        self._overflow = self._slow = False
        if self.length is None:
            curl.unsetopt(pycurl.RANGE)
        else:
            curl.setopt(pycurl.RANGE, f"{self.offset}-{self.offset + self.length - 1}")
        curl.setopt(pycurl.TIMEOUT, _LEAST_SECONDS + min(self.most, 2**32) // SLOWEST)
        curl.setopt(pycurl.WRITEFUNCTION, self._writer(arrivals))
        return []

    def outcome(self, code: int, failed: str) -> Answer | StorageUnreachable | None:
        short = self.status in (200, 206) and self.got < self.least and self.tries <= _SHORT_TRIES
        if not failed and self.status not in RETRIED and not short:
            body = memoryview(self._buffer)[: self.got]
            as_asked = self.status != 206 or self.first in (None, self.offset)
            return Answer(self.status, body, self.etag, self.date, self.size, self.region, as_asked)
        if failed and self._overflow:
            return Answer(413, memoryview(b""), self.etag, self.date, self.size, self.region)
        if self._slow:
            failed = f"it sends less than {SLOWEST} bytes a second, {self.got} so far"
        failed = failed or (f"{self.got} bytes of {self.least}" if short else f"HTTP status {self.status}")
        return self.again(code, failed)

    def _writer(self, arrivals: Arrivals) -> Callable[[bytes], int]:
        def write(data: bytes) -> int:
            arrivals.count += len(data)
            # allocated once the server has given a length, and never larger than what was asked for
            if not self.got:
                most = self.most if self.status in (200, 206) else ERROR_BODY
                self._buffer = bytearray(min(self.size, most, _AT_FIRST))
            end = self.got + len(data)
            if len(data) < _DROPS and time.monotonic() - self.begun > _LEAST_SECONDS + end // SLOWEST:
                self._slow = True  # TIMEOUT allows for the largest possible body, so it would come too late
                return 0
            if end > len(self._buffer):
                if self.status not in (200, 206):
                    return len(data)  # the rest of a long error text
                if end > self.most:
                    self._overflow = True
                    return 0
                self._buffer.extend(bytes(end - len(self._buffer)))  # the server gave no length, or a huge one
            self._buffer[self.got : end] = data
            self.got = end
            return len(data)

        return write
