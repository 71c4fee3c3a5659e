"""One request, what the engine keeps of it while it is under way, and when it is sent again."""

from __future__ import annotations

import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pycurl

from securedata.errors import StorageUnreachable
from securedata.storage.base import Buffer

PATIENCE = 60.0
"""Seconds from its first failure on for which a request is tried again."""
SLOWEST = 50_000
"""Bytes a second that a server must send or take."""
ERROR_BODY = 16 * 1024
"""Bytes that are kept of the text of an error."""
RETRIED = frozenset({408, 429, 500, 502, 503, 504})

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_RANGE = re.compile(rb"\s*bytes\s+(\d{1,19})-")
_FINAL = frozenset(
    {
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_SSL_CACERT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_PEER_FAILED_VERIFICATION,
    }
)
"""Permanent: retrying will not fix a URL, CA bundle or certificate."""

A = TypeVar("A")


@dataclass(slots=True)
class Arrivals:
    """Bytes of bodies that have come to an engine."""

    count: int = 0


@dataclass(slots=True, eq=False)
class Request(ABC, Generic[A]):
    """A request whose answer is an `A`.

    Attributes:
        status, size, etag, date, region, first: what the head of the answer says; `size` is 0 and `first` None where it
            does not tell the length of the body and where the range begins, `region` is that of the bucket.
        got: bytes of the body that were kept.
        begun: when the try under way was begun.
        tries: how often it was sent, with the try under way.
    """

    url: str
    # of the try under way
    status: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    etag: str = field(default="", init=False)
    date: str = field(default="", init=False)
    region: str = field(default="", init=False)
    first: int | None = field(default=None, init=False)
    got: int = field(default=0, init=False)
    begun: float = field(default=0.0, init=False)
    # of all tries
    tries: int = field(default=0, init=False)
    failed_at: float = field(default=0.0, init=False)
    not_before: float = field(default=0.0, init=False)

    @staticmethod
    @abstractmethod
    def configure(curl: pycurl.Curl) -> None:
        """Set what all requests of this kind share, once for a handle."""

    @property
    @abstractmethod
    def most(self) -> int:
        """Bytes of a body that may come or go."""

    @property
    @abstractmethod
    def body(self) -> Buffer:
        """What is sent."""

    @abstractmethod
    def prepare(self, curl: pycurl.Curl, arrivals: Arrivals) -> list[str]:
        """Begin a try with a handle that may have served another request of this kind; returns its own headers."""

    @abstractmethod
    def outcome(self, code: int, failed: str) -> A | StorageUnreachable | None:
        """What became of a try; None to try again.

        Args:
            code: libcurl's.
            failed: why there is no answer, or not all of it; '' where there is.
        """

    def begin(self, now: float) -> None:
        """Forget the try before."""
        self.status = self.size = self.got = 0
        self.etag = self.date = self.region = ""
        self.first = None
        self.begun = now
        self.tries += 1

    def again(self, code: int, failure: str) -> StorageUnreachable | None:
        """Have it sent again after a pause (None); the error if that is no use, or was tried for `PATIENCE`."""
        if code in _FINAL:
            return StorageUnreachable(failure)
        now = time.monotonic()
        self.failed_at = self.failed_at or now
        if now - self.failed_at >= PATIENCE:
            return StorageUnreachable(f"{failure}, {self.tries} tries in {now - self.failed_at:.0f} s")
        self.not_before = now + _backoff(self.tries)
        return None

    def header_reader(self) -> Callable[[bytes], None]:
        """What takes the lines of an answer's head; what is no number in them libcurl refuses by itself."""

        def read(line: bytes) -> None:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == b"content-length":
                self.size = _number(value)
            elif name == b"etag":
                self.etag = value.strip().decode("latin-1")
            elif name == b"date":
                self.date = value.strip().decode("latin-1")
            elif name == b"content-range":
                found = _RANGE.match(value)
                self.first = int(found[1]) if found else None
            elif name == b"x-amz-bucket-region":
                self.region = value.strip().decode("latin-1")
            elif name[:5] == b"http/":  # another head may have come before: a proxy's, or "100 Continue"
                self.status, self.size, self.first = _number(name[9:12]), 0, None

        return read


def _number(text: bytes) -> int:
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _backoff(tries: int) -> float:
    """Seconds to wait after so many tries, with jitter."""
    longest: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(tries - 1, 10))
    return longest * (0.5 + random.random())  # noqa: S311 - jitter, no secret
