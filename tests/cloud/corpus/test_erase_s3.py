"""Erasure on a real object store with versions, with Object Lock, and where versions cannot be listed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.head import open_head, open_with, peek
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import entries
from securedata.errors import AuthenticationFailed, DeleteRefused, NotFound, SubjectErased
from securedata.keys.kms import open_all
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from securedata.storage.s3.store import S3Storage
from securedata.testing import faults
from tests.cloud.conftest import VERSIONED
from tests.kit.cloud.fault_plans import Between
from tests.kit.corpora.contents import current, look, named_keys, open_quietly
from tests.kit.corpora.rows import add, content, make, writer_of
from tests.kit.servers import Bao, Seaweed

pytestmark = pytest.mark.xdist_group("servers")

ANN = Request("subject", names=("ann",), reference="REQ-1")


def stored(server: Seaweed, bucket: str, prefix: str) -> list[tuple[str, str]]:
    """Key and version id of all contents and delete markers below a root."""
    pages = server.client().get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    kinds = ("Versions", "DeleteMarkers")
    return [
        (one["Key"].removeprefix(f"{prefix}/"), one["VersionId"])
        for page in pages
        for kind in kinds
        for one in page.get(kind, ())
    ]


def filled(bucket: str, prefix: str, kms: str | None = None) -> Reference:
    """Ann and bob, in three commits; a part and an object of ann's were removed and only hidden by a marker."""
    make_operator("example.com/erasure")
    reference = make(root=f"s3://{bucket}/{prefix}", name=prefix, **({} if kms is None else {"kms": [kms]}))
    writer = writer_of(reference)
    add(writer, {"ann/1": content("ann/1"), "bob/1": content("bob/1")}, consent_id="C1")
    add(writer, {"ann/2": content("ann/2")})
    writer.commit(remove=["ann/2"])
    return reference


@pytest.fixture(scope="module")
def lockable(weed: Seaweed) -> str:
    name = "locked-for-a-day"
    weed.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def locked(weed: Seaweed, lockable: str) -> Iterator[str]:
    """A bucket in which nothing can be deleted for a day."""
    client = weed.client()
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    client.put_object_lock_configuration(
        Bucket=lockable, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    yield lockable
    client.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})


