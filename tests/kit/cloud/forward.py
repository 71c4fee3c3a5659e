"""What stands between us and a server: a forwarder that counts, speaks TLS or loses an answer, and a proxy."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

_SIZE = 1 << 16


class Forward:
    """Passes bytes on to a server.

    Attributes:
        connections: how many were made to it.
        requests: the first line of every request.
        received: bytes that the server has sent, headers included.
        alter: what it makes of the bytes that a client sends, if anything.
        lose: the answer to the next request whose first line begins so is lost, and the connection with it.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._counting = threading.Lock()
        self.requests: list[str] = []
        self.received = 0
        self.alter: Callable[[bytes], bytes] | None = None
        self.lose: str | None = None
        self.lost = 0

    def serve(self) -> None:
        """Until the listener is shut down."""
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._connection, args=(ours,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # a forked child may hold it too
        self._listener.close()

    def _connection(self, ours: socket.socket) -> None:
        try:
            if self._tls is not None:
                ours = self._tls.wrap_socket(ours, server_side=True)
            theirs = socket.create_connection(self._target)
        except OSError:  # a client that does not trust the certificate, for example
            ours.close()
            return
        losing = threading.Event()

        def up() -> None:
            with ours, theirs:
                while data := _receive(ours):
                    line = data.partition(b"\r\n")[0].decode("latin-1")
                    if " HTTP/1." in line:
                        self.requests.append(line)
                        if self.lose is not None and line.startswith(self.lose):
                            self.lose = None
                            losing.set()
                    if not _send(theirs, self.alter(data) if self.alter is not None else data):
                        break
                _hang_up(theirs)

        def down() -> None:
            while data := _receive(theirs):
                with self._counting:
                    self.received += len(data)
                if losing.is_set() and not data.startswith(b"HTTP/1.1 100"):
                    self.lost += 1
                    break
                if not _send(ours, data):
                    break
            _hang_up(ours)

        threading.Thread(target=down, daemon=True).start()
        up()


def _receive(one: socket.socket) -> bytes:
    try:
        return one.recv(_SIZE)
    except OSError:
        return b""


def _send(one: socket.socket, data: bytes) -> bool:
    try:
        one.sendall(data)
    except OSError:
        return False
    return True


def _hang_up(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@contextmanager
def forward(target: str, tls: ssl.SSLContext | None = None) -> Iterator[Forward]:
    """A forwarder to `target`, http://HOST:PORT, for as long as the block runs."""
    made = Forward(target, tls)
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server that answers as the handler says; yields its endpoint."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class Handler(BaseHTTPRequestHandler):
    """Answers every method by `answer`, and says nothing on standard error."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Proxy(Handler):
    """A proxy for http:// URLs."""

    seen: ClassVar[list[str]] = []

    def answer(self, body: bytes) -> None:
        self.seen.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection(parts.netloc)
        try:
            target = self.path.partition(parts.netloc)[2]
            connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            got = connection.getresponse()
            kept = {name: value for name, value in got.getheaders() if name.lower() not in ("date", "server")}
            content = got.read()
            kept.pop("Transfer-Encoding", None)
            self.say(got.status, content, **{**kept, "Content-Length": str(len(content))})
        finally:
            connection.close()
