"""Legal holds on a real S3 server with Object Lock, and on servers and buckets that have none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from securedata.errors import AccessDenied, LimitExceeded, NoObjectLock, NotFound, StorageUnreachable
from securedata.storage.local import LocalStorage
from securedata.storage.s3.calls import Calls
from securedata.storage.s3.legal_holds import S3LegalHolds
from securedata.storage.s3.store import S3Storage
from securedata.testing.storage import OBJECT, OTHER, PART, raised
from tests.cloud.conftest import VERSIONED
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

BUCKET = "legal-holds"


@pytest.fixture(scope="module")
def lockable(weed: Seaweed) -> str:
    weed.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return BUCKET


@pytest.fixture
def storage(admin: Seaweed, lockable: str, prefix: str) -> S3Storage:
    return S3Storage(f"s3://{lockable}/{prefix}")


def ids(server: Seaweed, storage: S3Storage, key: str) -> list[str]:
    """Version ids of a key's contents, the newest first."""
    found = server.client().list_object_versions(Bucket=storage.bucket, Prefix=storage.prefix + key)
    return [one["VersionId"] for one in found.get("Versions", ())]


def delete(server: Seaweed, storage: S3Storage, key: str, version: str) -> str:
    """Delete a version as anybody with the right to would; returns the code of a refusal."""
    try:
        server.client().delete_object(Bucket=storage.bucket, Key=storage.prefix + key, VersionId=version)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def deny(server: Seaweed, bucket: str, action: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": [action]}
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]}
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_what_has_one_cannot_be_deleted_until_it_is_turned_off(admin: Seaweed, storage: S3Storage) -> None:
    for key in (OBJECT, OTHER, PART):
        storage.put_new(key, [b"x"])
    holds = storage.legal_holds()
    assert holds.enabled()
    found = dict(holds.turn_on([OBJECT, PART, "objects/ff/none"]))
    assert (found[OBJECT], found[PART], type(found["objects/ff/none"])) == (1, 1, NotFound)
    assert dict(holds.turn_on([OBJECT])) == {OBJECT: 1}, "again is no error"
    for key, code in ((OBJECT, "AccessDenied"), (PART, "AccessDenied"), (OTHER, "")):
        [id] = ids(admin, storage, key)
        assert delete(admin, storage, key, id) == code
    admin.client().delete_object(Bucket=storage.bucket, Key=storage.prefix + OBJECT)  # a marker hides it
    assert dict(holds.turn_off([OBJECT, PART, OTHER, "objects/ff/none"])) == {
        OBJECT: 1, PART: 1, OTHER: 0, "objects/ff/none": 0,
    }  # fmt: skip
    assert dict(holds.turn_off([OBJECT, PART])) == {OBJECT: 0, PART: 0}
    for key in (OBJECT, PART):
        [id] = ids(admin, storage, key)
        assert delete(admin, storage, key, id) == ""


def test_versions_of_the_head(admin: Seaweed, storage: S3Storage) -> None:
    holds = storage.legal_holds()
    raised(NotFound, lambda: holds.current("head", 10))
    storage.replace("head", b"1", None)
    storage.replace("head", b"2", storage.get_versioned("head")[1])
    second, content = holds.current("head", 10)
    assert content == b"2"
    storage.replace("head", b"3", storage.get_versioned("head")[1])
    assert list(holds.held("head", 10)) == []
    holds.turn("head", second, on=True)
    assert list(holds.held("head", 10)) == [(second, b"2")]
    third, _ = holds.current("head", 10)
    holds.turn("head", third, on=True)
    assert list(holds.held("head", 10)) == [(third, b"3"), (second, b"2")]
    holds.turn("head", second, on=False)
    assert list(holds.held("head", 10)) == [(third, b"3")]
    raised(LimitExceeded, lambda: list(holds.held("head", 0)))
    raised(LimitExceeded, lambda: holds.current("head", 0))


def test_the_probe_leaves_nothing(admin: Seaweed, storage: S3Storage) -> None:
    storage.legal_holds().check()
    assert ids(admin, storage, "") == []


@pytest.mark.parametrize("bucket", ["voice", VERSIONED])
def test_a_bucket_without_object_lock(admin: Seaweed, prefix: str, bucket: str) -> None:
    """SeaweedFS takes a legal hold where a bucket has versions only, and deletes all the same."""
    storage = S3Storage(f"s3://{bucket}/{prefix}")
    holds = storage.legal_holds()
    assert not holds.enabled()
    assert "the bucket has none" in str(raised(NoObjectLock, holds.check))
    assert ids(admin, storage, "") == []


def test_a_server_that_does_not_heed_them(admin: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = S3Storage(f"s3://{VERSIONED}/{prefix}")
    monkeypatch.setattr(S3LegalHolds, "_check_bucket", lambda self: None)  # as if it had said that it has Object Lock
    text = str(raised(NoObjectLock, storage.legal_holds().check))
    assert "deletes a version in spite of its legal hold" in text
    assert ids(admin, storage, "") == []


@pytest.mark.parametrize("action", ["s3:PutObjectLegalHold", "s3:GetBucketObjectLockConfiguration"])
def test_a_refusal_says_what_to_allow(admin: Seaweed, storage: S3Storage, action: str) -> None:
    deny(admin, storage.bucket, action)
    try:
        text = str(raised(AccessDenied, storage.legal_holds().check))
    finally:
        admin.client().delete_bucket_policy(Bucket=storage.bucket)
    assert text.endswith(f"; allow {action}")
    assert ids(admin, storage, "") == []


def test_an_error_of_one_key_is_of_that_key(
    admin: Seaweed, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (OBJECT, OTHER):
        storage.put_new(key, [b"x"])
    call = Calls.call

    def failing(self: Calls, operation: str, key: str | None, *rest: Any, **arguments: Any) -> Any:
        if operation == "put_object_legal_hold" and key == OTHER:
            raise StorageUnreachable("away")
        return call(self, operation, key, *rest, **arguments)

    monkeypatch.setattr(Calls, "call", failing)
    found = dict(storage.legal_holds().turn_on([OBJECT, OTHER]))
    assert (found[OBJECT], type(found[OTHER])) == (1, StorageUnreachable)


def test_other_storage_has_none(tmp_path: Any) -> None:
    text = str(raised(NoObjectLock, LocalStorage(str(tmp_path)).legal_holds))
    assert "only S3 with Object Lock" in text