def test_no_version_of_an_erased_person_is_left(
    admin: Seaweed, bao: Bao, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    reference = filled(VERSIONED, prefix, bao.make_key(prefix))
    before, rows = look(reference), current(reference)
    saved = admin.client().get_object(Bucket=VERSIONED, Key=f"{prefix}/head")["Body"].read()
    gone = rows["ann/1"]["object_id"].hex()
    storage = writer_of(reference).storage
    left_before = [one for each in before.head.retired for one in entries(storage, before.head, each)]
    removed_before = [id for id, what in left_before if what == "object"]
    hidden = f"{prefix}/manifest/{'ab' * 16}"  # a part that somebody without the right to delete versions deleted
    admin.client().put_object(Bucket=VERSIONED, Key=hidden, Body=b"x")
    admin.client().delete_object(Bucket=VERSIONED, Key=hidden)
    calls = [bao.calls(what, prefix) for what in ("encrypt", "decrypt")]
    erased = erase(writer_of(reference), ANN)
    assert [bao.calls(what, prefix) - n for what, n in zip(("encrypt", "decrypt"), calls, strict=True)] == [1, 2]
    assert erased.receipt is not None
    assert erased.receipt.levels == ("deleted where visible",)
    after = look(reference).head
    left = stored(admin, VERSIONED, prefix)
    # what was removed before waits for its day, unreadable: the only part that had its key is gone
    removed = {object_key(one) for one in removed_before}
    assert {key for key, _ in left} == named_keys(after, writer_of(reference).storage) | removed
    assert not any(gone in key for key, _ in left)
    client = admin.client()
    for _, version in [one for one in left if one[0] == "head"]:
        data = client.get_object(Bucket=VERSIONED, Key=f"{prefix}/head", VersionId=version)["Body"].read()
        assert peek(data, "head")[0].key_id == after.key_id
    assert open_quietly(reference).read("bob/1") == content("bob/1")
    # what the receipt says can remain: a head that was saved before opens with the KMS key, and today's key does not
    assert open_head(saved, "", reference.root, open_all(reference.kms)).head == before.head
    with pytest.raises(AuthenticationFailed):
        open_with(saved, look(reference).key, reference.root)


def test_object_lock_stops_it_or_is_in_the_receipt(admin: Seaweed, locked: str, prefix: str) -> None:
    reference = filled(locked, prefix)
    before, rows = stored(admin, locked, prefix), current(reference)
    reader = open_quietly(reference)
    with pytest.raises(DeleteRefused, match=r"Object Lock \(GOVERNANCE\)"):
        erase(writer_of(reference), ANN)
    assert stored(admin, locked, prefix) == before
    assert sorted(current(reference)) == ["ann/1", "bob/1"]
    erased = erase(writer_of(reference), ANN, Options(partial=True))
    assert sorted(current(reference)) == ["bob/1"]
    assert erased.receipt is not None
    assert 1 <= len(erased.receipt.levels) <= 2, "a reason is given once, not for each key"
    assert all(one.startswith("old versions remain: ") for one in erased.receipt.levels)
    assert set(before) <= set(stored(admin, locked, prefix))
    # a plain GET finds nothing, so a reader that still has the key gets nothing, without a renewal
    gone = object_key(rows["ann/1"]["object_id"])
    with pytest.raises(NotFound):
        writer_of(reference).storage.get(gone)
    with pytest.raises(SubjectErased):
        reader.read("ann/1")
    assert reader.read("bob/1") == content("bob/1")


def test_what_was_hidden_stays_hidden_by_later_erasures(admin: Seaweed, locked: str, prefix: str) -> None:
    """A marker can be deleted, so an erasure that tries to delete what is hidden hides it again."""
    reference = filled(locked, prefix)
    rows = current(reference)
    parts = {part.storage_key for part in look(reference).head.parts}
    erase(writer_of(reference), Request("path", paths=("ann/1",)), Options(partial=True))
    erase(writer_of(reference), Request("consent", consents=("C1",)), Options(partial=True, all_meant=True))
    storage = writer_of(reference).storage
    for key in (*parts, *(object_key(rows[path]["object_id"]) for path in ("ann/1", "bob/1"))):
        with pytest.raises(NotFound):
            storage.get(key)
        versions = [id for name, id in stored(admin, locked, prefix) if name == key]
        assert len(versions) == 2, "the version that is locked, and one marker"


def test_a_refusal_to_hide_is_in_the_receipt_too(admin: Seaweed, locked: str, prefix: str) -> None:
    reference = filled(locked, prefix)
    gone = object_key(current(reference)["ann/1"]["object_id"])
    statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:DeleteObject"]}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": [f"arn:aws:s3:::{locked}/*"]}]}
    admin.client().put_bucket_policy(Bucket=locked, Policy=json.dumps(policy))
    try:
        erased = erase(writer_of(reference), ANN, Options(partial=True))
    finally:
        admin.client().delete_bucket_policy(Bucket=locked)
    assert erased.receipt is not None
    assert any("still answers plain reads, since hiding it was refused" in one for one in erased.receipt.levels)
    assert writer_of(reference).storage.get(gone)


@pytest.mark.usefixtures("admin")
def test_a_deletion_that_is_refused_as_a_whole_is_in_the_receipt(between: Between, prefix: str) -> None:
    reference = filled(VERSIONED, prefix)
    gone = object_key(current(reference)["ann/1"]["object_id"])
    storage = S3Storage(reference.root, {"endpoint_url": between.s3.endpoint})
    rule = between.s3.plan(faults.status(403, "AccessDenied"), method="POST", path=f"/{VERSIONED}", times=None)
    erased = erase(writer_of(reference, storage), ANN, Options(partial=True))
    assert rule.hits, "DeleteObjects was tried"
    assert erased.receipt is not None
    assert erased.receipt.levels
    assert all(one.startswith("old versions remain: ") for one in erased.receipt.levels)
    with pytest.raises(NotFound):
        storage.get(gone)
    assert open_quietly(reference).read("bob/1") == content("bob/1")


def test_versions_that_cannot_be_listed_stop_it(admin: Seaweed, prefix: str) -> None:
    reference = filled(VERSIONED, prefix)
    before = stored(admin, VERSIONED, prefix)
    statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:ListBucketVersions"]}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": [f"arn:aws:s3:::{VERSIONED}"]}]}
    admin.client().put_bucket_policy(Bucket=VERSIONED, Policy=json.dumps(policy))
    try:
        with pytest.raises(DeleteRefused, match="listing versions was refused"):
            erase(writer_of(reference), ANN)
    finally:
        admin.client().delete_bucket_policy(Bucket=VERSIONED)
    assert stored(admin, VERSIONED, prefix) == before
