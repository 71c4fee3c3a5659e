"""PUTs over libcurl: carried out once whatever happens on the way, checked by the server, not shared with a child."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.writer import Writer
from securedata.errors import AlreadyExists, StorageUnreachable
from securedata.format.header import MAGIC
from securedata.storage.http.put import _BUFFER, _DIGEST_TRIES
from securedata.storage.s3.store import S3Storage
from tests.kit.cloud.forward import Forward, forward
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.servers import Seaweed
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


@contextmanager
def reached(admin: Seaweed, prefix: str) -> Iterator[tuple[S3Storage, Forward]]:
    """A storage whose bytes pass through a forwarder."""
    with forward(admin.endpoint) as between:
        options = {"endpoint_url": f"http://127.0.0.1:{between.port}"}
        yield S3Storage(f"s3://voice/{prefix}/Zoë a+b=c", options), between


def methods(between: Forward) -> Counter[str]:
    return Counter(line.partition(" ")[0] for line in between.requests)


@pytest.mark.parametrize("size", [0, 1, _BUFFER - 1, _BUFFER, _BUFFER + 1, 3_000_000])
def test_whatever_its_size(admin: Seaweed, prefix: str, size: int) -> None:
    with reached(admin, prefix) as (storage, between):
        data = os.urandom(size)
        storage.put_new("objects/a b+c", [data])
        assert methods(between) == {"PUT": 1}
        assert bytes(storage.get("objects/a b+c")) == data
        head = admin.client().head_object(Bucket="voice", Key=f"{storage.prefix}objects/a b+c", ChecksumMode="ENABLED")
        assert head["ContentLength"] == size
        assert "ChecksumCRC32" in head, "the server has the checksum that it compared"
        with pytest.raises(AlreadyExists):
            storage.put_new("objects/a b+c", [data])


@pytest.mark.parametrize("before", [0, 1], ids=["a new connection", "one that is kept alive"])
def test_a_lost_answer(admin: Seaweed, prefix: str, before: int) -> None:
    """On a connection that was used before, libcurl itself would send again, uncounted, and be refused."""
    with reached(admin, prefix) as (storage, between):
        for number in range(before):
            storage.put_new(f"objects/{number}", [b"x"])
        between.requests.clear()
        between.lose = "PUT"
        storage.put_new("objects/a", [b"one"])
        assert (between.lost, methods(between)["PUT"]) == (1, 2)
        assert bytes(storage.get("objects/a")) == b"one"
        with pytest.raises(AlreadyExists):
            storage.put_new("objects/a", [b"two"])


def test_many_together(admin: Seaweed, prefix: str) -> None:
    """A few at a time, each with an outcome of its own, and the next is made only when there is room for it."""
    with reached(admin, prefix) as (storage, between):
        storage.put_new("objects/7", [b"taken"])
        at_first = between.connections
        made, ended = 0, 0

        def wanted() -> Iterator[tuple[str, bytes]]:
            nonlocal made
            for number in range(30):
                assert made - ended < storage.parallel_puts
                made += 1
                yield f"objects/{number}", bytes([number]) * 1000

        between.lose = "PUT"
        found = {}
        for at, outcome in storage.put_many(wanted()):
            ended += 1
            found[at] = outcome
        assert between.lost == 1
        assert sorted(found) == list(range(30))
        assert [at for at, outcome in found.items() if not isinstance(outcome, float)] == [7]
        assert isinstance(found[7], AlreadyExists)
        assert between.connections <= at_first + storage.parallel_puts + 1
        for number in range(30):
            content = b"taken" if number == 7 else bytes([number]) * 1000
            assert bytes(storage.get(f"objects/{number}")) == content


def test_puts_and_gets_share_a_connection(admin: Seaweed, prefix: str) -> None:
    with reached(admin, prefix) as (storage, between):
        for number in range(3):
            storage.put_new(f"objects/{number}", [b"x"])
            assert bytes(storage.get(f"objects/{number}")) == b"x"
        assert methods(between) == {"PUT": 3, "GET": 3}
        assert between.connections == 1


def test_between_two_outcomes_others_can_be_asked_for(admin: Seaweed, prefix: str) -> None:
    with reached(admin, prefix) as (storage, _):
        wanted = [(f"objects/{number}", bytes([number]) * 1000) for number in range(20)]
        ended = 0
        for at, outcome in storage.put_many(wanted):
            assert isinstance(outcome, float)
            ended += 1
            key, data = wanted[at]
            assert bytes(storage.get(key)) == data
            storage.put_new(f"{key}-again", [data])
        assert ended == 20


def test_what_is_under_way_is_ended_by_a_source_that_fails(admin: Seaweed, prefix: str) -> None:
    with reached(admin, prefix) as (storage, _):

        def wanted() -> Iterator[tuple[str, bytes]]:
            yield "objects/a", b"one"
            raise OSError("the source")

        with pytest.raises(OSError, match="the source"):
            dict(storage.put_many(wanted()))
        storage.put_new("objects/b", [b"two"])
        assert bytes(storage.get("objects/b")) == b"two"


def test_many_threads_keep_a_connection_each(admin: Seaweed, prefix: str) -> None:
    with reached(admin, prefix) as (storage, between):
        storage.put_new("objects/first", [b"x"])
        at_first = between.connections

        def work(number: int) -> None:
            for one in range(10):
                storage.put_new(f"objects/{number}-{one}", [os.urandom(1000)])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert methods(between)["PUT"] == 41
        assert between.connections == at_first + 4


def test_a_forked_child_uses_no_connection_of_its_parent(admin: Seaweed, prefix: str) -> None:
    with reached(admin, prefix) as (storage, between):
        storage.put_new("objects/parent", [b"x"])
        before = between.connections
        child = os.fork()
        if child == 0:
            storage.put_new("objects/child", [b"x"])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert between.connections > before
        made = between.connections
        storage.put_new("objects/parent-2", [b"x"])
        assert between.connections == made, "the parent goes on with its own"
        assert {one.key for one in storage.list("objects/")} == {
            "objects/parent",
            "objects/child",
            "objects/parent-2",
        }


# ------------------------------------------------------------------------------------------------- turned on the way


class Turned:
    """Turns a bit of sealed objects that pass, so many times."""

    def __init__(self, times: int) -> None:
        self.times, self.count = times, 0

    def __call__(self, data: bytes) -> bytes:
        at = data.find(MAGIC)
        if at < 0 or at + 1000 > len(data) or self.count >= self.times:
            return data
        self.count += 1
        return data[: at + 900] + bytes([data[at + 900] ^ 1]) + data[at + 901 :]


@pytest.mark.parametrize("times", [1, 99])
def test_a_bit_that_turns_on_the_way(cloud: Cloud, times: int, tmp_path: Path) -> None:
    """The server's checksum tells, and nothing has to be read back to see it; it is sent again, but not for ever."""
    root = cloud.make("sealed", [])
    one = clip("ann/a.wav", 3)
    with forward(cloud.weed.endpoint) as between:
        reference = replace(root.reference, options={"endpoint_url": f"http://127.0.0.1:{between.port}"})
        writer = Writer(reference)
        before = keys_in(cloud.weed, root)
        between.requests.clear()
        turned = between.alter = Turned(times)
        if times == 1:
            put = writer.put_object([one.data])
            assert methods(between) == {"PUT": 2}
            assert len(keys_in(cloud.weed, root)) == len(before) + 1
            assert (
                len(writer.storage.get(f"objects/{put.object_id.hex()[:2]}/{put.object_id.hex()}")) == put.sealed_size
            )
        else:
            with pytest.raises(StorageUnreachable, match="BadDigest"):
                writer.put_object([one.data])
            assert methods(between) == {"PUT": turned.count} == {"PUT": _DIGEST_TRIES}
            assert keys_in(cloud.weed, root) == before
