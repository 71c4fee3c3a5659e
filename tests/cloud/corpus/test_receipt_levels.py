"""What has become of the KMS key of an erased head, on real services; a receipt says that, and no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from securedata.corpus.state.head import open_head
from securedata.errors import InvalidArgument, KMSDenied, KMSMisconfigured
from securedata.keys.kms import open_all, open_kms
from securedata.lifecycle.erasure.complete import complete
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.erasure.saved import try_copy
from securedata.lifecycle.receipt.members import Stated
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.receipt.verify import unverified_statement, verify_receipt
from tests.kit.corpora.rows import add, content, make, writer_of
from tests.kit.servers import Bao

pytestmark = pytest.mark.xdist_group("servers")


def test_a_transit_key_is_destroyed_when_it_is_trimmed(
    bao: Bao, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    operator = make_operator("example.com/erasure").operator
    transit = bao.client().secrets.transit
    reference = make(root=str(tmp_path / prefix), name=prefix, kms=[bao.make_key(prefix)])
    writer = writer_of(reference)
    add(writer, {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    saved = (tmp_path / prefix / "head").read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / prefix, copy)
    transit.rotate_key(name=prefix)
    erased = erase(writer, Request("subject", names=("ann",)))
    assert erased.receipt is not None
    assert erased.receipt.path is not None
    first = erased.receipt.path.read_bytes()
    asked = open_all(reference.kms)
    # a saved head still opens, and the receipt does not say otherwise
    assert len(open_head(saved, "", reference.root, asked).head.parts) == 1
    tried = try_copy(unverified_statement(first), copy, asked)
    assert (tried.opened, len(tried.parts), len(tried.objects)) == (True, 1, 1)
    done = complete(writer, first, operator, asked)
    [key] = done.keys
    assert (done.changed, key.fate and key.fate.state, key.needed_by) == (False, "lives", ())
    assert key.wrap.endswith(f"/transit/keys/{prefix}, version 1")
    bao.client().write(f"transit/keys/{prefix}/config", min_decryption_version=2, min_encryption_version=2)
    assert complete(writer, first, operator, asked).changed is False, "this can be taken back"
    transit.trim_key(name=prefix, min_version=2)
    done = complete(writer, first, operator, asked, [Stated("backups", "there are none")])
    assert done.changed
    assert done.receipt.levels == (
        "deleted where visible",
        f"key destroyed: {key.wrap} (the service keeps versions 2 to 2; version 1 made the wrap)",
    )
    with pytest.raises(KMSDenied):
        open_head(saved, "", reference.root, asked)
    tried = try_copy(unverified_statement(first), copy, asked)
    assert (tried.opened, tried.parts, tried.objects, tried.unasked) == (False, (), (), ())
    assert {one.generation for one in tried.heads} == {None}
    other = open_kms(bao.make_key(f"{prefix}-other"))
    transit.update_key_configuration(name=f"{prefix}-other", deletion_allowed=True)
    transit.delete_key(name=f"{prefix}-other")
    assert other.fate(None).state == "destroyed"
    # an engine that is not at its path any more is no key that is gone
    bao.client().sys.move_backend("transit", "moved")
    try:
        with pytest.raises(KMSDenied, match="no such transit key"):
            asked[0].fate(1)
    finally:
        bao.client().sys.move_backend("moved", "transit")
    assert done.receipt.path is not None
    second = done.receipt.path.read_bytes()
    statement = verify_receipt(second, [operator.public]).statement
    assert statement.stated == (Stated("backups", "there are none"),)
    assert not any("still open" in one for one in statement.remains)
    assert complete(writer, second, operator, asked).changed is False
    with pytest.raises(InvalidArgument, match="not the final one"):
        complete(writer, first, operator, asked)
    assert writer.refresh().receipts[0]["digest"] == done.receipt.digest


def test_an_aws_key_is_scheduled_first(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes of the API, by moto: not verified against AWS."""
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("kms", region_name="eu-west-1", endpoint_url=aws)
    arn = client.create_key()["KeyMetadata"]["Arn"]
    kms = open_kms(f"aws-kms://{arn}")
    assert kms.fate(None).state == "lives"
    client.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)
    fate = kms.fate(None)
    assert (fate.state, fate.evidence) == ("scheduled", "KeyState is PendingDeletion")
    assert fate.until == client.describe_key(KeyId=arn)["KeyMetadata"]["DeletionDate"].date().isoformat()
    unknown = open_kms(f"aws-kms://{arn[:-4]}0000")
    assert unknown.fate(None).state == "destroyed"
    replica = open_kms(f"aws-kms://{arn.rpartition('/')[0]}/mrk-{'0' * 32}")
    with pytest.raises(KMSMisconfigured, match="replicas"):
        replica.fate(None)
