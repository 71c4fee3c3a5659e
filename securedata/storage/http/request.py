"""One request: its state while it is under way, and when it is retried."""

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
"""Seconds for which a request is retried, from its first failure on."""
SLOWEST = 50_000
"""Bytes a second that a server must send or take."""
ERROR_BODY = 16 * 1024
"""The most bytes kept of an error's body."""
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
    """How many bytes of bodies an engine has received."""

    count: int = 0


@dataclass(slots=True, eq=False)
class Request(ABC, Generic[A]):
    """A request whose answer is an `A`.

    Attributes:
        status, size, etag, date, region, first: from the answer's headers. `size` is the body's length, 0 if they give
            none; `first` is where the range begins, None if they give none; `region` is the bucket's.
        got: how many bytes of the body were kept.
        begun: when the current try began, later by the seconds for which it was not driven.
        excused: whether there were such seconds: libcurl's clocks ran on meanwhile.
        tries: how often it was sent, including the current try.
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
    excused: bool = field(default=False, init=False)
    # of all tries
    tries: int = field(default=0, init=False)
    failed_at: float = field(default=0.0, init=False)
    not_before: float = field(default=0.0, init=False)

    @staticmethod
    @abstractmethod
    def configure(curl: pycurl.Curl) -> None:
        """Set the options that all requests of this kind share, once for each handle."""

    @property
    @abstractmethod
    def most(self) -> int:
        """The most bytes of a body that may be sent or received."""

    @property
    @abstractmethod
    def body(self) -> Buffer:
        """The body to send."""

    @abstractmethod
    def prepare(self, curl: pycurl.Curl, arrivals: Arrivals) -> list[str]:
        """Begin a try with a handle that may have served another request of this kind. Returns its own headers."""

    @abstractmethod
    def outcome(self, code: int, failed: str) -> A | StorageUnreachable | None:
        """The outcome of a try; None to try again.

        Args:
            code: libcurl's.
            failed: why there is no complete answer; '' if there is one.
        """

    def begin(self, now: float) -> None:
        """Forget the previous try."""
        self.status = self.size = self.got = 0
        self.etag = self.date = self.region = ""
        self.first = None
        self.begun = now
        self.excused = False
        self.tries += 1

    def excuse(self, away: float) -> None:
        """Set the clocks right after seconds for which nobody sent or received anything for this request."""
        self.begun += away
        self.excused = True
        if self.failed_at:
            self.failed_at += away

    def again(self, code: int, failure: str) -> StorageUnreachable | None:
        """Schedule a retry and return None; or return the error, if it is permanent or `PATIENCE` is over."""
        if code in _FINAL:
            return StorageUnreachable(failure)
        if code == pycurl.E_OPERATION_TIMEDOUT and self.excused:
            self.tries -= 1  # it was not the server that took this long
            return None
        now = time.monotonic()
        self.failed_at = self.failed_at or now
        if now - self.failed_at >= PATIENCE:
            return StorageUnreachable(f"{failure}, {self.tries} tries in {now - self.failed_at:.0f} s")
        self.not_before = now + _backoff(self.tries)
        return None

    def header_reader(self) -> Callable[[bytes], None]:
        """A callback for the lines of an answer's headers. libcurl itself refuses malformed numbers in them."""

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
            elif name[:5] == b"http/":  # headers may come twice: first those of a proxy, or of "100 Continue"
                self.status, self.size, self.first = _number(name[9:12]), 0, None

        return read


def _number(text: bytes) -> int:
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _backoff(tries: int) -> float:
    """Seconds to wait after so many tries, with jitter."""
    longest: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(tries - 1, 10))
    return longest * (0.5 + random.random())  # noqa: S311 - jitter, not a secret
