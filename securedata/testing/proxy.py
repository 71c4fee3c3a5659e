"""A proxy in front of a real HTTP server that injects faults. For tests: it holds whole answers in memory.

with FaultProxy("http://127.0.0.1:8333") as proxy:
    rule = proxy.plan(reset(after=1000), method="GET", path="objects/", times=2)
    ...                                      # point a client at proxy.endpoint
    assert rule.hits == 2

The Host header is passed through unchanged, so that signatures hold. A fault is any callable that takes an `Exchange`;
requests that no rule matches are passed through. Processes forked meanwhile, such as the workers of a DataLoader, do
not hold the proxy's sockets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from securedata.forks import Instances

_SIZE = 1 << 16
_MOST_HEAD = 1 << 16
_PATIENCE = 60.0  # seconds for the server to answer


class Request(NamedTuple):
    """A client's request. `head` is the bytes of request line and headers; `headers` have lower-case names.

    `body` is the part that came with the head, until all of it is read.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes


class Answer(NamedTuple):
    """A server's answer: `head` with its blank line, and `body` as on the wire."""

    status: int
    head: bytes
    body: bytes

    def with_length(self, length: int) -> Answer:
        """The same with another Content-Length, which may be wrong."""
        lines = self.head.rstrip(b"\r\n").split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith((b"content-length:", b"transfer-encoding:"))]
        return self._replace(head=b"\r\n".join([*kept, b"Content-Length: %d" % length, b"", b""]))


Fault: TypeAlias = Callable[["Exchange"], None]


