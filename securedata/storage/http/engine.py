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
from typing import Any, Generic

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
_AWAY = 1.0
"""Seconds without a turn after which the clocks of the requests under way are set right."""


_Idle = collections.defaultdict[type, list[tuple[pycurl.Curl, Signer | None]]]
"""Idle handles, each with its signer, by the kind of request that they are configured for."""


class Flight(Generic[A]):
    """Requests that were started together. It belongs to the thread and the process of its engine.

    Driving one flight of an engine drives all. All `answers` of a flight must be taken, or the flight cancelled.
    """

    __slots__ = ("_engine", "_pid", "at_most", "in_flight", "landed", "lazy", "running", "signer", "waiting")

    def __init__(
        self,
        engine: Engine,
        requests: Iterable[Request[A]],
        signer: Signer | None,
        at_most: int,
        in_flight: int,
        lazily: bool,
    ) -> None:
        numbered = enumerate(requests)
        self._engine, self._pid = engine, os.getpid()
        self.signer, self.at_most, self.in_flight = signer, at_most, in_flight
        self.waiting: collections.deque[tuple[int, Request[A]]] = collections.deque(() if lazily else numbered)
        self.lazy: Iterator[tuple[int, Request[A]]] | None = numbered if lazily else None
        self.running = 0
        self.landed: collections.deque[tuple[int, A | StorageUnreachable, int]] = collections.deque()
        """Position, answer, and how many bytes of a body it holds."""

    def __repr__(self) -> str:
        return "<Flight>"

    def has_room(self) -> bool:
        """Whether another request can be taken, beside those under way or waiting to be retried."""
        return self.lazy is not None and self.running + len(self.waiting) < self.at_most

    def poll(self) -> bool:
        """Send and receive what can be without waiting; returns whether there is more to come."""
        if self._pid != os.getpid():  # a forked child must not use the connections of its parent
            return False
        self._engine.turn()
        return bool(self.running or self.waiting or self.lazy is not None)

    def answers(self) -> Iterator[list[tuple[int, A | StorageUnreachable]]]:
        """Wait for the answers; see `Engine.run`. To be called once."""
        if self._pid != os.getpid():
            raise RuntimeError("these requests were started by the process that forked this one")
        try:
            while self.landed or self.waiting or self.running or self.lazy is not None:
                if self.landed:
                    yield self._engine.collect(self)
                else:
                    self._engine.turn(self)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Abandon what has not been taken; nothing happens if there is nothing left."""
        if self._pid == os.getpid():
            self._engine.drop(self)


class Engine:
    """A curl multi handle and its easy handles, for several flights at once.

    They share the connections, and the bytes that may be under way or wait to be taken. What waits for one of them
    goes first, and always has one request under way; then the one that was started first.
    """

    def __init__(self, ca_bundle: str | None = None, proxy: str = "") -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 2 * CONNECTIONS)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * CONNECTIONS)
        # Keyed by whether they sign, which a handle cannot undo. The multi handle keeps the connections, for all.
        self._idle: dict[bool, _Idle] = {signs: collections.defaultdict(list) for signs in (False, True)}
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._flights: list[Flight[Any]] = []
        self._running: dict[pycurl.Curl, tuple[Flight[Any], int, Request[Any]]] = {}
        self._flying = 0
        """Bytes that may arrive, and those that wait to be taken."""
        self._turned = 0.0
        self._arrivals = Arrivals()
        self._trickles = False
        self.seconds_backing_off = 0.0
        """Seconds spent waiting to retry requests, while none was under way."""

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
        yield from self.start(requests, signer, at_most=at_most, in_flight=in_flight, lazily=lazily).answers()

    def start(
        self,
        requests: Iterable[Request[A]],
        signer: Signer | None,
        *,
        at_most: int = CONNECTIONS,
        in_flight: int = sys.maxsize,
        lazily: bool = False,
    ) -> Flight[A]:
        """Like `run`, without waiting: nothing is sent before the flight is driven."""
        flight = Flight(self, requests, signer, at_most, in_flight, lazily)
        self._flights.append(flight)
        return flight

    def turn(self, awaited: Flight[A] | None = None) -> None:
        """Send and receive what can be without waiting; then, for `awaited`, wait a moment if none of it has landed."""
        if awaited is not None and awaited.lazy is not None and awaited.has_room():
            # it may itself run requests here
            taken = next(awaited.lazy, None)
            if taken is None:
                awaited.lazy = None
            else:
                awaited.waiting.append(taken)
        now = time.monotonic()
        away, before = now - self._turned, self._arrivals.count
        if away > _AWAY:
            self._excuse(away)
        self._begin(awaited, now)
        self._multi.perform()
        self._land()
        if awaited is not None and not awaited.has_room():  # else take the next one first
            if not awaited.landed:
                self._wait(awaited)
                before = self._arrivals.count
                self._multi.perform()
                self._land()
            elif self._trickles and awaited.running and away < _NAP:
                time.sleep(_NAP)
                self._multi.perform()
                self._land()
            self._trickles = 0 < self._arrivals.count - before < _TRICKLE
        self._turned = time.monotonic()

    def _excuse(self, away: float) -> None:
        """Do not count the seconds for which nobody drove the engine, such as those of a decoder, against a server."""
        for _, _, request in self._running.values():
            request.excuse(away)
        for flight in self._flights:
            for _, request in flight.waiting:
                if request.tries:
                    request.excuse(away)

    def _begin(self, awaited: Flight[Any] | None, now: float) -> None:
        if awaited is not None and awaited.waiting and not self._begin_of(awaited, now, True):
            return
        for flight in self._flights:
            if flight.waiting and flight is not awaited and not self._begin_of(flight, now, False):
                return

    def _begin_of(self, flight: Flight[Any], now: float, awaited: bool) -> bool:
        """Send what a flight may have under way; returns whether there is room for others."""
        for _ in range(len(flight.waiting)):
            if flight.running >= flight.at_most:
                return True
            at, request = flight.waiting[0]
            alone = not flight.running if awaited else not self._flying
            full = len(self._running) >= CONNECTIONS or self._flying + request.most > flight.in_flight
            if full and not alone:
                return False
            flight.waiting.popleft()
            if request.not_before > now:
                flight.waiting.append((at, request))
                continue
            self._send(flight, at, request, now)
        return True

    def _send(self, flight: Flight[Any], at: int, request: Request[Any], now: float) -> None:
        idle = self._idle[flight.signer is not None][type(request)]
        curl, signer = idle.pop() if idle else (self._new(request), None)
        if flight.signer is not None and signer != flight.signer:
            sign(curl, flight.signer)
        request.begin(now)
        headers = request.prepare(curl, self._arrivals)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, headers + signed_headers(flight.signer, request.body))
        curl.setopt(pycurl.HEADERFUNCTION, request.header_reader())
        self._running[curl] = (flight, at, request)
        self._multi.add_handle(curl)
        flight.running += 1
        self._flying += request.most

    def _wait(self, awaited: Flight[Any]) -> None:
        """Wait until something arrives, or a request can be retried."""
        if self._running:
            self._multi.select(0.1)
            if self._trickles and len(self._running) > 1:
                time.sleep(_NAP)
        elif awaited.waiting:
            pause = max(0.0, min(request.not_before for _, request in awaited.waiting) - time.monotonic())
            time.sleep(pause)
            self.seconds_backing_off += pause

    def _land(self) -> None:
        """Hand complete answers to their flights, and queue requests that are to be retried."""
        for curl, code, failed in self._finished():
            flight, at, request = self._running.pop(curl)
            flight.running -= 1
            self._flying -= request.most
            self._multi.remove_handle(curl)
            if len(idle := self._idle[flight.signer is not None][type(request)]) < CONNECTIONS:
                idle.append((curl, flight.signer))
            else:
                curl.close()
            outcome = request.outcome(code, failed)
            if outcome is None:
                flight.waiting.append((at, request))
            else:
                flight.landed.append((at, outcome, request.got))
                self._flying += request.got

    def collect(self, flight: Flight[A]) -> list[tuple[int, A | StorageUnreachable]]:
        """Take answers that have landed, about `BATCH_BYTES` bytes of them."""
        group: list[tuple[int, A | StorageUnreachable]] = []
        size = 0
        while flight.landed and size < BATCH_BYTES:
            at, outcome, got = flight.landed.popleft()
            group.append((at, outcome))
            size += got
        self._flying -= size
        return group

    def drop(self, flight: Flight[Any]) -> None:
        """Forget a flight: close what it has under way."""
        if flight not in self._flights:
            return
        self._flights.remove(flight)
        for curl in [curl for curl, (its, _, _) in self._running.items() if its is flight]:
            self._flying -= self._running.pop(curl)[2].most
            self._multi.remove_handle(curl)
            curl.close()
        self._flying -= sum(got for _, _, got in flight.landed)
        flight.running, flight.lazy = 0, None
        flight.waiting.clear()
        flight.landed.clear()

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
