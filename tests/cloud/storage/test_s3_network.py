"""S3Storage behind TLS and proxies."""

from __future__ import annotations

import os
import ssl
import threading
import time
from pathlib import Path

import pytest

from securedata.errors import StorageUnreachable
from securedata.storage.s3.store import S3Storage
from securedata.testing.storage import OBJECT, raised
from tests.kit.cloud.forward import Proxy, answering, forward
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

OTHER = "objects/40/40" + "0" * 30


# ----------------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    url: str, admin: Seaweed, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    with forward(admin.endpoint, tls) as between:
        options = {"endpoint_url": f"https://127.0.0.1:{between.port}"}
        began = time.monotonic()
        for call in (lambda: S3Storage(url, options).get(OBJECT), lambda: list(S3Storage(url, options).list())):
            assert "certificate" in str(raised(StorageUnreachable, call)).lower()
        assert time.monotonic() - began < 30, "what does not pass is not tried again for a minute"
        assert between.requests == [], "nothing was sent to it"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        storage = S3Storage(url, options)
        assert bytes(storage.get(OBJECT)) == b"there"
        assert [one.key for one in storage.list()] == [OBJECT]


def test_a_forked_child_leaves_its_parents_connections_alone(
    url: str, admin: Seaweed, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with forward(admin.endpoint, tls) as between:
        storage = S3Storage(url, {"endpoint_url": f"https://127.0.0.1:{between.port}"})
        go, done = threading.Event(), threading.Event()

        def elsewhere() -> None:  # another thread with a connection of its own
            storage.get(OBJECT)
            done.set()
            go.wait(60)
            storage.get(OBJECT)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        done.wait(60)
        storage.get(OBJECT)
        assert between.connections == 2
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if bytes(storage.get(OBJECT)) == b"there" and not list(storage.list("none")) else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert between.connections == 4, "one of the child's over libcurl, one over botocore"
        go.set()
        thread.join()
        storage.get(OBJECT)
        assert between.connections == 4, "the parent's go on"


# ------------------------------------------------------------------------------------------------------------- proxies


def test_a_proxy_is_used_by_all_requests_or_by_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Proxy, "seen", [])
    with answering(Proxy) as proxy:
        # libcurl alone would look at the first only, botocore at both
        for name in ("http_proxy", "HTTP_PROXY"):
            for bypass in ("", "127.0.0.1"):
                monkeypatch.setenv(name, proxy)
                monkeypatch.setenv("NO_PROXY", bypass)
                Proxy.seen.clear()
                storage = S3Storage(url)
                assert bytes(storage.get(OBJECT)) == b"there"
                assert [one.key for one in storage.list()] == [OBJECT]
                assert len(Proxy.seen) == (0 if bypass else 2)
            monkeypatch.delenv(name)


@pytest.mark.parametrize("bypass", ["127.0.0.0/8", "127.0.0.1/32", "127.0.0", ".0.0.1"])
def test_what_no_proxy_holds_is_read_in_one_way(url: str, monkeypatch: pytest.MonkeyPatch, bypass: str) -> None:
    """libcurl knows networks there, which botocore takes for names: half of the requests went past the proxy."""
    with answering(Proxy) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", bypass)
        storage = S3Storage(url)
        calls = (lambda: list(storage.list()), lambda: storage.get(OBJECT), lambda: storage.put_new(OTHER, [b"x"]))
        asked = []
        for call in calls:
            monkeypatch.setattr(Proxy, "seen", [])
            call()
            asked.append(len(Proxy.seen))
        assert len(set(asked)) == 1, asked
        storage.delete(OTHER)


def test_a_proxy_behind_tls_is_trusted_by_the_same_file(
    url: str, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proxy, "seen", [])
    with answering(Proxy) as proxy, forward(proxy, tls) as between:
        monkeypatch.setenv("http_proxy", f"https://127.0.0.1:{between.port}")
        monkeypatch.setenv("no_proxy", "")
        raised(StorageUnreachable, lambda: S3Storage(url).get(OBJECT))
        assert Proxy.seen == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        storage = S3Storage(url)
        assert bytes(storage.get(OBJECT)) == b"there"
        storage.put_new(OTHER, [b"x"])
        assert len(Proxy.seen) == 2
        # botocore itself trusts any proxy on the way to an http:// URL, and warns of it
        monkeypatch.delenv("http_proxy")
        S3Storage(url).delete(OTHER)


# ------------------------------------------------------------------------------------------- settings that are empty


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("empty", ["", " "], ids=["nothing", "a blank"])
def test_an_empty_ca_bundle_is_none_and_nothing_goes_unverified(
    url: str, admin: Seaweed, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, name: str, empty: str
) -> None:
    monkeypatch.setenv(name, empty)
    storage = S3Storage(url)
    assert bytes(storage.get(OBJECT)) == b"there"
    assert [one.key for one in storage.list()] == [OBJECT]
    with forward(admin.endpoint, tls) as between:
        secure = S3Storage(url, {"endpoint_url": f"https://127.0.0.1:{between.port}"})
        for call in (lambda: secure.get(OBJECT), lambda: list(secure.list())):
            assert "certificate" in str(raised(StorageUnreachable, call)).lower()
        assert between.requests == []
