"""Many GETs at once over libcurl: signed, kept alive, into buffers that were made for them.

libcurl has no threads of its own, so handles that are made after a fork just work. An engine belongs to
one thread of one process; `engine()` makes it at its first use there.
"""

from __future__ import annotations

import collections
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pycurl

from securedata.errors import StorageUnreachable
from securedata.forks import Instances
from securedata.storage.base import BATCH_BYTES, Buffer
from securedata.storage.http.request import Answer, Get, header_reader

CONNECTIONS = 32
PATIENCE = 60.0
"""Seconds from its first failure on for which a request is tried again."""

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_CONNECT_SECONDS, _STALL_SECONDS, _LEAST_SECONDS, _SLOWEST = 10, 10, 30, 50_000
_ERROR_BODY = 16 * 1024
_AT_FIRST = 64 * 1024 * 1024  # bytes that a length alone takes, before anything has come
_DROPS = 16 * 1024  # bytes that come at once; with more there is no need to look at the clock
_NAP, _TRICKLE = 0.0005, 64 * 1024
"""Seconds for which answers gather where fewer bytes came at once: packet by packet costs up to twice the CPU."""
_SHORT_TRIES = 3
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
FINAL = frozenset(
    {
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_SSL_CACERT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_PEER_FAILED_VERIFICATION,
    }
)
"""Failures that last: a URL, a CA bundle or a certificate that is not right is not right a moment later either."""


class Signer(NamedTuple):
    """Credentials and where they count, as libcurl's AWS_SIGV4 takes them. `payload`: the body is signed as well."""

    access_key: str
    secret_key: str
    token: str | None
    region: str
    payload: bool = False

    def __repr__(self) -> str:
        return f"Signer({self.access_key!r}, region={self.region!r})"


@dataclass(slots=True, eq=False)
class _Flight:
    """One `fetch` under way."""

    waiting: collections.deque[tuple[int, Get]]
    signer: Signer | None = field(repr=False)
    in_flight: int
    running: dict[pycurl.Curl, tuple[int, Get]] = field(default_factory=dict)


