"""Strict deletion on a real S3 server: versions, Object Lock, refused listings, and answers that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from securedata.errors import (
    DeleteRefused,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
)
from securedata.storage.base import Purged
from securedata.storage.s3 import purge, versions
from securedata.storage.s3.calls import Calls
from securedata.storage.s3.store import S3Storage
from securedata.testing import faults
from securedata.testing.storage import OBJECT, OTHER, PART, raised
from tests.cloud.conftest import VERSIONED
from tests.kit.cloud.fault_plans import Between
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture
def storage(admin: Seaweed, prefix: str) -> S3Storage:
    return S3Storage(f"s3://{VERSIONED}/{prefix}")


def kept(server: Seaweed, storage: S3Storage) -> list[tuple[str, str, bool]]:
    """Key, id and whether it is a content, of all that a bucket with versions keeps below a root."""
    found = []
    for page in (
        server.client().get_paginator("list_object_versions").paginate(Bucket=storage.bucket, Prefix=storage.prefix)
    ):
        for kind in ("Versions", "DeleteMarkers"):
            for one in page.get(kind, ()):
                found.append((one["Key"].removeprefix(storage.prefix), one["VersionId"], kind == "Versions"))
    return found


def commit(storage: S3Storage, *contents: bytes) -> None:
    """Replace the head by each."""
    for content in contents:
        there = "head" in [entry.key for entry in storage.list("head")]
        storage.replace("head", content, storage.get_versioned("head")[1] if there else None)


def hide(server: Seaweed, storage: S3Storage, key: str) -> None:
    """Delete a key by a marker."""
    server.client().delete_object(Bucket=storage.bucket, Key=storage.prefix + key)


@pytest.fixture(scope="module")
def lockable(weed: Seaweed) -> str:
    """A bucket with versions and Object Lock, whose settings a test may change and then puts back."""
    name = "lockable"
    weed.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


# ------------------------------------------------------------------------------------------------------------ versions


def test_versions_and_markers_of_a_key_go_and_its_neighbours_stay(admin: Seaweed, storage: S3Storage) -> None:
    for key in (OBJECT, OTHER, f"{OBJECT}x", "head.prev"):
        storage.put_new(key, [b"x"])
    hide(admin, storage, OBJECT)
    storage.put_new(OBJECT, [b"again"])
    hide(admin, storage, OBJECT)
    commit(storage, b"1", b"2", b"3")
    storage.put_new(PART, [b"x"])
    hide(admin, storage, PART)
    assert list(storage.deleted_keys("manifest/", strict=True)) == [PART]
    found = dict(storage.purge([OBJECT, PART, "head", OBJECT]))
    assert found == {OBJECT: Purged(4), PART: Purged(2), "head": Purged(3)}
    assert sorted(key for key, _, _ in kept(admin, storage)) == sorted([OTHER, f"{OBJECT}x", "head.prev"])


def test_a_key_with_more_versions_than_a_page(
    admin: Seaweed, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    monkeypatch.setattr(versions, "PAGE", 2)
    commit(storage, *[b"%d" % n for n in range(5)])
    hide(admin, storage, "head")
    keys = ["heac", "head", "head.prev", "heae", "heaf", "heag"]
    for key in keys:
        if key != "head":
            storage.put_new(key, [b"x"])
    found = dict(storage.purge([*keys, "none"]))
    assert found == {**dict.fromkeys(keys, Purged(1)), "head": Purged(6), "none": Purged(0)}
    assert kept(admin, storage) == []


def test_many_keys_are_found_by_few_listings(
    admin: Seaweed, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 50)
    monkeypatch.setattr(versions, "PAGE", 40)
    keys = [f"objects/{n % 8:02x}/{n % 8:02x}{n:030x}" for n in range(350)]
    assert all(isinstance(when, float) for _, when in storage.put_many((key, b"x") for key in keys))
    hide(admin, storage, keys[0])
    asked: list[str] = []
    entries = [0]
    call = Calls.call

    def counted(self: Calls, operation: str, *rest: Any, **arguments: Any) -> Any:
        answer = call(self, operation, *rest, **arguments)
        asked.append(operation)
        entries[0] += len(answer.get("Versions", ()))
        return answer

    monkeypatch.setattr(Calls, "call", counted)
    for every, most in ((1, (9, 351)), (3, (9, 351)), (20, (11, 100))):
        asked.clear()
        entries[0] = 0
        wanted = sorted(keys[::every])
        found = dict(versions.versions_of(storage._calls, wanted))
        assert {key: len(ids) for key, ids in found.items()} == {**dict.fromkeys(wanted, 1), keys[0]: 2}
        assert len(asked) <= most[0], "a walk where many are wanted"
        assert entries[0] <= most[1], "a jump where few are"
    asked.clear()
    wanted, missing = keys[::3], [f"{key[:-1]}z" for key in keys[::50]]
    found = dict(storage.purge([*wanted, *missing]))
    assert found == {**dict.fromkeys(wanted, Purged(1)), **dict.fromkeys(missing, Purged(0)), keys[0]: Purged(2)}
    assert sorted(key for key, _, _ in kept(admin, storage)) == sorted(set(keys) - set(wanted))
    assert asked.count("delete_objects") == 3
    assert len(asked) <= 30


# ------------------------------------------------------------------------------------------------- versions of the head


def test_what_is_below_the_first_older_head_goes(admin: Seaweed, storage: S3Storage) -> None:
    commit(storage, b"1", b"2")
    hide(admin, storage, "head")
    commit(storage, b"3")
    hide(admin, storage, "head")
    commit(storage, b"4", b"5")
    storage.put_new("head.prev", [b"another key"])
    read: list[bytes] = []

    def older(content: Any) -> bool:
        read.append(bytes(content))
        return read[-1] == b"3"

    assert storage.purge_older("head", older, 10) == 4
    assert read == [b"5", b"4", b"3"], "from the newest on, and no more than needed"
    assert [(key, content) for key, _, content in kept(admin, storage)] == [
        ("head", True),
        ("head", True),
        ("head.prev", True),
        ("head", False),
    ]
    assert [bytes(content) for _, content in storage.older("head", 100)] == [b"another key", b"4"]


def test_a_current_head_is_never_taken_for_an_older_one(admin: Seaweed, storage: S3Storage) -> None:
    commit(storage, b"1", b"2")
    raised(PreconditionFailed, lambda: storage.purge_older("head", lambda _: True, 10))
    commit(storage, b"a head that is larger", b"3")
    text = str(raised(LimitExceeded, lambda: storage.purge_older("head", lambda content: content == b"1", 10)))
    assert "has 21 bytes, above the limit of 10" in text
    assert len(kept(admin, storage)) == 4
    hide(admin, storage, "head")
    assert storage.purge_older("head", lambda _: True, 100) == 4
    assert [content for _, _, content in kept(admin, storage)] == [False]


# ------------------------------------------------------------------------------------------------------ what is refused


def test_object_lock_is_found_before_anything_is_put(admin: Seaweed, lockable: str, prefix: str) -> None:
    storage = S3Storage(f"s3://{lockable}/{prefix}")
    storage.check_deletable()
    assert kept(admin, storage) == []
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    settings: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    client = admin.client()
    client.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration={**settings, "Rule": rule})
    text = str(raised(DeleteRefused, storage.check_deletable))
    assert "Object Lock (GOVERNANCE)" in text
    assert "--partial" in text
    assert kept(admin, storage) == []
    storage.put_new(OBJECT, [b"x"])
    commit(storage, b"1", b"2")
    found = dict(storage.purge([OBJECT, OTHER]))
    assert found[OTHER] == Purged(0)
    assert isinstance(found[OBJECT], DeleteRefused)
    assert f"{OBJECT} of {storage.url}: deleting a version was refused (AccessDenied)" in str(found[OBJECT])
    raised(DeleteRefused, lambda: storage.purge_older("head", lambda content: content == b"1", 10))
    assert len(kept(admin, storage)) == 3
    client.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration=settings)
    storage.check_deletable()


def test_a_key_is_hidden_once_and_its_versions_stay(admin: Seaweed, storage: S3Storage) -> None:
    storage.put_new(OBJECT, [b"x"])
    before = kept(admin, storage)
    for _ in range(2):
        storage.hide(OBJECT)
        storage.hide(OTHER)
        raised(NotFound, lambda: storage.get(OBJECT))
        after = kept(admin, storage)
        assert [one for one in after if one[2]] == before
        assert len(after) == 2, "one marker, and none over nothing"


def test_a_refused_listing_is_an_error_and_no_marker(admin: Seaweed, lockable: str, prefix: str) -> None:
    storage = S3Storage(f"s3://{lockable}/{prefix}")
    storage.put_new(OBJECT, [b"x"])
    commit(storage, b"1", b"2")
    before = kept(admin, storage)
    statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:ListBucketVersions"]}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": [f"arn:aws:s3:::{lockable}"]}]}
    admin.client().put_bucket_policy(Bucket=lockable, Policy=json.dumps(policy))
    for call in (
        storage.check_deletable,
        lambda: list(storage.purge([OBJECT])),
        lambda: storage.purge_older("head", lambda content: content == b"1", 10),
        lambda: list(storage.deleted_keys(strict=True)),
    ):
        text = str(raised(DeleteRefused, call))
        assert "listing versions was refused (AccessDenied)" in text
        assert "s3:ListBucketVersions" in text
        assert "had to stay" not in text, "the probe can be deleted by its ids"
    assert list(storage.deleted_keys()) == []
    admin.client().delete_bucket_policy(Bucket=lockable)
    assert kept(admin, storage) == before, "no marker, and no probe"


# --------------------------------------------------------------------------------------------------- answers gone wrong


@pytest.fixture
def through(storage: S3Storage, between: Between) -> S3Storage:
    """The same root behind the proxy, with three objects."""
    for key in (OBJECT, OTHER, PART):
        storage.put_new(key, [b"x"])
    return S3Storage(storage.url, {"endpoint_url": between.s3.endpoint})


def _error_for(key: str, code: str) -> Callable[[bytes], bytes]:
    """Turns what an answer says of one deletion into an error."""

    def change(body: bytes) -> bytes:
        found = re.compile(rb"<Deleted>((?:(?!</Deleted>).)*%s.*?)</Deleted>" % key.encode(), re.DOTALL)
        return found.sub(rb"<Error>\1<Code>%s</Code></Error>" % code.encode(), body)

    return change


def _left_out(key: str) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        found = re.compile(rb"<Deleted>(?:(?!</Deleted>).)*%s.*?</Deleted>" % key.encode(), re.DOTALL)
        return found.sub(b"", body)

    return change


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (_error_for(OTHER, "AccessDenied"), DeleteRefused, "refused (AccessDenied)"),
        (_error_for(OTHER, "InternalError"), StorageUnreachable, "not confirmed (InternalError)"),
        (_left_out(OTHER), StorageUnreachable, "not confirmed (no answer)"),
    ],
    ids=["denied", "failed", "left out"],
)
def test_each_deletion_is_answered(
    change: Callable[[bytes], bytes],
    error: type[SecuredataError],
    text: str,
    through: S3Storage,
    between: Between,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge, "_sleep", lambda _: None)
    rule = between.s3.plan(faults.edited(change), method="POST", path=f"/{VERSIONED}", times=None)
    found = dict(through.purge([OBJECT, OTHER, PART]))
    assert rule.hits == (4 if "InternalError" in text else 1), "what might pass is tried again"
    assert type(found.pop(OTHER)) is error
    assert found == {OBJECT: Purged(1), PART: Purged(1)}
    assert text in str(dict(through.purge([OTHER])).get(OTHER)) or not list(through.list())


def test_an_error_that_passes_is_none(through: S3Storage, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "_sleep", lambda _: None)
    between.s3.plan(faults.edited(_error_for(OTHER, "SlowDown")), method="POST", path=f"/{VERSIONED}", times=2)
    assert dict(through.purge([OBJECT, OTHER])) == {OBJECT: Purged(1), OTHER: Purged(1)}


def test_a_deletion_that_only_the_answer_claims_is_found(admin: Seaweed, through: S3Storage, between: Between) -> None:
    before = kept(admin, through)

    def claims(exchange: Any) -> None:
        exchange.read()
        keys = re.findall(rb"<Object>(.*?)</Object>", exchange.request.body, re.DOTALL)
        said = b"".join(b"<Deleted>%s</Deleted>" % key for key in keys)
        faults.status(200, body=b"<DeleteResult>%s</DeleteResult>" % said, content_type="application/xml")(exchange)

    between.s3.plan(claims, method="POST", path=f"/{VERSIONED}", times=None)
    found = dict(through.purge([OBJECT, OTHER]))
    assert [type(one) for one in found.values()] == [StorageUnreachable] * 2
    assert all("something is there again" in str(one) for one in found.values())
    assert kept(admin, through) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fault", [faults.truncated(120), faults.truncated(120, agrees=True), faults.reset(50)])
def test_a_cut_answer_is_an_error_or_asked_for_again(
    method: str, fault: Any, admin: Seaweed, through: S3Storage, between: Between
) -> None:
    rule = between.s3.plan(fault, method=method, path=f"/{VERSIONED}")
    try:
        found = dict(through.purge([OBJECT, OTHER]))
    except StorageUnreachable:
        found = dict(through.purge([OBJECT, OTHER]))
    assert rule.hits == 1
    assert set(found) == {OBJECT, OTHER}
    assert all(isinstance(one, Purged) for one in found.values())
    assert [key for key, _, _ in kept(admin, through)] == [PART]


@pytest.mark.parametrize("marker", ["the same", "new versions", "earlier keys"])
def test_a_listing_without_an_end(marker: str, through: S3Storage, between: Between) -> None:
    asked = [0]

    def change(body: bytes) -> bytes:
        asked[0] += 1
        key = f"{through.prefix}{OBJECT}".encode()
        if marker == "earlier keys":
            key = key[: -asked[0]]
        more = b"<IsTruncated>true</IsTruncated><NextKeyMarker>%s</NextKeyMarker>" % key
        id = b"%032x" % (asked[0] if marker == "new versions" else 1)
        more += b"<NextVersionIdMarker>%s</NextVersionIdMarker>" % id
        return body.replace(b"<IsTruncated>false</IsTruncated>", more)

    between.s3.plan(faults.edited(change), method="GET", path=f"/{VERSIONED}", times=None)
    for call in (lambda: list(through.purge([OBJECT])), lambda: through.purge_older(OBJECT, lambda _: False, 10)):
        text = str(raised(StorageUnreachable, call))
        assert "no end" in text or "not in order" in text
    assert asked[0] < 12


def test_a_listing_that_is_not_in_order_is_no_proof(through: S3Storage, between: Between) -> None:
    def change(body: bytes) -> bytes:
        found = re.findall(rb"<Version>.*?</Version>", body, re.DOTALL)
        assert len(found) == 2
        return body.replace(found[0], b"(1)").replace(found[1], found[0]).replace(b"(1)", found[1])

    between.s3.plan(faults.edited(change), method="GET", path=f"/{VERSIONED}", times=None)
    keys = [OBJECT, OTHER, *(f"{OBJECT[:-1]}{n}" for n in range(3, 9))]
    assert "keys that are not in order" in str(raised(StorageUnreachable, lambda: list(through.purge(keys))))


@pytest.mark.parametrize("code", ["NotImplemented", "MethodNotAllowed"])
def test_a_server_without_listings_of_versions_is_refused(code: str, through: S3Storage, between: Between) -> None:
    fault = faults.status(501 if code == "NotImplemented" else 405, code)
    between.s3.plan(fault, method="GET", path=f"/{VERSIONED}", times=None)
    for call in (through.check_deletable, lambda: list(through.purge([OBJECT]))):
        assert "cannot show older versions" in str(raised(DeleteRefused, call))


def test_a_listing_that_hides_what_was_just_put_is_refused(
    admin: Seaweed, through: S3Storage, between: Between
) -> None:
    def change(body: bytes) -> bytes:
        return re.sub(rb"<Version>(?:(?!</Version>).)*<IsLatest>false.*?</Version>", b"", body, flags=re.DOTALL)

    before = kept(admin, through)
    between.s3.plan(faults.edited(change), method="GET", path=f"/{VERSIONED}", times=None)
    text = str(raised(DeleteRefused, through.check_deletable))
    assert "cannot show older versions" in text
    assert kept(admin, through) == before, "the probe is deleted by its ids"
