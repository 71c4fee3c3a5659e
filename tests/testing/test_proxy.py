"""The fault proxy of securedata.testing makes the faults that it is asked for, and passes all else through."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from securedata.testing import faults
from securedata.testing.proxy import Fault, FaultProxy

BODY = bytes(range(256)) * 40


class Handler(BaseHTTPRequestHandler):
    """Answers with BODY, and notes what came."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, dict(self.headers.items()), body))
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(BODY)

    do_PUT = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def seen() -> list[tuple[str, str, dict[str, str], bytes]]:
    return []


@pytest.fixture
def proxy(seen: list[Any]) -> Iterator[FaultProxy]:
    handler = type("Noting", (Handler,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with FaultProxy(f"http://127.0.0.1:{server.server_address[1]}") as made:
            yield made
        server.shutdown()


def connect(proxy: FaultProxy, timeout: float = 5) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=timeout)


def get(proxy: FaultProxy, path: str = "/one", timeout: float = 5) -> tuple[int, bytes]:
    connection = connect(proxy, timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------------------ passed through


def test_requests_go_through_as_they_came(proxy: FaultProxy, seen: list[Any]) -> None:
    connection = connect(proxy)
    for number in range(3):  # on one connection
        connection.request("GET", f"/one?n={number}", headers={"X-Signed": "yes"})
        assert connection.getresponse().read() == BODY
    connection.request("PUT", "/two", b"content")
    assert connection.getresponse().read() == BODY
    connection.request("PUT", "/empty", b"")
    assert connection.getresponse().read() == BODY
    connection.request("PUT", "/pieces", iter([b"con", b"tent"]), encode_chunked=True)
    assert connection.getresponse().read() == BODY
    connection.request("HEAD", "/head")
    answer = connection.getresponse()
    assert (answer.read(), answer.headers["Content-Length"]) == (b"", str(len(BODY)))
    connection.request("GET", "/chunked")
    assert connection.getresponse().read() == b"abc"
    connection.close()
    host = urlsplit(proxy.endpoint).netloc
    assert [(method, path, body) for method, path, _, body in seen] == [
        *(("GET", f"/one?n={number}", b"") for number in range(3)),
        ("PUT", "/two", b"content"),
        ("PUT", "/empty", b""),
        ("PUT", "/pieces", b"content"),
        ("HEAD", "/head", b""),
        ("GET", "/chunked", b""),
    ]
    assert {headers["Host"] for _, _, headers, _ in seen} == {host}  # what the client signed
    assert seen[0][2]["X-Signed"] == "yes"
    assert [(one.method, one.target) for one in proxy.requests] == [(method, path) for method, path, _, _ in seen]


def test_a_client_that_waits_for_a_go_is_told_to(proxy: FaultProxy, seen: list[Any]) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(proxy.endpoint).port or 0), 5) as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert seen[0][3] == b"abc"


def test_rules_say_which_requests(proxy: FaultProxy) -> None:
    rule = proxy.plan(faults.status(503), method="GET", path="/one", skip=1, times=2)
    assert get(proxy, "/other?x=/one")[0] == 200
    assert [get(proxy)[0] for _ in range(4)] == [200, 503, 503, 200]
    assert rule.hits == 2
    proxy.plan(faults.status(500), times=None)
    proxy.plan(faults.status(503), times=None)  # the first that fits counts
    assert {get(proxy)[0] for _ in range(3)} == {500}
    proxy.clear()
    assert get(proxy) == (200, BODY)


def test_a_proxy_stands_in_front_of_http_only() -> None:
    for target in ("https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1"):
        with pytest.raises(ValueError, match="must be http"):
            FaultProxy(target)


# ------------------------------------------------------------------------------------------------------------- faults


def test_latency(proxy: FaultProxy) -> None:
    proxy.plan(faults.latency(0.3))
    began = time.monotonic()
    assert get(proxy) == (200, BODY)
    assert 0.3 <= time.monotonic() - began < 3


@pytest.mark.parametrize("after", [0, 1, len(BODY) - 1])
def test_reset(proxy: FaultProxy, after: int) -> None:
    proxy.plan(faults.reset(after))
    with closing(connect(proxy)) as connection:
        connection.request("GET", "/one")
        answer = connection.getresponse()
        assert answer.read(after) == BODY[:after]
        with pytest.raises(ConnectionResetError):
            answer.read()
    assert get(proxy) == (200, BODY)


