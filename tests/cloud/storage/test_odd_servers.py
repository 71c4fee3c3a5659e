"""Servers that answer as none should: each call ends in time, with an error of ours that names the cause."""

from __future__ import annotations

import functools
import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import securedata as sd
from securedata.errors import NotSealed, SecuredataError, StorageUnreachable, UnsafeStorage
from securedata.ingest.sources import remote
from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.remote import FsspecOrigin, S3Origin
from securedata.storage.fsspec import FsspecStorage
from securedata.storage.http import get, request
from securedata.storage.s3.store import PART, S3Storage
from securedata.storage.web import WebStorage
from securedata.testing.storage import OBJECT
from tests.conftest import FULL
from tests.kit.cloud.forward import Handler, answering
from tests.kit.corpora.recorded import make_corpus
from tests.kit.servers import Seaweed
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")

GOOD_DATE = b"Date: Sat, 28 Nov 2026 12:00:00 GMT"
Raw = Callable[["Odd"], None]


class Odd(Handler):
    """Writes what `raw` does, byte by byte if it must, and closes the connection."""

    raw: ClassVar[Raw] = lambda self: None

    def answer(self, body: bytes) -> None:
        self.close_connection = True
        try:
            type(self).raw(self)
        except OSError:  # the client has had enough
            return


def says(head: bytes, body: bytes = b"", status: bytes = b"200 OK") -> Raw:
    def raw(self: Odd) -> None:
        lines = [
            b"HTTP/1.1 " + status,
            b"Content-Length: %d" % len(body),
            b"Connection: close",
            *([head] if head else []),
            b"",
            body,
        ]
        self.wfile.write(b"\r\n".join(lines))

    return raw


def drips(head: bytes, drop: bytes = b"x", seconds: float = 0.05) -> Raw:
    """Sends a head, and drops for ever."""

    def raw(self: Odd) -> None:
        self.wfile.write(head)
        while True:
            self.wfile.write(drop)
            time.sleep(seconds)

    return raw


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """One server for all tests here."""
    with answering(Odd) as made:
        yield made


@pytest.fixture
def odd(admin: Seaweed, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[[Raw], None]]:
    """An endpoint, and how to have it answer; what is tried again for a minute is tried for a second."""
    monkeypatch.setattr(request, "PATIENCE", 0.1)
    monkeypatch.setattr(get, "_LEAST_SECONDS", 1)
    monkeypatch.setattr(get, "_STALL_SECONDS", 1)
    return endpoint, lambda raw: monkeypatch.setattr(Odd, "raw", staticmethod(raw))


@functools.cache
def s3(endpoint: str) -> S3Storage:
    return S3Storage("s3://voice/x", {"endpoint_url": endpoint})


