"""Settings of AWS's clients that S3-compatible stores need: they count for what libcurl sends, as for boto3."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.writer import Writer
from securedata.storage.s3.store import PART, S3Storage
from securedata.testing.faults import status
from securedata.testing.proxy import Exchange, FaultProxy, Request, passed
from tests.kit.corpora.cloud import Cloud
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

OFF = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}


def sums(request: Request) -> list[str]:
    """Its headers, and trailers of chunked bodies, that speak of checksums."""
    named = [name for name in request.headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]
    return named + [name for name in ("x-amz-trailer", "content-md5") if name in request.headers]


@pytest.fixture
def picky(admin: Seaweed) -> Iterator[FaultProxy]:
    """A store that refuses requests with checksums."""
    refuse = status(400, "InvalidArgument")

    def judge(exchange: Exchange) -> None:
        (refuse if sums(exchange.request) else passed)(exchange)

    with FaultProxy(admin.endpoint) as proxy:
        proxy.plan(judge, times=None)
        yield proxy


@pytest.fixture(params=["environment", "config file"])
def off(request: pytest.FixtureRequest, admin: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checksums are sent only where they are required."""
    if request.param == "environment":
        for name, value in OFF.items():
            monkeypatch.setenv(name, value)
        return
    path = own_home / "aws-config"
    lines = [f"{name.removeprefix('AWS_').lower()} = {value}" for name, value in OFF.items()]
    path.write_text("\n".join(["[default]", *lines, ""]))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))


@pytest.mark.usefixtures("off")
def test_no_request_has_a_checksum_where_none_is_required(picky: FaultProxy, prefix: str) -> None:
    storage = S3Storage(f"s3://voice/{prefix}", {"endpoint_url": picky.endpoint})
    assert storage.checksums is False
    storage.check_writable()
    storage.put_new("objects/one", [b"one"])
    storage.replace("head", b"head", None)
    large = os.urandom(PART + 1)
    storage.put_new("objects/large", [large])
    assert bytes(storage.get("objects/one")) == b"one"
    assert bytes(storage.get("objects/large")) == large
    assert {one.key for one in storage.list()} == {"objects/one", "objects/large", "head"}
    storage.delete("objects/one")
    assert [sums(request) for request in picky.requests] == [[]] * len(picky.requests)
    assert {"GET", "PUT", "POST", "DELETE"} <= {request.method for request in picky.requests}


def test_checksums_are_sent_where_nothing_is_said(admin: Seaweed, prefix: str) -> None:
    with FaultProxy(admin.endpoint) as proxy:
        storage = S3Storage(f"s3://voice/{prefix}", {"endpoint_url": proxy.endpoint})
        assert storage.checksums is True
        storage.put_new("objects/one", [b"one"])
        storage.put_new("objects/large", [bytes(PART)])
        for request in proxy.requests:
            assert "x-amz-checksum-crc32" in sums(request) or request.method != "PUT", request.target


@pytest.mark.usefixtures("off")
@pytest.mark.parametrize("size", [10_000, PART + 10_000])
def test_what_was_put_without_a_checksum_is_read_back(cloud: Cloud, picky: FaultProxy, size: int) -> None:
    root = cloud.make("contractor-a", ())
    storage = S3Storage(root, {"endpoint_url": picky.endpoint})
    writer = Writer(root.reference, storage=storage)
    picky.requests.clear()
    writer.put_object([bytes(size)])
    assert "GET" in [request.method for request in picky.requests if "objects/" in request.target]


@pytest.mark.parametrize("signs", [True, False])
def test_the_body_is_signed_where_the_user_says_so(
    admin: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, signs: bool
) -> None:
    path = own_home / "aws-config"
    path.write_text(f"[default]\ns3 =\n  payload_signing_enabled = {str(signs).lower()}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    with FaultProxy(admin.endpoint) as proxy:
        storage = S3Storage(f"s3://voice/{prefix}", {"endpoint_url": proxy.endpoint})
        storage.put_new("objects/one", [b"one"])
        assert bytes(storage.get("objects/one")) == b"one"
        found = [request.headers["x-amz-content-sha256"] for request in proxy.requests]
    if signs:
        assert found == [hashlib.sha256(body).hexdigest() for body in (b"one", b"")]
    else:
        assert found == ["UNSIGNED-PAYLOAD"] * 2


@pytest.mark.parametrize(
    ("lines", "environment", "url"),
    [
        ("s3 =\n  addressing_style = path", {}, "https://s3.eu-west-3.amazonaws.com/voice/"),
        ("s3 =\n  addressing_style = virtual", {}, "https://voice.s3.eu-west-3.amazonaws.com/"),
        ("s3 =\n  use_dualstack_endpoint = true", {}, "https://voice.s3.dualstack.eu-west-3.amazonaws.com/"),
        ("use_fips_endpoint = true", {}, "https://voice.s3-fips.eu-west-3.amazonaws.com/"),
        ("s3 =\n  use_accelerate_endpoint = true", {}, "https://voice.s3-accelerate.amazonaws.com/"),
        ("", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://voice.s3.dualstack.eu-west-3.amazonaws.com/"),
        ("", {"AWS_ENDPOINT_URL_S3": "http://store:9000"}, "http://store:9000/voice/"),
        ("s3 =\n  addressing_style = virtual", {"AWS_ENDPOINT_URL": "http://store:9000"}, "http://voice.store:9000/"),
        (
            "ignore_configured_endpoint_urls = true",
            {"AWS_ENDPOINT_URL": "http://store:9000"},
            "https://voice.s3.eu-west-3.amazonaws.com/",
        ),
    ],
)
def test_libcurl_asks_where_boto3_does(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, lines: str, environment: dict[str, str], url: str
) -> None:
    path = own_home / "aws-config"
    path.write_text(f"[default]\nregion = eu-west-3\n{lines}\n")
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    storage = S3Storage("s3://voice/x")
    assert storage._calls.endpoint().url == url
    client = storage._clients.get()
    sent: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        sent.append(request.url)
        raise InterruptedError

    client.meta.events.register("before-send", stop)
    with pytest.raises(InterruptedError):
        client.head_object(Bucket="voice", Key="k")
    assert sent == [f"{url}k"]