@pytest.mark.parametrize("fault", [faults.stall(10), faults.silence])
def test_nothing_comes_any_more(proxy: FaultProxy, seen: list[Any], fault: Fault) -> None:
    proxy.plan(fault)
    with pytest.raises(TimeoutError):
        get(proxy, timeout=0.5)
    assert len(seen) == (fault is not faults.silence)


def test_truncated(proxy: FaultProxy) -> None:
    proxy.plan(faults.truncated(100))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(proxy)
    assert caught.value.partial == BODY[:100]
    proxy.plan(faults.truncated(100, agrees=True))
    connection = connect(proxy)
    for content in (BODY[:100], BODY):  # it looks whole, and the connection goes on
        connection.request("GET", "/one")
        assert connection.getresponse().read() == content
    connection.close()


def test_miscounted(proxy: FaultProxy) -> None:
    proxy.plan(faults.miscounted(10))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(proxy)
    assert caught.value.partial == BODY
    proxy.plan(faults.miscounted(-10))
    assert get(proxy) == (200, BODY[:-10])


def test_drip(proxy: FaultProxy) -> None:
    proxy.plan(faults.drip(len(BODY) // 4, 0.1))
    began = time.monotonic()
    assert get(proxy) == (200, BODY)
    assert time.monotonic() - began >= 0.3


def test_status(proxy: FaultProxy, seen: list[Any]) -> None:
    proxy.plan(faults.status(503, "SlowDown"))
    status, body = get(proxy)
    assert (status, b"<Code>SlowDown</Code>" in body) == (503, True)
    proxy.plan(faults.status(429, body=b"{}", retry_after="1"))
    connection = connect(proxy)
    connection.request("GET", "/one")
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.headers["Retry-After"]) == (429, b"{}", "1")
    connection.close()
    assert seen == []


@pytest.mark.parametrize("fault", [faults.lost_answer, faults.lost_request])
def test_lost(proxy: FaultProxy, seen: list[Any], fault: Fault) -> None:
    proxy.plan(fault)
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        get(proxy)
    assert len(seen) == (fault is faults.lost_answer)


def test_cut_request(proxy: FaultProxy, seen: list[Any]) -> None:
    proxy.plan(faults.cut_request(1_000))
    with closing(connect(proxy)) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.request("PUT", "/one", iter([bytes(100_000)] * 1_000), {"Content-Length": "100000000"})
    assert (seen, proxy.requests) == ([], [])
    assert get(proxy) == (200, BODY)


def test_flipped(proxy: FaultProxy) -> None:
    proxy.plan(faults.flipped(-1))
    _, body = get(proxy)
    assert (body[:-1], body[-1] ^ BODY[-1]) == (BODY[:-1], 1)


def test_connections_are_refused_for_a_while(proxy: FaultProxy) -> None:
    with closing(connect(proxy)) as connection:
        connection.request("GET", "/one")
        assert connection.getresponse().read() == BODY
        began = time.monotonic()
        proxy.refuse(0.5)
        connection.sock.settimeout(5)
        assert connection.sock.recv(1) == b""  # those that are there end
    while True:
        try:
            assert get(proxy) == (200, BODY)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    assert 0.4 < time.monotonic() - began < 10
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        get(proxy)
    proxy.clear()
    assert get(proxy) == (200, BODY)


def test_forked_children_hold_nothing(proxy: FaultProxy) -> None:
    """A worker of a loader that was forked meanwhile would keep connections open that are to be reset or refused."""
    connection = connect(proxy)
    connection.request("GET", "/one")
    assert connection.getresponse().read() == BODY
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        proxy.plan(faults.reset())
        with closing(connection):
            connection.request("GET", "/one")
            answer = connection.getresponse()
            with pytest.raises(ConnectionResetError):
                answer.read()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            get(proxy)
        proxy.clear()
        assert get(proxy) == (200, BODY)
    finally:
        os.close(writer)
        os.waitpid(child, 0)
        os.close(reader)