def ends(call: Callable[[], object], kind: type[SecuredataError] = StorageUnreachable, within: float = 12) -> str:
    """What is said, in time."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        call()
    assert time.monotonic() - began < within
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- dates

DATES = [b"", b"Date:", b"Date: yesterday", b"Date: 2026-11-28", b"Date: Sat, 99 Nov 2026 12:00:00 GMT", b"Date: \xff",
         b"Date: Sat, 28 Nov 99999 12:00:00 GMT", b"Date: Sat, 28 Nov 2026 12:00:00 +9999999"]  # fmt: skip


@pytest.mark.parametrize("date", DATES, ids=repr)
def test_a_date_that_nobody_can_read(odd: Any, date: bytes) -> None:
    endpoint, answer = odd
    answer(says(date + b'\r\nETag: "1"' if date else b'ETag: "1"', b"<R><UploadId>1</UploadId></R>"))
    for put in (lambda: s3(endpoint).put_new(OBJECT, [b"x"]), lambda: s3(endpoint).put_new(OBJECT, [bytes(PART)])):
        assert "no valid Date header" in ends(put)
    answer(says(date or b"X: y", b"x"))
    assert "no valid Date header" in ends(s3(endpoint).now)


def test_a_date_without_a_zone_is_utc(odd: Any) -> None:
    endpoint, answer = odd
    answer(says(b"Date: Sat, 28 Nov 2026 12:00:00 -0000", b"x"))
    assert s3(endpoint).now() == 1795867200.0


# -------------------------------------------------------------------------------------------------------- error bodies

XML = b"<Error><Code>Oddness</Code></Error>"
BODIES = [
    b"",
    b"<",
    b"<html><body>Bad gateway</body>",
    b'<?xml version="1.0" encoding="klingon"?>' + XML,
    b'<?xml version="1.0" encoding="cp932"?>' + XML,
    b'<?xml version="1.0" encoding="utf-16"?>' + XML,
    b'<?xml version="1.0" encoding="utf-7"?>' + XML,
    b'<?xml version="1.0" encoding="shift_jis"?>' + XML,
    b'<?xml version="1.0" encoding="hex"?>' + XML,
    b'<?xml version="1.0" encoding="' + b"x" * 5000 + b'"?>' + XML,
    ('<?xml version="1.0" encoding="utf-16"?>' + XML.decode()).encode("utf-16"),
    b"\x00" * 100,
    b"\xff\xfe" * 100,
    b"<a>" * 5000,
    b"<a>" * 2000 + b"</a>" * 2000,
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "' + b"&b;" * 200 + b'"><!ENTITY d "' + b"&c;" * 200
    + b'">]><Error><Code>' + b"&d;" * 500 + b"</Code></Error>",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Error><Code>&b;</Code></Error>',
    b"{}",
    b"<Error><Code/></Error>",
    b"<Error><Code>" + b"x" * 20000,
]  # fmt: skip


@pytest.mark.parametrize(
    "status",
    [
        b"418 Teapot",
        b"204 Nothing",
        *(pytest.param(one, marks=pytest.mark.full) for one in (b"999 Odd", b"600 Odd", b"299 Odd")),
    ],
)
def test_error_bodies(odd: Any, status: bytes) -> None:
    endpoint, answer = odd
    for body in BODIES if status.startswith(b"418") else BODIES[:3]:
        answer(says(GOOD_DATE, body, status))
        for call in (lambda: s3(endpoint).get(OBJECT), lambda: s3(endpoint).put_new(OBJECT, [b"x"])):
            assert "root:" not in ends(call, SecuredataError)
        ends(lambda: WebStorage(f"{endpoint}/x").get(OBJECT), SecuredataError)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 abc", b"HTTP/1.1 000 Nothing", b"HTTP/9.9 200 OK", b"", b"SSH-2.0-x", b"\xff"]
)
def test_status_lines(odd: Any, line: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    endpoint, answer = odd
    answer(lambda self: self.wfile.write(line + b"\r\nContent-Length: 1\r\n\r\nx"))
    for call in (
        lambda: s3(endpoint).get(OBJECT),
        lambda: WebStorage(f"{endpoint}/x").get(OBJECT),
        lambda: s3(endpoint).put_new(OBJECT, [b"x"]),
    ):
        ends(call, SecuredataError)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("location", [b"Location: /", b""])
@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"308 Permanent"])
def test_redirects_are_not_followed(odd: Any, status: bytes, location: bytes) -> None:
    endpoint, answer = odd
    answer(says(location or b"X: y", b"", status))
    for call in (
        lambda: s3(endpoint).get(OBJECT),
        lambda: s3(endpoint).put_new(OBJECT, [b"x"]),
        lambda: WebStorage(f"{endpoint}/x").get(OBJECT),
    ):
        ends(call, SecuredataError)
    assert ends(lambda: list(s3(endpoint).list()), SecuredataError)


# ------------------------------------------------------------------------------------------------- bodies and headers

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5000\r\n\r\n"


DRIPS = {
    "a body": drips(HEAD + LENGTH),
    "headers": drips(HEAD, b"X: y\r\n"),
    "103": drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.0),
    "a body of no length": drips(HEAD + b"\r\n"),
    "chunks": drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a header": drips(HEAD + b"X: "),
    "100": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a flood of headers": drips(HEAD, b"X: %s\r\n" % (b"y" * 1000), 0.0),
    "trailers": drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "an error": drips(b"HTTP/1.1 500 Oops\r\n\r\n"),
}
DAILY = ("a body",)


@pytest.mark.parametrize(
    "raw", [pytest.param(raw, id=name, marks=() if name in DAILY else pytest.mark.full) for name, raw in DRIPS.items()]
)
def test_what_drips_has_an_end(odd: Any, raw: Raw) -> None:
    endpoint, answer = odd
    answer(raw)
    limit = 64 * 1024 * 1024  # of a head; by its size alone it could take twenty minutes
    for storage in (s3(endpoint), WebStorage(f"{endpoint}/x"))[: 2 if FULL else 1]:  # one engine is below both
        ends(lambda storage=storage: storage.get("head", limit), SecuredataError, within=25)


@pytest.mark.parametrize(
    "length",
    [
        b"-5",
        b"99999999999999999999999",
        *(pytest.param(one, marks=pytest.mark.full) for one in (b"abc", b"1e3", b"5, 6", b"")),
    ],
)
def test_lengths_that_are_none(odd: Any, length: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    endpoint, answer = odd
    answer(lambda self: self.wfile.write(HEAD + b"Content-Length: " + length + b"\r\n\r\nhello"))
    for storage in (s3(endpoint), WebStorage(f"{endpoint}/x")):
        try:
            assert bytes(storage.get(OBJECT, 100)) == b"hello"
        except StorageUnreachable as error:
            assert OBJECT in str(error)  # noqa: PT017 - either is right
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("told", [b"bytes 7-11/20", b"bytes 0-4/20", b"bytes 4-8/20"])
def test_another_range(odd: Any, told: bytes) -> None:
    endpoint, answer = odd
    answer(says(b"Content-Range: " + told, b"hello", b"206 Partial Content"))
    for storage in (s3(endpoint), WebStorage(f"{endpoint}/x")):
        call = lambda storage=storage: storage.get_ranges(OBJECT, [(5, 5)])  # noqa: E731 - one of two
        assert "another range" in ends(call)
    answer(says(b"content-range:bytes 5-9/20", b"hello", b"206 Partial Content"))
    assert bytes(s3(endpoint).get_ranges(OBJECT, [(5, 5)])[0]) == b"hello"


@pytest.mark.parametrize("etag", [b"X: y", b"ETag:", b'ETag: W/"1"'])
def test_without_a_strong_etag_nothing_is_replaced(odd: Any, etag: bytes) -> None:
    endpoint, answer = odd
    asked: list[str] = []

    def raw(self: Odd) -> None:
        asked.append(self.command)
        says(etag, b"head")(self)

    answer(raw)
    storage = s3(endpoint)
    data, version = storage.get_versioned("head")
    assert "ETag" in ends(lambda: storage.replace("head", data, version), UnsafeStorage)
    assert asked == ["GET"]


@pytest.mark.parametrize("said", [b"Content-Encoding: gzip", b"X: y"], ids=["said", "not said"])
def test_a_server_that_compresses_is_named_as_the_cause(odd: Any, tmp_path: Path, said: bytes) -> None:
    endpoint, answer = odd
    root = make_corpus(tmp_path, [clip("ann/0.wav", 0.1)])
    answer(says(said, gzip.compress((Path(root) / "head").read_bytes())))
    call = functools.partial(sd.open_corpus, f"{endpoint}/x", kms=root.kms, pin=root.pin)
    assert "as gzip: it was stored compressed, or a server or proxy compresses" in ends(call, NotSealed)
    answer(says(b"Content-Type: text/html", b"<!DOCTYPE html><title>Sign in</title>"))
    assert "as HTML or XML: a page of a server" in ends(call, NotSealed)


# ------------------------------------------------------------------------------------------------------------ listings


def page(*entries: str, more: str = "", truncated: bool = False) -> bytes:
    inner = "".join(f"<Contents>{one}</Contents>" for one in entries)
    told = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    return f"<ListBucketResult>{inner}{told}{more}</ListBucketResult>".encode()


GOOD = "<Key>x/a.wav</Key><Size>1</Size><LastModified>2026-11-28T12:00:00Z</LastModified><ETag>1</ETag>"
NEXT = "<NextContinuationToken>t</NextContinuationToken>"
LISTINGS = {
    "one token for ever": page(GOOD, more=NEXT, truncated=True),
    "more, and no token": page(GOOD, truncated=True),
    "no time": page("<Key>x/a.wav</Key><Size>1</Size>"),
    "no size": page("<Key>x/a.wav</Key><LastModified>2026-11-28T12:00:00Z</LastModified>"),
    "no key": page("<Size>1</Size><LastModified>2026-11-28T12:00:00Z</LastModified>"),
    "another root": page(GOOD.replace("x/a", "y/a")),
    "a negative size": page(GOOD.replace("<Size>1", "<Size>-1")),
    "a size that is none": page(GOOD.replace("<Size>1", "<Size>many")),
    "a time that is none": page(GOOD.replace("2026", "soon")),
    "HTML": b"<html><body>hello",
    "nothing": b"",
    "HTML that is XML": b"<html/>",
    "no XML": b"\x00\x01\x02",
}


DAILY_LISTINGS = ("one token for ever", "no size", "a time that is none", "HTML that is XML")


@pytest.mark.parametrize(
    "listing",
    [pytest.param(one, id=n, marks=() if n in DAILY_LISTINGS else pytest.mark.full) for n, one in LISTINGS.items()],
)
def test_listings(odd: Any, listing: bytes) -> None:
    endpoint, answer = odd
    answer(says(GOOD_DATE, listing))
    text = ends(lambda: list(s3(endpoint).list()), SecuredataError)
    assert "s3://voice/x" in text
    origin = S3Origin("s3://voice/x", {"endpoint_url": endpoint})
    assert ends(origin.scan, SecuredataError)


@pytest.mark.parametrize("tokens", ["new ones for ever", "a circle"])
def test_listings_without_an_end(odd: Any, tokens: str) -> None:
    endpoint, answer = odd
    asked = [0]

    def raw(self: Odd) -> None:
        asked[0] += 1
        number = asked[0] if tokens == "new ones for ever" else asked[0] % 3
        more = f"<NextContinuationToken>{number}</NextContinuationToken>"
        says(GOOD_DATE, page(GOOD, more=more, truncated=True))(self)

    answer(raw)
    assert "no end" in ends(lambda: list(s3(endpoint).list()), within=30)


def test_versions_without_an_end(odd: Any) -> None:
    endpoint, answer = odd
    version = "<Version><Key>x/a</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>"
    for more, text in (("<NextKeyMarker>x/a</NextKeyMarker>", "no end"), ("", "no field NextKeyMarker")):
        body = f"<ListVersionsResult>{version}<IsTruncated>true</IsTruncated>{more}</ListVersionsResult>".encode()
        answer(says(GOOD_DATE, body))
        assert text in ends(lambda: list(s3(endpoint).deleted_keys()))
    told = b"<IsTruncated>false</IsTruncated>"
    answer(says(GOOD_DATE, b"<ListVersionsResult><Version><Size>1</Size></Version>" + told + b"</ListVersionsResult>"))
    assert "an entry without Key" in ends(lambda: list(s3(endpoint).deleted_keys()))


# -------------------------------------------------------------------------------------------------------------- fsspec


@pytest.mark.parametrize(
    "info", [{}, {"size": None}, {"size": "many"}, {"size": -1}, None, {"size": 1, "mtime": float("inf")}], ids=repr
)
def test_odd_listings_of_fsspec(monkeypatch: pytest.MonkeyPatch, info: Any) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {"/voice/a.wav": info})
    for call in (lambda: list(FsspecStorage("memory://voice").list()), FsspecOrigin("memory://voice").scan):
        try:
            call()
        except SecuredataError as error:
            assert "memory://voice" in str(error)  # noqa: PT017 - other infos can be listed


def test_what_fsspec_reads_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(remote, "MAX_CONTENT", 10)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda *_, **__: b"x" * 11)
    with pytest.raises(SourceProblem, match="larger than 10 bytes"):
        FsspecOrigin("memory://voice").content("list.txt")
    with pytest.raises(SourceProblem):
        FsspecOrigin("memory://voice").read_at("memory://voice/a", 0, 5, Stamp(5, 0, ""))
