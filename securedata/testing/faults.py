"""Faults for `securedata.testing.proxy.FaultProxy`: each decides what happens to one request."""

from __future__ import annotations

from collections.abc import Callable

from securedata.testing.proxy import Exchange, Fault, passed


def latency(seconds: float) -> Fault:
    """The request is delayed before it is passed on."""

    def fault(exchange: Exchange) -> None:
        exchange.pause(seconds)
        passed(exchange)

    return fault


def reset(after: int = 0) -> Fault:
    """The connection is reset after so many bytes of the answer's body."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.send(answer.head + answer.body[:after])
        exchange.pause(0.05)  # a reset discards what the client has not read yet
        exchange.reset()

    return fault


def stall(after: int = 0) -> Fault:
    """After so many bytes of the body nothing more comes, and the connection stays open."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.send(answer.head + answer.body[:after])
        exchange.pause()

    return fault


def silence(exchange: Exchange) -> None:
    """The request is neither passed on nor answered."""
    exchange.pause()


def truncated(after: int, agrees: bool = False) -> Fault:
    """The body ends after so many bytes. `agrees`: Content-Length is the short length, not that of the whole body."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        if agrees:
            answer = answer.with_length(len(answer.body[:after]))
        exchange.send(answer.head + answer.body[:after])
        if not agrees:
            exchange.close()

    return fault


def miscounted(by: int) -> Fault:
    """Content-Length is wrong by so many bytes: too large, or too small if negative. The body is whole."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.send(answer.with_length(len(answer.body) + by).head + answer.body)
        if by > 0:
            exchange.close()

    return fault


def drip(size: int, seconds: float) -> Fault:
    """The body comes in pieces of `size` bytes, one every `seconds`."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.send(answer.head)
        for at in range(0, len(answer.body), size):
            exchange.send(answer.body[at : at + size])
            exchange.pause(seconds)

    return fault


def status(code: int, reason: str = "", body: bytes | None = None, **headers: str) -> Fault:
    """The proxy answers with an error itself. Without a `body` it is one of S3, with `reason` as its code."""
    text = f"<Error><Code>{reason}</Code><Message>made by a test</Message></Error>".encode()
    content = text if body is None else body

    def fault(exchange: Exchange) -> None:
        named = {"Content-Length": str(len(content)), **{name.replace("_", "-"): it for name, it in headers.items()}}
        lines = [f"HTTP/1.1 {code} {reason or 'Fault'}", *(f"{name}: {it}" for name, it in named.items()), "", ""]
        exchange.send("\r\n".join(lines).encode() + (b"" if exchange.request.method == "HEAD" else content))

    return fault


def lost_answer(exchange: Exchange) -> None:
    """The server carries out the request, but the client gets no answer."""
    exchange.forward()
    exchange.reset()


def replayed(exchange: Exchange) -> None:
    """The request is sent twice and the second answer is passed on, as by a proxy that lost the first answer."""
    exchange.forward()
    passed(exchange)


def answered(code: int, reason: str = "") -> Fault:
    """The server carries out the request, but the client gets an error of S3."""
    answer = status(code, reason)

    def fault(exchange: Exchange) -> None:
        exchange.forward()
        answer(exchange)

    return fault


def lost_request(exchange: Exchange) -> None:
    """The connection is reset, and the server never gets the request."""
    exchange.read()
    exchange.reset()


def cut_request(after: int) -> Fault:
    """The connection is reset after so many bytes of the request's body; the server never gets the request."""

    def fault(exchange: Exchange) -> None:
        exchange.read_some(after)
        exchange.reset()

    return fault


def flipped(at: int) -> Fault:
    """One bit of the body is flipped, in the byte `at`."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        body = bytearray(answer.body)
        body[at] ^= 1
        exchange.send(answer.head + bytes(body))

    return fault


def edited(change: Callable[[bytes], bytes]) -> Fault:
    """The body is changed; Content-Length is that of the changed body."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        body = change(answer.body)
        exchange.send(answer.with_length(len(body)).head + body)

    return fault
