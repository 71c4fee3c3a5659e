"""S3Storage on a real server: the contract, versions, uploads in parts, conditional puts, odd names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from securedata.errors import AlreadyExists, LimitExceeded, NotFound, PreconditionFailed, StorageUnreachable
from securedata.storage.base import Storage, Wanted
from securedata.storage.registry import open_storage
from securedata.storage.s3 import store
from securedata.storage.s3.store import PART, S3Storage
from securedata.testing.storage import OBJECT, OTHER, StorageContract, raised
from tests.cloud.conftest import VERSIONED
from tests.kit.cloud.forward import forward
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

ODD = "Zoë's a+b=c & d%20e #1"


class OnSeaweed(StorageContract):
    """Not collected: every test has a prefix of its own."""

    writers = 4
    rounds = 3
    early = 62.0
    bucket = "voice"

    @pytest.fixture(autouse=True)
    def place(self, admin: Seaweed, prefix: str) -> None:
        self.url = f"s3://{self.bucket}/{prefix}/{ODD}"

    def new(self) -> Storage:
        return S3Storage(self.url)

    def again(self, storage: Storage) -> Storage:
        return S3Storage(storage.url)


class TestSeaweed(OnSeaweed):
    pass


class TestVersioned(OnSeaweed):
    bucket = VERSIONED


@pytest.fixture
def storage(admin: Seaweed, prefix: str) -> S3Storage:
    return S3Storage(f"s3://voice/{prefix}")


def versions(server: Seaweed, prefix: str) -> list[tuple[str, str]]:
    """Key and kind of all that a bucket with versions keeps."""
    client, found = server.client(), []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=VERSIONED, Prefix=prefix):
        found += [(one["Key"], kind) for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, ())]
    return found


def uploads(server: Seaweed, bucket: str, prefix: str) -> list[Any]:
    """Uploads in parts that were begun and neither completed nor aborted."""
    return list(server.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", []))


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "root", ["", "a b", "a+b", "a=b&c", "ä/日本", "100%", "a%2Fb", "it's", "a#b", "a?b", "~a!(b)*,;:@$"], ids=repr
)
def test_any_root_is_one_place(admin: Seaweed, prefix: str, root: str) -> None:
    storage = S3Storage(f"s3://voice/{prefix}/{root}")
    beside = S3Storage(f"s3://voice/{prefix}/{root}x")
    for one, data in ((storage, b"ours"), (beside, b"beside")):
        one.put_new(OBJECT, [data])
    assert bytes(storage.get(OBJECT)) == b"ours"
    assert [bytes(one) for one in storage.get_ranges(OBJECT, [(1, 2)])] == [b"ur"]
    assert [one.key for one in storage.list("objects/")] == [OBJECT]
    keys = [one["Key"] for one in admin.client().list_objects_v2(Bucket="voice", Prefix=storage.prefix)["Contents"]]
    assert keys == [f"{prefix}/{root}/{OBJECT}" if root else f"{prefix}/{OBJECT}"] or not root
    storage.delete(OBJECT)
    raised(NotFound, lambda: storage.get(OBJECT))
    assert bytes(beside.get(OBJECT)) == b"beside"


def test_a_bucket_may_be_the_root(admin: Seaweed, prefix: str) -> None:
    storage = open_storage("s3://voice")
    storage.put_new(f"{prefix}/one", [b"1"])
    assert bytes(S3Storage("s3://voice/").get(f"{prefix}/one")) == b"1"
    assert [one.key for one in storage.list(prefix)] == [f"{prefix}/one"]
    storage.delete(f"{prefix}/one")


def test_a_bucket_that_is_not_there_is_named(admin: Seaweed) -> None:
    storage = S3Storage(f"s3://no-bucket-{os.urandom(4).hex()}/x")
    for call in (lambda: storage.get("head"), lambda: list(storage.list())):
        assert f"there is no bucket {storage.bucket}" in str(raised(NotFound, call))


# ------------------------------------------------------------------------------------------------------------ versions


def test_delete_takes_all_versions_of_one_key(admin: Seaweed, prefix: str) -> None:
    storage = S3Storage(f"s3://{VERSIONED}/{prefix}")
    storage.replace("head", b"0", None)
    for number in range(3):
        storage.replace("head", b"%d" % number, storage.get_versioned("head")[1])
    admin.client().delete_object(Bucket=VERSIONED, Key=f"{prefix}/head")  # a marker
    storage.replace("head", b"again", None)
    storage.replace("head.prev", b"another key that begins the same", None)
    assert len(versions(admin, prefix)) == 7
    storage.delete("head")
    assert versions(admin, prefix) == [(f"{prefix}/head.prev", "Versions")]
    raised(NotFound, lambda: storage.get("head"))
    storage.delete("head")
    assert versions(admin, prefix)[0] == (f"{prefix}/head.prev", "Versions")


@pytest.mark.full
def test_delete_takes_more_versions_than_a_page_has(admin: Seaweed, prefix: str) -> None:
    storage = S3Storage(f"s3://{VERSIONED}/{prefix}")
    client = admin.client()
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda n: client.put_object(Bucket=VERSIONED, Key=f"{prefix}/head", Body=b"%d" % n), range(1050)
        ):
            pass
    assert len(versions(admin, prefix)) == 1050
    storage.delete("head")
    assert versions(admin, prefix) == []


# --------------------------------------------------------------------------------------------------- uploads in parts


@pytest.mark.parametrize("bucket", ["voice", VERSIONED])
@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART + 5])
def test_sizes_around_a_part(admin: Seaweed, prefix: str, bucket: str, size: int) -> None:
    storage = S3Storage(f"s3://{bucket}/{prefix}/ä b")
    data = os.urandom(1 << 20) * (size // (1 << 20) + 1)
    data = data[:size]
    when = storage.put_new(OBJECT, [data[:100], data[100 : PART - 7], data[PART - 7 :]])
    assert bytes(storage.get(OBJECT)) == data
    assert bytes(storage.get_ranges(OBJECT, [(PART - 3, 10)])[0]) == data[PART - 3 : PART + 7]
    [entry] = storage.list(OBJECT)
    assert entry.size == size
    assert 0 <= entry.time - when <= 70
    etag = admin.client().head_object(Bucket=bucket, Key=storage.prefix + OBJECT)["ETag"]
    assert ("-" in etag) == (size >= PART), "in parts from PART on"
    raised(AlreadyExists, lambda: storage.put_new(OBJECT, [data[:PART], b"other"]))
    raised(AlreadyExists, lambda: storage.put_new(OBJECT, [b"other"]))
    assert bytes(storage.get_ranges(OBJECT, [(0, 100)])[0]) == data[:100]
    assert uploads(admin, bucket, prefix) == [], "what was begun in vain is aborted"
    storage.delete(OBJECT)


def test_a_source_that_ends_amid_the_parts_leaves_nothing(admin: Seaweed, storage: S3Storage) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(PART + 5)
        yield bytes(PART)
        raise OSError(5, "the source")

    with pytest.raises(OSError, match="the source"):
        storage.put_new(OBJECT, pieces())
    raised(NotFound, lambda: storage.get(OBJECT))
    assert uploads(admin, "voice", storage.prefix) == []


# ------------------------------------------------------------------------------------------------------- lost answers


def test_a_put_whose_answer_is_lost_has_been_done(admin: Seaweed, storage: S3Storage) -> None:
    with forward(admin.endpoint) as between:
        through = S3Storage(storage.url, {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        between.lose = "PUT"
        when = through.put_new(OBJECT, [b"one"])
        assert between.lost == 1
        assert bytes(storage.get(OBJECT)) == b"one"
        assert [one.time >= when for one in storage.list(OBJECT)] == [True]
        # the same key again is another's, and no answer was lost
        raised(AlreadyExists, lambda: through.put_new(OBJECT, [b"two"]))


def test_a_lost_answer_to_the_last_call_of_an_upload_in_parts(admin: Seaweed, storage: S3Storage) -> None:
    data = os.urandom(PART + 10)
    with forward(admin.endpoint) as between:
        through = S3Storage(storage.url, {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        between.lose = f"POST /voice/{storage.prefix}{OBJECT}?uploadId="
        through.put_new(OBJECT, [data])
        assert between.lost == 1
    assert bytes(storage.get(OBJECT)) == data
    assert uploads(admin, "voice", storage.prefix) == []


def test_a_replace_whose_answer_is_lost_is_not_tried_again(admin: Seaweed, storage: S3Storage) -> None:
    # tried again it would be refused, and the writer would take its own head for another's
    storage.replace("head", b"one", None)
    version = storage.get_versioned("head")[1]
    with forward(admin.endpoint) as between:
        through = S3Storage(storage.url, {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        between.lose = "PUT"
        raised(StorageUnreachable, lambda: through.replace("head", b"two", version))
        assert len([one for one in between.requests if one.startswith("PUT")]) == 1
    assert bytes(storage.get("head")) == b"two", "the server did it all the same"
    raised(PreconditionFailed, lambda: storage.replace("head", b"three", version))


def test_a_get_whose_answer_is_lost_is_tried_again(admin: Seaweed, storage: S3Storage) -> None:
    storage.put_new(OBJECT, [b"x" * 100_000])
    with forward(admin.endpoint) as between:
        through = S3Storage(storage.url, {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        between.lose = "GET"
        assert bytes(through.get(OBJECT)) == b"x" * 100_000
        assert between.lost == 1
        assert 0 < through.seconds_backing_off() < 10


# ------------------------------------------------------------------------------------------------------ many at once


def test_a_batch_comes_side_by_side_with_its_failures(admin: Seaweed, storage: S3Storage) -> None:
    contents = {f"objects/{n:02x}/{n}": os.urandom(1000 * n + 1) for n in range(40)}
    for key, data in contents.items():
        storage.put_new(key, [data])
    wanted = [Wanted(key, 0, len(data) + 1, len(data)) for key, data in contents.items()]
    wanted[7] = Wanted("objects/none", 0, 5)
    wanted[9] = Wanted("objects/09/9", 100, 50)
    for in_flight in (1, 30_000, 1 << 28):
        found = dict(storage.get_many(wanted, in_flight))
        assert sorted(found) == list(range(40))
        for at, one in enumerate(wanted):
            if at == 7:
                assert type(found[at]) is NotFound
            else:
                assert bytes(found[at]) == contents[one.key][one.offset : one.offset + one.length]


def test_a_batch_that_is_left_early_does_no_harm(admin: Seaweed, storage: S3Storage) -> None:
    for n in range(8):
        storage.put_new(f"objects/{n}", [bytes([n]) * 3_000_000])
    for _ in range(3):
        for at, got in storage.get_many([Wanted(f"objects/{n}", 0, 3_000_000) for n in range(8)], 1 << 28):
            assert bytes(got) == bytes([at]) * 3_000_000
            break
    assert bytes(storage.get("objects/5")) == bytes([5]) * 3_000_000


def test_whoever_takes_a_batch_may_fetch_amid_it(storage: S3Storage) -> None:
    """As a reader does that looks why an object of the batch is missing."""
    for n in range(12):
        storage.put_new(f"objects/{n}", [bytes([n]) * 200_000])
    wanted = [Wanted(f"objects/{n}", 0, 200_000) for n in range(12)]
    for at, got in storage.get_many(wanted, 1 << 28):
        assert bytes(storage.get(f"objects/{11 - at}")) == bytes([11 - at]) * 200_000
        for inner, one in storage.get_many(wanted[:3], 1 << 28):
            assert bytes(storage.get("objects/7")) == bytes([7]) * 200_000
            assert bytes(one) == bytes([inner]) * 200_000
        assert bytes(got) == bytes([at]) * 200_000


def test_a_limit_names_both_numbers_however_large_the_object(storage: S3Storage) -> None:
    storage.put_new(OBJECT, [bytes(3_000_000)])
    storage.put_new(OTHER, [b"small"])
    text = str(raised(LimitExceeded, lambda: storage.get(OBJECT, 1_000)))
    assert "3000000" in text
    assert "1000" in text
    assert bytes(storage.get(OTHER, 1_000)) == b"small"


# --------------------------------------------------------------------------------------------------- honest servers


def test_the_probe_leaves_nothing_and_asks_once(admin: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PROBED", set())
    with forward(admin.endpoint) as between:
        storage = S3Storage(f"s3://{VERSIONED}/{prefix}", {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        storage.check_writable(single_writer=True)
        assert between.requests == [], "who says so is not asked"
        storage.check_writable()
        asked = len(between.requests)
        assert sum(one.startswith("PUT") for one in between.requests) == 3
        storage.check_writable()
        S3Storage(f"{storage.url}/below", {"endpoint_url": f"http://127.0.0.1:{between.port}"}).check_writable()
        assert len(between.requests) == asked
    assert versions(admin, prefix) == []


def test_a_head_comes_with_the_time_of_storage(storage: S3Storage) -> None:
    assert storage.recent_time() is None
    storage.put_new("head", [b"x"])
    assert storage.recent_time() is None
    storage.get_versioned("head")
    heard = storage.recent_time()
    assert heard is not None
    assert abs(heard - time.time()) < 5
    assert heard - 2 < storage.now() <= heard + 2
