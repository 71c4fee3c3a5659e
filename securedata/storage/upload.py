"""One PUT over libcurl: signed, kept alive, with a checksum that the server compares with what it received.

A tenth of the CPU that boto3 takes for it, which for short recordings is most of what an ingest would do. A handle
belongs to one thread of one process; a forked child makes its own.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pycurl

from securedata.errors import StorageUnreachable
from securedata.storage.base import Buffer
from securedata.storage.curl import Signer

PATIENCE = 60.0
"""Seconds from its first failure on for which a PUT is tried again."""

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_CONNECT_SECONDS, _STALL_SECONDS, _SLOWEST = 10, 60, 50_000
_BUFFER = 512 * 1024
_ERROR_BODY = 16 * 1024
# 409: another request for the same key was under way. BadDigest: a bit turned on the way; not for ever, one hopes.
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_RETRIED_CODES = (b"<Code>BadDigest</Code>", b"<Code>RequestTimeout</Code>")
_DIGEST_TRIES = 3
# a URL, a CA bundle or a certificate that is not right is not right a moment later either
_FINAL = frozenset(
    {
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_SSL_CACERT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_PEER_FAILED_VERIFICATION,
    }
)


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


class Uploader:
    """A libcurl handle that puts."""

    def __init__(self, ca_bundle: str, proxy: str) -> None:
        self._curl = pycurl.Curl()
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
            (pycurl.PROXY, proxy),
        ):
            self._curl.setopt(option, value)
        if ca_bundle:
            self._curl.setopt(pycurl.CAINFO, ca_bundle)

    def put(self, url: str, body: Buffer, signer: Signer | None) -> Sent | StorageUnreachable:
        """Put an object under a key that must not exist.

        What may pass (connection, timeout, 429, 5xx, a checksum that does not match) is tried again with backoff for
        `PATIENCE`. What does not pass is an error if nobody answered, else the last answer.
        """
        self._prepare(url, body, signer)
        tries, failed_at, bad_digests = 0, 0.0, 0
        while True:
            tries += 1
            answer = self._once(body)
            if isinstance(answer, Sent):
                answer = answer._replace(tries=tries)
                bad_digests += answer.status == 400
                if not _may_pass(answer) or bad_digests >= _DIGEST_TRIES:
                    return answer
            elif answer[0] in _FINAL:
                return StorageUnreachable(answer[1])
            now = time.monotonic()
            failed_at = failed_at or now
            if now - failed_at >= PATIENCE:
                if isinstance(answer, Sent):
                    return answer
                return StorageUnreachable(f"{answer[1]}, {tries} tries in {now - failed_at:.0f} s")
            backoff = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(tries - 1, 10))
            time.sleep(backoff * (0.5 + random.random()))  # noqa: S311 - jitter, no secret

    def _prepare(self, url: str, body: Buffer, signer: Signer | None) -> None:
        curl = self._curl
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        headers = ["Expect:", "Content-Type: application/octet-stream", "If-None-Match: *"]
        headers += [f"x-amz-checksum-crc32: {checksum}", "x-amz-sdk-checksum-algorithm: CRC32"]
        if signer is not None:
            curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{signer.region}:s3")
            curl.setopt(pycurl.USERPWD, f"{signer.access_key}:{signer.secret_key}")
            headers.append("x-amz-content-sha256: UNSIGNED-PAYLOAD")
            if signer.token:
                headers.append(f"x-amz-security-token: {signer.token}")
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.INFILESIZE_LARGE, len(body))
        curl.setopt(pycurl.TIMEOUT, 2 * _STALL_SECONDS + len(body) // _SLOWEST)

    def _once(self, body: Buffer) -> Sent | tuple[int, str]:
        """The answer, or libcurl's error."""
        said = bytearray()
        found = {b"date": "", b"x-amz-bucket-region": ""}

        def keep(data: bytes) -> int:
            said.extend(data[: max(0, _ERROR_BODY - len(said))])
            return len(data)

        def header(line: bytes) -> None:
            name, _, value = line.partition(b":")
            if (known := name.lower()) in found:
                found[known] = value.strip().decode("latin-1")

        curl = self._curl
        # Without a function to seek libcurl cannot send a body twice by itself, and so never without our counting it.
        curl.setopt(pycurl.READFUNCTION, _reader(body))
        curl.setopt(pycurl.WRITEFUNCTION, keep)
        curl.setopt(pycurl.HEADERFUNCTION, header)
        try:
            curl.perform()
        except pycurl.error as error:
            code, text = error.args
            return code, text or f"libcurl error {code}"
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        return Sent(status, bytes(said), found[b"date"], found[b"x-amz-bucket-region"], 1)


def _may_pass(answer: Sent) -> bool:
    return answer.status in _RETRIED or (answer.status == 400 and any(code in answer.body for code in _RETRIED_CODES))


def _reader(body: Buffer) -> Callable[[int], bytes]:
    view, at = memoryview(body), 0

    def read(count: int) -> bytes:
        nonlocal at
        piece = bytes(view[at : at + count])
        at += len(piece)
        return piece

    return read


_local = threading.local()
_uploaders: weakref.WeakSet[Uploader] = weakref.WeakSet()
_inherited: list[list[Uploader]] = []


def uploader(ca_bundle: str, proxy: str, signed: bool) -> Uploader:
    """This thread's handle; a forked child gets new ones. `signed`: a handle cannot be told to sign no longer."""
    known: dict[Any, Uploader] = _local.__dict__.setdefault("uploaders", {})
    key = (os.getpid(), ca_bundle, proxy, signed)
    if key not in known:
        known[key] = Uploader(ca_bundle, proxy)
        _uploaders.add(known[key])
    return known[key]


def _before_fork() -> None:
    # as in `curl`: a child that takes a handle down would say goodbye on a TLS connection that its parent goes on using
    _inherited.append(list(_uploaders))


def _after_fork_in_parent() -> None:
    _inherited.pop()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
