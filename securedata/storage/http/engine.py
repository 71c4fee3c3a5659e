"""Many requests at once over libcurl, with signatures, keep-alive and retries.

libcurl has no threads of its own, so handles created after a fork just work. An engine belongs to one thread of one
process; `engine()` creates it on first use.
"""

from __future__ import annotations

import collections
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic

import pycurl

from securedata.errors import StorageUnreachable
from securedata.forks import Instances
from securedata.storage.base import BATCH_BYTES
from securedata.storage.http.request import A, Arrivals, Request
from securedata.storage.http.settings import Signer, set_route, sign, signed_headers

CONNECTIONS = 32

_CONNECT_SECONDS = 10
_NAP, _TRICKLE = 0.0005, 64 * 1024
"""Seconds to let answers gather if fewer bytes arrived at once: one packet at a time takes up to twice the CPU."""


_Idle = collections.defaultdict[type, list[tuple[pycurl.Curl, Signer | None]]]
"""Idle handles, each with its signer, by the kind of request that they are configured for."""


@dataclass(slots=True, eq=False)
class _Flight(Generic[A]):
    """One `run` under way."""

    waiting: collections.deque[tuple[int, Request[A]]]
    lazy: Iterator[tuple[int, Request[A]]] | None
    signer: Signer | None = field(repr=False)
    at_most: int
    in_flight: int
    idle: _Idle
    running: dict[pycurl.Curl, tuple[int, Request[A]]] = field(default_factory=dict)
    flying: int = 0

    def has_room(self) -> bool:
        """Whether another request can be taken, beside those under way or waiting to be retried."""
        return self.lazy is not None and len(self.running) + len(self.waiting) < self.at_most


class Engine:
    """A curl multi handle and its easy handles."""

    def __init__(self, ca_bundle: str | None = None, proxy: str = "") -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, CONNECTIONS)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * CONNECTIONS)
        # Keyed by whether they sign, which a handle cannot undo. The multi handle keeps the connections, for all.
        self._idle: dict[bool, _Idle] = {signs: collections.defaultdict(list) for signs in (False, True)}
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._waited = 0.0
        self._busy = False
        self._arrivals = Arrivals()
        self._trickles = False
        self._spare: Engine | None = None

    @property
    def seconds_backing_off(self) -> float:
        """Seconds spent waiting to retry requests, while none was under way."""
        return self._waited + (self._spare.seconds_backing_off if self._spare is not None else 0.0)

    def run(
        self,
        requests: Iterable[Request[A]],
        signer: Signer | None,
        *,
        at_most: int = CONNECTIONS,
        in_flight: int = sys.maxsize,
        lazily: bool = False,
    ) -> Iterator[list[tuple[int, A | StorageUnreachable]]]:
        """Run several requests at once.

        Yields answers as they arrive, with their positions in `requests`; those that arrived together in one list.
        Temporary failures are retried with backoff; a failure that persists is yielded as an error.

        Args:
            at_most: the most requests under way at once.
            in_flight: the most bytes under way at once; a request above it runs alone.
            lazily: for requests that take long to make or much memory: take the next only when fewer than `at_most`
                are under way or waiting to be retried.
        """
        if self._busy:  # a caller may start another run between two answers of this one
            if self._spare is None:
                self._spare = Engine(self._ca_bundle, self._proxy)
            yield from self._spare.run(requests, signer, at_most=at_most, in_flight=in_flight, lazily=lazily)
            return
        numbered = enumerate(requests)
        flight = _Flight(
            collections.deque(() if lazily else numbered),
            numbered if lazily else None,
            signer,
            at_most,
            in_flight,
            self._idle[signer is not None],
        )
        self._busy = True
        try:
            while flight.waiting or flight.running or flight.lazy is not None:
                self._start(flight)
                self._drive(flight)
                yield from self._landed(flight)
        finally:
            self._busy = False
            for curl in flight.running:
                self._multi.remove_handle(curl)
                curl.close()

    def _start(self, flight: _Flight[A]) -> None:
        if flight.lazy is not None and flight.has_room():
            taken = next(flight.lazy, None)
            if taken is None:
                flight.lazy = None
            else:
                flight.waiting.append(taken)
        now = time.monotonic()
        for _ in range(len(flight.waiting)):
            if len(flight.running) >= flight.at_most:
                return
            at, request = flight.waiting[0]
            if flight.running and flight.flying + request.most > flight.in_flight:
                return
            flight.waiting.popleft()
            if request.not_before > now:
                flight.waiting.append((at, request))
                continue
            idle = flight.idle[type(request)]
            curl, signer = idle.pop() if idle else (self._new(request), None)
            if flight.signer is not None and signer != flight.signer:
                sign(curl, flight.signer)
            request.begin(now)
            headers = request.prepare(curl, self._arrivals)
            curl.setopt(pycurl.URL, request.url)
            curl.setopt(pycurl.HTTPHEADER, headers + signed_headers(flight.signer, request.body))
            curl.setopt(pycurl.HEADERFUNCTION, request.header_reader())
            flight.running[curl] = (at, request)
            self._multi.add_handle(curl)
            flight.flying += request.most

    def _drive(self, flight: _Flight[A]) -> None:
        self._multi.perform()
        if flight.has_room():
            return  # take the next one first
        if flight.running:
            self._multi.select(0.1)
            if self._trickles and len(flight.running) > 1:
                time.sleep(_NAP)
            before = self._arrivals.count
            self._multi.perform()
            self._trickles = 0 < self._arrivals.count - before < _TRICKLE
        elif flight.waiting:
            pause = max(0.0, min(request.not_before for _, request in flight.waiting) - time.monotonic())
            time.sleep(pause)
            self._waited += pause

    def _landed(self, flight: _Flight[A]) -> Iterator[list[tuple[int, A | StorageUnreachable]]]:
        """Yield complete answers, in lists of about `BATCH_BYTES` bytes; queue requests that are to be retried."""
        landed: list[tuple[int, A | StorageUnreachable]] = []
        size = 0
        for curl, code, failed in self._finished():
            at, request = flight.running.pop(curl)
            flight.flying -= request.most
            self._multi.remove_handle(curl)
            if len(idle := flight.idle[type(request)]) < CONNECTIONS:
                idle.append((curl, flight.signer))
            else:
                curl.close()
            outcome = request.outcome(code, failed)
            if outcome is None:
                flight.waiting.append((at, request))
                continue
            landed.append((at, outcome))
            size += request.got
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

    def _new(self, request: Request[A]) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TCP_NODELAY, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT, _CONNECT_SECONDS)
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, "securedata")
        set_route(curl, self._ca_bundle, self._proxy)
        request.configure(curl)
        return curl


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
    """Seconds that this thread has waited to retry requests, with none under way."""
    return sum(one.seconds_backing_off for (pid, *_), one in _known().items() if pid == os.getpid())


def _known() -> dict[tuple[int, str | None, str], Engine]:
    known: dict[tuple[int, str | None, str], Engine] = _local.__dict__.setdefault("engines", {})
    return known