class Engine:
    """A curl multi handle and its easy handles."""

    def __init__(self, ca_bundle: str | None = None, proxy: str = "") -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, CONNECTIONS)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * CONNECTIONS)
        self._idle: list[pycurl.Curl] = []
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._waited = 0.0
        self._busy = False
        self._came = 0
        self._trickles = False
        self._spare: Engine | None = None

    @property
    def seconds_backing_off(self) -> float:
        """Seconds between the tries of requests, while none was under way."""
        return self._waited + (self._spare.seconds_backing_off if self._spare is not None else 0.0)

    def fetch(
        self, gets: Sequence[Get], signer: Callable[[], Signer | None], *, in_flight: int = 256 * 1024 * 1024
    ) -> Iterator[list[tuple[int, Answer | StorageUnreachable]]]:
        """Run GETs side by side; yields them as they land, those that have landed together in one list, each with its
        position in `gets`.

        Failures that may pass (connection, timeout, cut body, 429, 5xx) are tried again with backoff; what does not
        pass within `PATIENCE` is yielded as an error. Other statuses are answers.

        Args:
            in_flight: bytes under way at once; one that is larger goes alone.
        """
        if self._busy:  # whoever takes the answers of another fetch may fetch between two of them
            if self._spare is None:
                self._spare = Engine(self._ca_bundle, self._proxy)
            yield from self._spare.fetch(gets, signer, in_flight=in_flight)
            return
        flight = _Flight(collections.deque(enumerate(gets)), signer(), in_flight)
        self._busy = True
        try:
            while flight.waiting or flight.running:
                self._start(flight)
                self._drive(flight)
                yield from self._landed(flight)
        finally:
            self._busy = False
            for curl in flight.running:
                self._multi.remove_handle(curl)
                curl.close()

    def _start(self, flight: _Flight) -> None:
        now = time.monotonic()
        flying = sum(get.most for _, get in flight.running.values())
        for _ in range(len(flight.waiting)):
            if len(flight.running) >= CONNECTIONS:
                return
            at, get = flight.waiting[0]
            if flight.running and flying + get.most > flight.in_flight:
                return
            flight.waiting.popleft()
            if get.not_before > now:
                flight.waiting.append((at, get))
                continue
            get.buffer = bytearray()
            get.got = get.status = 0
            get.overflow = get.slow = False
            get.first, get.begun = None, now
            get.etag = get.date = get.region = ""
            # a handle cannot be told to sign no longer
            curl = self._idle.pop() if self._idle and flight.signer is not None else self._new()
            self._prepare(curl, get, flight.signer)
            flight.running[curl] = (at, get)
            self._multi.add_handle(curl)
            flying += get.most

    def _drive(self, flight: _Flight) -> None:
        self._multi.perform()
        if flight.running:
            self._multi.select(0.1)
            if self._trickles and len(flight.running) > 1:
                time.sleep(_NAP)
            before = self._came
            self._multi.perform()
            self._trickles = 0 < self._came - before < _TRICKLE
        else:
            pause = max(0.0, min(get.not_before for _, get in flight.waiting) - time.monotonic())
            time.sleep(pause)
            self._waited += pause

    def _landed(self, flight: _Flight) -> Iterator[list[tuple[int, Answer | StorageUnreachable]]]:
        """What is complete, in lists of `BATCH_BYTES` bytes; what is to be tried again waits."""
        landed: list[tuple[int, Answer | StorageUnreachable]] = []
        size = 0
        for curl, code, failed in self._finished():
            at, get = flight.running.pop(curl)
            self._release(curl, keep=flight.signer is not None)
            outcome = self._outcome(get, code, failed)
            if outcome is None:
                flight.waiting.append((at, get))
                continue
            landed.append((at, outcome))
            size += get.got
            if size >= BATCH_BYTES:
                yield landed
                landed, size = [], 0
        if landed:
            yield landed

    def _finished(self) -> Iterator[tuple[pycurl.Curl, int, str]]:
        while True:
            left, good, bad = self._multi.info_read()
            for curl in good:
                yield curl, pycurl.E_OK, ""
            for curl, code, text in bad:
                yield curl, code, text or f"libcurl error {code}"
            if not left:
                return

    def _outcome(self, get: Get, code: int, failed: str) -> Answer | StorageUnreachable | None:
        """The answer; None to try again."""
        short = get.status in (200, 206) and get.got < get.least and get.tries < _SHORT_TRIES
        if not failed and get.status not in _RETRIED and not short:
            body = memoryview(get.buffer)[: get.got]
            as_asked = get.status != 206 or get.first in (None, get.offset)
            return Answer(get.status, body, get.etag, get.date, get.size, get.region, as_asked)
        if failed and get.overflow:
            return Answer(413, memoryview(b""), get.etag, get.date, get.size, get.region)
        if code in FINAL:
            return StorageUnreachable(failed)
        if get.slow:
            failed = f"it sends less than {_SLOWEST} bytes a second, {get.got} so far"
        now = time.monotonic()
        get.tries += 1
        get.failed_at = get.failed_at or now
        get.failure = failed or (f"{get.got} bytes of {get.least}" if short else f"HTTP status {get.status}")
        if now - get.failed_at >= PATIENCE:
            return StorageUnreachable(f"{get.failure}, {get.tries} tries in {now - get.failed_at:.0f} s")
        get.not_before = now + backoff(get.tries)
        return None

    # ------------------------------------------------------------ handles

    def _new(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TCP_NODELAY, 1)
        curl.setopt(pycurl.BUFFERSIZE, 512 * 1024)
        curl.setopt(pycurl.CONNECTTIMEOUT, _CONNECT_SECONDS)
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, _STALL_SECONDS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, "securedata")
        set_way(curl, self._ca_bundle, self._proxy)
        return curl

    def _prepare(self, curl: pycurl.Curl, get: Get, signer: Signer | None) -> None:
        curl.setopt(pycurl.URL, get.url)
        if get.length is None:
            curl.unsetopt(pycurl.RANGE)
        else:
            curl.setopt(pycurl.RANGE, f"{get.offset}-{get.offset + get.length - 1}")
        curl.setopt(pycurl.HTTPHEADER, signed(curl, signer))
        curl.setopt(pycurl.TIMEOUT, _LEAST_SECONDS + min(get.most, 2**32) // _SLOWEST)
        curl.setopt(pycurl.WRITEFUNCTION, self._writer(get))
        curl.setopt(pycurl.HEADERFUNCTION, header_reader(get))

    def _writer(self, get: Get) -> Callable[[bytes], int]:
        def write(data: bytes) -> int:
            self._came += len(data)
            # the buffer is made when the server has said how much comes, and never larger than what was asked for
            if not get.got:
                most = get.most if get.status in (200, 206) else _ERROR_BODY
                get.buffer = bytearray(min(get.size, most, _AT_FIRST))
            end = get.got + len(data)
            if len(data) < _DROPS and time.monotonic() - get.begun > _LEAST_SECONDS + end // _SLOWEST:
                get.slow = True  # the time of the whole request is that of the most that may come
                return 0
            if end > len(get.buffer):
                if get.status not in (200, 206):
                    return len(data)  # the rest of a long error text
                if end > get.most:
                    get.overflow = True
                    return 0
                get.buffer.extend(bytes(end - len(get.buffer)))  # no length was told, or a very large one
            get.buffer[get.got : end] = data
            get.got = end
            return len(data)

        return write

    def _release(self, curl: pycurl.Curl, keep: bool) -> None:
        self._multi.remove_handle(curl)
        if keep and len(self._idle) < CONNECTIONS:
            self._idle.append(curl)
        else:
            curl.close()


def set_way(curl: pycurl.Curl, ca_bundle: str | None, proxy: str) -> None:
    """The proxy that botocore would use, so that all requests go one way, and whom to trust on it.

    "" is no proxy, whatever the environment says. In no_proxy libcurl reads more than botocore, 10.0.0.0/8 for one; who
    found the proxy has looked at it already.
    """
    curl.setopt(pycurl.PROXY, proxy)
    curl.setopt(pycurl.NOPROXY, "")
    if ca_bundle:
        curl.setopt(pycurl.CAINFO, ca_bundle)
        curl.setopt(pycurl.PROXY_CAINFO, ca_bundle)


def signed(curl: pycurl.Curl, signer: Signer | None, body: Buffer = b"") -> list[str]:
    """Have a request signed; returns the headers that this takes."""
    if signer is None:
        return []
    curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{signer.region}:s3")
    curl.setopt(pycurl.USERPWD, f"{signer.access_key}:{signer.secret_key}")
    token = [f"x-amz-security-token: {signer.token}"] if signer.token else []
    digest = hashlib.sha256(body).hexdigest() if signer.payload else "UNSIGNED-PAYLOAD"
    return [f"x-amz-content-sha256: {digest}", *token]


def backoff(tries: int) -> float:
    """Seconds to wait after so many tries, with jitter."""
    longest: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(tries - 1, 10))
    return longest * (0.5 + random.random())  # noqa: S311 - jitter, no secret


_local = threading.local()
_engines: Instances[Engine] = Instances(kept=True)


def engine(ca_bundle: str | None = None, proxy: str = "") -> Engine:
    """This thread's engine for a CA bundle and a proxy; a forked child gets new ones."""
    known, key = _known(), (os.getpid(), ca_bundle, proxy)
    if key not in known:
        known[key] = Engine(ca_bundle, proxy)
        _engines.add(known[key])
    return known[key]


def seconds_backing_off() -> float:
    """Seconds that this thread has spent between the tries of its requests, with none under way."""
    return sum(one.seconds_backing_off for (pid, *_), one in _known().items() if pid == os.getpid())


def _known() -> dict[tuple[int, str | None, str], Engine]:
    known: dict[tuple[int, str | None, str], Engine] = _local.__dict__.setdefault("engines", {})
    return known
