"""Downloads that make progress while something else is done: `Storage.start` over HTTP, on a real server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from securedata.errors import StorageUnreachable
from securedata.storage.base import Download, Wanted
from securedata.storage.http import engine, get, request
from securedata.storage.http.engine import CONNECTIONS
from securedata.storage.s3.store import S3Storage
from securedata.testing import faults
from securedata.testing.proxy import FaultProxy
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

SIZE = 40_000
MANY = 48


@pytest.fixture
def between(admin: Seaweed) -> Iterator[FaultProxy]:
    with FaultProxy(admin.endpoint) as proxy:
        yield proxy


@pytest.fixture
def storage(admin: Seaweed, between: FaultProxy, prefix: str) -> S3Storage:
    """Through the proxy, with `MANY` objects of `SIZE` bytes, each of its own number."""
    direct = S3Storage(f"s3://voice/{prefix}")
    for n in range(MANY):
        direct.put_new(f"objects/{n}", [bytes([n]) * SIZE])
    return S3Storage(direct.url, {"endpoint_url": between.endpoint})


def some(first: int, last: int) -> list[Wanted]:
    return [Wanted(f"objects/{n}", 0, SIZE + 1, SIZE) for n in range(first, last)]


def taken(download: Download, first: int = 0) -> list[int]:
    """Which of the objects came, each checked."""
    found = []
    for group in download.groups:
        for at, got in group:
            assert not isinstance(got, Exception), got
            assert bytes(got) == bytes([first + at]) * SIZE
            found.append(at)
    return sorted(found)


def poll_until(download: Download, done: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        download.poll()
        time.sleep(0.002)


def targets(proxy: FaultProxy) -> list[str]:
    return [one.target for one in proxy.requests if one.method == "GET"]


def test_what_has_landed_needs_no_server_any_more(storage: S3Storage, between: FaultProxy) -> None:
    download = storage.start(some(0, 8), 1 << 28)
    assert not targets(between), "nothing is sent before the first poll"
    poll_until(download, lambda: len(targets(between)) == 8)
    end = time.monotonic() + 0.5
    poll_until(download, lambda: time.monotonic() > end)
    between.refuse()
    assert taken(download) == list(range(8))


def test_polling_never_waits(storage: S3Storage, between: FaultProxy) -> None:
    between.plan(faults.latency(0.5), method="GET", times=None)
    download = storage.start(some(0, 8), 1 << 28)
    longest, until = 0.0, time.monotonic() + 0.4
    while time.monotonic() < until:
        began = time.thread_time()
        download.poll()
        longest = max(longest, time.thread_time() - began)
        time.sleep(0.001)
    assert longest < 0.1
    assert taken(download) == list(range(8))


def test_two_downloads_at_once_each_get_their_own(storage: S3Storage, between: FaultProxy) -> None:
    ahead = storage.start(some(24, 48), 1 << 28)
    ahead.poll()
    now = storage.start(some(0, 24), 1 << 28)
    found = []
    for group in now.groups:
        for at, got in group:
            assert not isinstance(got, Exception), got
            assert bytes(got) == bytes([at]) * SIZE
            found.append(at)
        assert bytes(storage.get("objects/5")) == bytes([5]) * SIZE, "a third amid them"
    assert sorted(found) == list(range(24))
    assert taken(ahead, 24) == list(range(24))
    assert len(set(targets(between))) == MANY


def test_downloads_share_the_bytes_under_way(storage: S3Storage, between: FaultProxy) -> None:
    room = 4 * (SIZE + 1)
    downloads = [storage.start(some(0, 12), room), storage.start(some(12, 24), room)]
    end = time.monotonic() + 0.6
    poll_until(downloads[1], lambda: time.monotonic() > end)
    # what has landed and was not taken counts, by its own size
    assert 1 <= len(targets(between)) <= 4
    assert taken(downloads[1], 12) == list(range(12)), "though the other has taken all the room"
    assert taken(downloads[0]) == list(range(12))
    assert len(targets(between)) == 24


def test_downloads_share_the_connections(storage: S3Storage, between: FaultProxy) -> None:
    between.plan(faults.latency(1.0), method="GET", times=None)
    downloads = [storage.start(some(0, 24), 1 << 28), storage.start(some(24, 48), 1 << 28)]
    end = time.monotonic() + 0.7
    poll_until(downloads[0], lambda: time.monotonic() > end)
    assert len(targets(between)) == CONNECTIONS
    assert taken(downloads[1], 24) == list(range(24))
    assert taken(downloads[0]) == list(range(24))


def test_an_abandoned_download_is_neither_fetched_on_nor_in_the_way(storage: S3Storage, between: FaultProxy) -> None:
    between.plan(faults.silence, method="GET", times=8)
    gone = storage.start(some(0, 16), 8 * (SIZE + 1))
    poll_until(gone, lambda: len(targets(between)) == 8)
    other = storage.start(some(16, 24), 8 * (SIZE + 1))
    gone.cancel()
    gone.cancel()
    assert taken(other, 16) == list(range(8))
    assert taken(gone) == [], "nothing is left of it"
    assert len(targets(between)) == 16


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(storage: S3Storage, between: FaultProxy) -> None:
    between.plan(faults.latency(0.3), method="GET", times=None)
    download = storage.start(some(0, 8), 1 << 28)
    download.poll()
    child = os.fork()
    if not child:
        code = 1
        try:
            download.poll()
            download.cancel()
            code = 0 if bytes(storage.get("objects/9")) == bytes([9]) * SIZE else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken(download) == list(range(8))
    assert len([one for one in targets(between) if not one.endswith("/9")]) == 8, "each was fetched once"


# ------------------------------------------------------------------------------------- nobody there for a while


def times(monkeypatch: pytest.MonkeyPatch, *, patience: float) -> None:
    """Short ones, and engines that are made with them."""
    for module, name, value in (
        (request, "PATIENCE", patience),
        (get, "_STALL_SECONDS", 1),
        (get, "_LEAST_SECONDS", 2),
        (engine, "_CONNECT_SECONDS", 1),
        (engine, "_local", threading.local()),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("fault", ["none", "half"])
def test_seconds_without_a_poll_are_not_counted_against_the_server(
    storage: S3Storage, between: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """As when a decoder takes longer than the limits for a stall, for a connection and for the whole request."""
    times(monkeypatch, patience=0.0)  # a failure that is counted is an error
    if fault == "half":
        between.plan(faults.drip(SIZE // 2, 0.6), method="GET", times=8)
    download = storage.start(some(0, 8), 1 << 28)
    for _ in range(2):  # in the middle of connecting, and later
        download.poll()
        time.sleep(2.5)
    assert taken(download) == list(range(8))


def test_a_server_that_stalls_is_still_noticed(
    storage: S3Storage, between: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(monkeypatch, patience=0.0)
    between.plan(faults.stall(1_000), method="GET", times=None)
    download = storage.start(some(0, 1), 1 << 28)
    download.poll()
    time.sleep(2.5)
    began = time.monotonic()
    [[(_, error)]] = list(download.groups)
    assert type(error) is StorageUnreachable
    assert time.monotonic() - began < 12