@dataclass(eq=False)
class Rule:
    """Which requests get a fault.

    Attributes:
        method: the method; '' for any.
        path: text that the target contains, before its query.
        skip: how many matching requests are passed through first.
        times: how many get the fault after that; None for all.
        hits: how many got it so far.
    """

    fault: Fault
    method: str = ""
    path: str = ""
    skip: int = 0
    times: int | None = 1
    hits: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Whether the rule applies to a request; counts it."""
        if self.method not in ("", request.method) or self.path not in request.target.partition("?")[0]:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


class _Over(Exception):
    """Raised to close the connection to the client."""


class Exchange:
    """One request under way."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, request: Request) -> None:
        self._proxy, self._client = proxy, client
        self._whole = False
        self.request = request

    def read(self) -> None:
        """Read all of the request's body from the client. `forward`, `send` and `pause` do this first."""
        if not self._whole:
            self.request = self.request._replace(body=_body(self._client, self.request))
            self._whole = True
            self._proxy.requests.append(self.request)

    def read_some(self, size: int) -> None:
        """Read so many bytes of the request's body from the client, or a few more."""
        body = bytearray(self.request.body)
        while len(body) < size:
            _more(self._client, body)
        self.request = self.request._replace(body=bytes(body))

    def forward(self) -> Answer:
        """The server's answer to the request."""
        self.read()
        head = b"\r\n".join(
            line
            for line in self.request.head.split(b"\r\n")
            if not line.lower().startswith((b"expect:", b"connection:", b"transfer-encoding:", b"content-length:"))
        ).rstrip(b"\r\n")
        if self.request.body or "content-length" in self.request.headers:
            head += b"\r\nContent-Length: %d" % len(self.request.body)
        with socket.create_connection(self._proxy.target, timeout=_PATIENCE) as server:
            server.sendall(head + b"\r\nConnection: close\r\n\r\n" + self.request.body)
            received = bytearray()
            while data := server.recv(_SIZE):
                received += data
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        # the connection to the client stays open, although ours to the server is closed
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        answer = Answer(int(head.split(b" ", 2)[1]), b"\r\n".join([*lines, b"", b""]), body)
        framed = self.request.method == "HEAD" or answer.status in (204, 304)
        named = any(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines)
        return answer if framed or named else answer.with_length(len(body))

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.read()
        self._client.sendall(data)

    def pause(self, seconds: float = float("inf")) -> None:
        """Wait. Ends the exchange if the client closes its connection, or the proxy is closed."""
        self.read()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([self._client], [], [], min(left, 0.05))
            if self._proxy.closed or (readable and not self._client.recv(1, socket.MSG_PEEK)):
                raise _Over
            if readable:
                time.sleep(min(left, 0.05))

    def close(self) -> None:
        """Close the connection normally."""
        raise _Over

    def reset(self) -> None:
        """Reset the connection."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Over


def passed(exchange: Exchange) -> None:
    """No fault."""
    answer = exchange.forward()
    exchange.send(answer.head + answer.body)


class FaultProxy:
    """Listens on a free port of this machine.

    Attributes:
        endpoint: http://127.0.0.1:PORT.
        target: host and port of the server.
        requests: all complete requests, in order.
        closed: whether it was closed.
    """

    def __init__(self, target: str) -> None:
        """`target`: http://HOST:PORT."""
        parts = urlsplit(target)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError(f"the proxy's target must be http://HOST:PORT, not {target!r}")
        self.target = (parts.hostname, parts.port)
        self.requests: list[Request] = []
        self.closed = False
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._reopening: threading.Timer | None = None
        self._port = 0
        self._listen()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        _proxies.add(self)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def plan(self, fault: Fault, *, method: str = "", path: str = "", skip: int = 0, times: int | None = 1) -> Rule:
        """Apply a fault to requests from now on; see `Rule`. If several rules match, the first one counts."""
        rule = Rule(fault, method, path, skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules and requests; listen again if connections are refused."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()
        self._stop_waiting()
        self._listen()

    def refuse(self, seconds: float = float("inf")) -> None:
        """Close all connections, and refuse new ones for so many seconds, or until `clear`."""
        self._hang_up()
        if seconds < float("inf"):
            self._reopening = threading.Timer(seconds, self._listen)
            self._reopening.daemon = True
            self._reopening.start()

    def close(self) -> None:
        """Close the proxy and all connections."""
        self.closed = True
        self._stop_waiting()
        self._hang_up()

    # ------------------------------------------------------------ connections

    def _stop_waiting(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening.join()
            self._reopening = None

    def _listen(self) -> None:
        with self._lock:
            if self.closed or self._listener is not None:
                return
            self._listener = listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, _Over):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := _receive(client)) is not None:
                    with self._lock:
                        fault = next((rule.fault for rule in self._rules if rule.takes(request)), passed)
                    fault(Exchange(self, client, request))
                    if request.headers.get("connection", "").lower() == "close":
                        break
        finally:  # any other error of a fault goes on, for its test to see
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _hang_up(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            ends = [*self._clients, *([listener] if listener is not None else [])]
        for one in ends:
            with contextlib.suppress(OSError):  # already closed
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it, which closes it
        if listener is not None:
            listener.close()

    def _forget(self) -> None:
        """Close a forked child's copies of the sockets: a connection ends only once no process holds it."""
        self.closed = True
        for one in [*self._clients, *([self._listener] if self._listener is not None else [])]:
            one.close()


def _receive(client: socket.socket) -> Request | None:
    """The next request of a connection, with its body not read yet; None at the end."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        data = client.recv(_SIZE)
        if not data or len(received) > _MOST_HEAD:
            return None
        received += data
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.strip().lower(): it.strip() for name, _, it in (line.partition(":") for line in lines[1:])}
    if headers.get("expect", "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Request(method, target, headers, head, rest)


def _body(client: socket.socket, request: Request) -> bytes:
    """All of a request's body."""
    body = bytearray(request.body)
    if request.headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunks(client, body)
    wanted = int(request.headers.get("content-length", 0))
    while len(body) < wanted:
        _more(client, body)
    return bytes(body)


def _chunks(client: socket.socket, raw: bytearray) -> bytes:
    """The body, from its chunks."""
    body = bytearray()
    while True:
        while b"\r\n" not in raw:
            _more(client, raw)
        line, _, rest = bytes(raw).partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        raw = bytearray(rest)
        while len(raw) < size + 2:
            _more(client, raw)
        if size == 0:
            return bytes(body)
        body += raw[:size]
        del raw[: size + 2]


def _more(client: socket.socket, buffer: bytearray) -> None:
    data = client.recv(_SIZE)
    if not data:
        raise _Over
    buffer += data


_proxies = Instances(in_child=FaultProxy._forget)
