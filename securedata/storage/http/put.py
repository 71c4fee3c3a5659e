"""PUTs over libcurl: signed, kept alive, side by side, with a checksum that the server compares with what it received.

A tenth of the CPU that boto3 takes for them, which for short recordings is most of what an ingest would do. Handles
belong to one thread of one process; a forked child makes its own.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pycurl

from securedata.errors import StorageUnreachable
from securedata.forks import Instances
from securedata.storage.base import Buffer
from securedata.storage.http.get import FINAL, Signer, backoff, set_way, signed

PATIENCE = 60.0
"""Seconds from its first failure on for which a PUT is tried again."""

_CONNECT_SECONDS, _STALL_SECONDS, _SLOWEST = 10, 60, 50_000
_BUFFER = 512 * 1024
_ERROR_BODY = 16 * 1024
# 409: another request for the same key was under way. BadDigest: a bit turned on the way; not for ever, one hopes.
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_RETRIED_CODES = (b"<Code>BadDigest</Code>", b"<Code>RequestTimeout</Code>")
_DIGEST_TRIES = 3


NO_ETAG = "the answer was yes without an ETag, so it was not from a server that stored the object"
"""Of a page that something on the way shows, as of a gateway whose server is away: nothing may have been stored."""


class Sent(NamedTuple):
    """What the server answered.

    Attributes:
        tries: how often it was sent; from 2 on an earlier one may have been carried out though its answer was lost.
    """

    status: int
    body: bytes
    date: str
    region: str
    tries: int


@dataclass(slots=True, eq=False)
class _Put:
    at: int
    url: str
    body: Buffer = field(repr=False)
    checksum: bool
    # of the try under way
    said: bytearray = field(default_factory=bytearray, repr=False)
    date: str = ""
    region: str = ""
    etag: str = ""
    # of all tries
    tries: int = 0
    bad_digests: int = 0
    failed_at: float = 0.0
    not_before: float = 0.0

    def keep(self, data: bytes) -> int:
        """What the server writes, as far as it matters."""
        self.said += data[: max(0, _ERROR_BODY - len(self.said))]
        return len(data)

    def header(self, line: bytes) -> None:
        """One line of its headers."""
        name, _, value = line.partition(b":")
        known = name.lower()
        if known == b"date":
            self.date = value.strip().decode("latin-1")
        elif known == b"x-amz-bucket-region":
            self.region = value.strip().decode("latin-1")
        elif known == b"etag":
            self.etag = value.strip().decode("latin-1")


class Uploader:
    """A curl multi handle and its easy handles."""

    def __init__(self, ca_bundle: str, proxy: str) -> None:
        self._multi = pycurl.CurlMulti()
        self._idle: list[pycurl.Curl] = []
        self._ca_bundle, self._proxy = ca_bundle, proxy

    def put(
        self, puts: Iterable[tuple[str, Buffer]], signer: Signer | None, side_by_side: int, checksums: bool = True
    ) -> Iterator[tuple[int, Sent | StorageUnreachable]]:
        """Put objects under keys that must not exist; yields what became of each as it is known, with its position.

        What may pass (connection, timeout, 429, 5xx, a checksum that does not match, a yes that is no server's of
        objects) is tried again with backoff for `PATIENCE`. What does not pass is an error if no such server answered,
        else the last answer.

        Args:
            puts: URLs and bodies; the next is taken when there is room for it, while the others are under way.
            side_by_side: how many are under way at once.
            checksums: send one with each.
        """
        source = enumerate(puts)
        more = True
        waiting: list[_Put] = []
        running: dict[pycurl.Curl, _Put] = {}
        try:
            while more or waiting or running:
                room = len(running) + len(waiting) < side_by_side
                if more and room:
                    taken = next(source, None)
                    more = taken is not None
                    if taken is not None:
                        waiting.append(_Put(taken[0], *taken[1], checksums))
                now = time.monotonic()
                for put in [put for put in waiting if put.not_before <= now]:
                    waiting.remove(put)
                    running[self._start(put, signer)] = put
                self._drive(running, waiting, wait=not (more and room))
                for curl, failed in self._finished():
                    put = running.pop(curl)
                    outcome = self._outcome(put, curl, failed)
                    self._release(curl, keep=signer is not None)
                    if outcome is None:
                        waiting.append(put)
                    else:
                        yield put.at, outcome
        finally:
            for curl in running:
                self._multi.remove_handle(curl)
                curl.close()

    def _start(self, put: _Put, signer: Signer | None) -> pycurl.Curl:
        put.said.clear()
        put.date = put.region = put.etag = ""
        put.tries += 1
        # a handle cannot be told to sign no longer
        curl = self._idle.pop() if self._idle and signer is not None else self._new()
        self._prepare(curl, put, signer)
        self._multi.add_handle(curl)
        return curl

    def _drive(self, running: Mapping[pycurl.Curl, _Put], waiting: Sequence[_Put], wait: bool) -> None:
        self._multi.perform()
        if wait and running:
            self._multi.select(0.1)
            self._multi.perform()
        elif wait and waiting:
            time.sleep(max(0.0, min(put.not_before for put in waiting) - time.monotonic()))

    def _finished(self) -> Iterator[tuple[pycurl.Curl, tuple[int, str] | None]]:
        while True:
            left, good, bad = self._multi.info_read()
            for curl in good:
                yield curl, None
            for curl, code, text in bad:
                yield curl, (code, text or f"libcurl error {code}")
            if not left:
                return

    def _outcome(
        self, put: _Put, curl: pycurl.Curl, failed: tuple[int, str] | None
    ) -> Sent | StorageUnreachable | None:
        """What became of it; None to try again."""
        answer: Sent | StorageUnreachable
        status = _status(curl.getinfo(pycurl.RESPONSE_CODE), put.said)
        if failed is None and status == 200 and not put.etag:
            failed = pycurl.E_GOT_NOTHING, NO_ETAG
        if failed is None:
            answer = Sent(status, bytes(put.said), put.date, put.region, put.tries)
            put.bad_digests += status == 400
            if not _may_pass(answer) or put.bad_digests >= _DIGEST_TRIES:
                return answer
        else:
            code, text = failed
            if code in FINAL:
                return StorageUnreachable(text)
            seconds = time.monotonic() - (put.failed_at or time.monotonic())
            answer = StorageUnreachable(f"{text}, {put.tries} tries in {seconds:.0f} s")
        now = time.monotonic()
        put.failed_at = put.failed_at or now
        if now - put.failed_at >= PATIENCE:
            return answer
        put.not_before = now + backoff(put.tries)
        return None

    # ------------------------------------------------------------ handles

    def _new(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.TCP_NODELAY, 1),
            (pycurl.UPLOAD, 1),
            (pycurl.UPLOAD_BUFFERSIZE, _BUFFER),
            (pycurl.CONNECTTIMEOUT, _CONNECT_SECONDS),
            (pycurl.LOW_SPEED_LIMIT, 1),
            (pycurl.LOW_SPEED_TIME, _STALL_SECONDS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.USERAGENT, "securedata"),
        ):
            curl.setopt(option, value)
        set_way(curl, self._ca_bundle, self._proxy)
        return curl

    def _prepare(self, curl: pycurl.Curl, put: _Put, signer: Signer | None) -> None:
        headers = ["Expect:", "Content-Type: application/octet-stream", "If-None-Match: *"]
        if put.checksum:
            checksum = base64.b64encode(zlib.crc32(put.body).to_bytes(4, "big")).decode()
            headers += [f"x-amz-checksum-crc32: {checksum}", "x-amz-sdk-checksum-algorithm: CRC32"]
        headers += signed(curl, signer, put.body)
        curl.setopt(pycurl.URL, put.url)
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.INFILESIZE_LARGE, len(put.body))
        curl.setopt(pycurl.TIMEOUT, 2 * _STALL_SECONDS + len(put.body) // _SLOWEST)
        # Without a function to seek libcurl cannot send a body twice by itself, and so never without our counting it.
        curl.setopt(pycurl.READFUNCTION, _reader(put.body))
        curl.setopt(pycurl.WRITEFUNCTION, put.keep)
        curl.setopt(pycurl.HEADERFUNCTION, put.header)

    def _release(self, curl: pycurl.Curl, keep: bool) -> None:
        self._multi.remove_handle(curl)
        if keep:
            self._idle.append(curl)
        else:
            curl.close()


def _may_pass(answer: Sent) -> bool:
    return answer.status in _RETRIED or (answer.status == 400 and any(code in answer.body for code in _RETRIED_CODES))


def _status(status: int, body: Buffer) -> int:
    """A yes with an error as its body is none: the server had begun to answer before it failed. So botocore does it."""
    return 500 if status == 200 and b"<Error" in body else status


def _reader(body: Buffer) -> Callable[[int], bytes]:
    view, at = memoryview(body), 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = bytes(view[at : at + count])
        at += len(piece)
        return piece

    return read


_local = threading.local()
_uploaders: Instances[Uploader] = Instances(kept=True)


def uploader(ca_bundle: str, proxy: str) -> Uploader:
    """This thread's handles; a forked child gets new ones."""
    known: dict[Any, Uploader] = _local.__dict__.setdefault("uploaders", {})
    key = (os.getpid(), ca_bundle, proxy)
    if key not in known:
        known[key] = Uploader(ca_bundle, proxy)
        _uploaders.add(known[key])
    return known[key]
