"""OpenBao's transit engine, and the API of AWS KMS on moto, which enforces no policy: not verified against AWS."""

from __future__ import annotations

import base64
import json
import os
import uuid
from pathlib import Path
from typing import Any, ClassVar

import pytest

from securedata.errors import ContextNotBound, InvalidKMSURI, KMSDenied, KMSThrottled, KMSUnreachable
from securedata.keys.aws import AWSKMS
from securedata.keys.hcvault import VaultKMS
from securedata.keys.kms import KMS, context_bytes, context_for, open_kms
from securedata.keys.wraps import Wrap, check_binds_context, unwrap_key
from securedata.testing.kms import CONTEXT, CORPUS, ROOT, KMSContract, refused_as_unbound
from securedata.testing.storage import raised
from tests.kit.cloud.forward import Handler, Proxy, answering, forward
from tests.kit.corpora.cloud import policy
from tests.kit.servers import Bao, free_port

pytestmark = pytest.mark.xdist_group("servers")

SECRET = bytes(range(32))


# ------------------------------------------------------------------------------------------------------------- OpenBao


@pytest.fixture(scope="session")
def transit(bao: Bao) -> dict[str, str]:
    """Two keys that the token of this process may use, and one that it may not: their URIs."""
    return {name: bao.make_key(name) for name in ("mine", "another", "denied")}


@pytest.fixture
def token(bao: Bao, transit: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    made = bao.make_token(policy("mine", "another"))
    monkeypatch.setenv("VAULT_TOKEN", made)
    return made


class TestOpenBao(KMSContract):
    @pytest.fixture(autouse=True)
    def keys(self, transit: dict[str, str], token: str) -> None:
        self.uris = transit

    def key(self) -> KMS:
        return open_kms(self.uris["mine"])

    def other_key(self) -> KMS:
        return open_kms(self.uris["another"])

    def denied_key(self) -> KMS:
        return open_kms(self.uris["denied"])

    def unreachable_key(self) -> KMS:
        return open_kms(f"hcvault+http://127.0.0.1:{free_port()}/transit/keys/mine")


def test_a_key_that_is_not_derived_is_refused(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    kms = open_kms(bao.make_key("loose", derived=False))
    blob = kms.wrap(SECRET, CONTEXT)
    assert kms.unwrap(blob, {}) == SECRET, "it ignores the context"
    assert "derived=true" in str(raised(ContextNotBound, lambda: check_binds_context(kms, blob, SECRET, CORPUS)))
    assert refused_as_unbound(kms)
    assert not refused_as_unbound(open_kms(bao.make_key("bound")))


def test_a_token_may_be_cut_to_one_corpus(bao: Bao, transit: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    kms = open_kms(transit["mine"])
    other = context_for(bytes(16))
    ours, theirs = kms.wrap(SECRET, CONTEXT), kms.wrap(SECRET, other)
    context = base64.b64encode(context_bytes(CONTEXT)).decode()
    allowed = f'allowed_parameters = {{ "ciphertext" = [] "context" = ["{context}"] }}'
    rule = f'capabilities = ["update"] {allowed} required_parameters = ["context"]'
    monkeypatch.setenv("VAULT_TOKEN", bao.make_token(f'path "transit/decrypt/mine" {{ {rule} }}'))
    assert kms.unwrap(ours, CONTEXT) == SECRET
    for blob, tried in ((theirs, other), (theirs, CONTEXT), (ours, {})):
        raised(KMSDenied, lambda blob=blob, tried=tried: kms.unwrap(blob, tried))
    raised(KMSDenied, lambda: kms.wrap(SECRET, CONTEXT))


def test_a_key_that_was_rotated_opens_its_older_wraps(
    bao: Bao, transit: dict[str, str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = open_kms(transit["mine"])
    before = kms.wrap(SECRET, CONTEXT)
    bao.client().secrets.transit.rotate_key("mine")
    after = kms.wrap(SECRET, CONTEXT)
    assert before.split(b":")[1] != after.split(b":")[1]
    assert kms.unwrap(before, CONTEXT) == kms.unwrap(after, CONTEXT) == SECRET


def test_where_the_token_comes_from(
    bao: Bao, transit: dict[str, str], token: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = open_kms(transit["mine"])
    blob = kms.wrap(SECRET, CONTEXT)
    monkeypatch.delenv("VAULT_TOKEN")
    assert "bao login" in str(raised(KMSDenied, lambda: kms.unwrap(blob, CONTEXT)))
    (own_home / ".vault-token").write_text(token + "\n")
    assert kms.unwrap(blob, CONTEXT) == SECRET
    monkeypatch.setenv("BAO_TOKEN", "wrong")
    text = str(raised(KMSDenied, lambda: kms.unwrap(blob, CONTEXT)))
    assert "wrong" not in text
    monkeypatch.setenv("VAULT_TOKEN", token)
    assert kms.unwrap(blob, CONTEXT) == SECRET
    # read anew for every call: one that was revoked is over, and a new one is taken up
    bao.client().auth.token.revoke(token)
    assert "revoked" in str(raised(KMSDenied, lambda: kms.unwrap(blob, CONTEXT)))
    monkeypatch.setenv("VAULT_TOKEN", bao.make_token(policy("mine")))
    assert kms.unwrap(blob, CONTEXT) == SECRET


def test_only_the_uri_says_where(
    bao: Bao, transit: dict[str, str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the environment's address nor a proxy: that one would see the key in clear."""
    kms = open_kms(transit["mine"])
    monkeypatch.setattr(Proxy, "seen", [])
    with forward(bao.address) as elsewhere, answering(Proxy) as proxy:
        for name in ("VAULT_ADDR", "BAO_ADDR"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
        for name in ("VAULT_HTTP_PROXY", "HTTP_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        assert kms.unwrap(kms.wrap(SECRET, CONTEXT), CONTEXT) == SECRET
        assert elsewhere.connections == 0
        assert Proxy.seen == []


def test_over_tls_the_certificate_counts(
    bao: Bao, transit: dict[str, str], token: str, tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward(bao.address, tls) as between:
        kms = open_kms(f"hcvault://127.0.0.1:{between.port}/transit/keys/mine")
        assert "certificate" in str(raised(KMSUnreachable, lambda: kms.wrap(SECRET, CONTEXT))).lower()
        assert between.requests == []
        monkeypatch.setenv("VAULT_CACERT", str(certificate))
        assert kms.unwrap(kms.wrap(SECRET, CONTEXT), CONTEXT) == SECRET


@pytest.mark.parametrize(
    "uri",
    [
        "hcvault+http://vault.example:8200/transit/keys/mine",
        "hcvault+http://10.0.0.1:8200/transit/keys/mine",
        "hcvault://user@127.0.0.1:8200/transit/keys/mine",
        "hcvault://127.0.0.1:8200/transit/mine",
        "hcvault://127.0.0.1:8200/keys/mine",
        "hcvault:///transit/keys/mine",
        "hcvault://127.0.0.1:8200/transit/keys/",
        "hcvault://127.0.0.1:8200/transit/keys/mine?namespace=x",
        "hcvault://[127.0.0.1/transit/keys/mine",
    ],
)
def test_what_is_no_vault_uri(uri: str, transit: dict[str, str]) -> None:
    raised(InvalidKMSURI, lambda: open_kms(uri))
    assert not open_kms(transit["mine"]).matches(uri)


def test_a_vault_wrap_matches_by_scheme_host_mount_and_key() -> None:
    kms = VaultKMS("hcvault://Vault.Example:8200/a/transit/keys/voice")
    assert kms.matches("hcvault://vault.example:8200/a/transit/keys/voice")
    for other in (
        "hcvault+http://vault.example:8200/a/transit/keys/voice",
        "hcvault://vault.example/a/transit/keys/voice",
        "hcvault://vault.example:8200/transit/keys/voice",
        "hcvault://vault.example:8200/a/transit/keys/Voice",
    ):
        assert not kms.matches(other)


# ------------------------------------------------------------------------------------------------------------- AWS KMS


@pytest.fixture
def region(aws: str, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An API client of moto's KMS, whose credentials this process has."""
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "ENDPOINT_URL_KMS": aws}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3

    return lambda name="us-east-1": boto3.client("kms", region_name=name)


def new_key(client: Any, **options: Any) -> str:
    """The URI of a new key."""
    return f"aws-kms://{client.create_key(**options)['KeyMetadata']['Arn']}"


class TestAWSKMS(KMSContract):
    @pytest.fixture(autouse=True)
    def keys(self, region: Any) -> None:
        self.uris = [new_key(region()) for _ in range(3)]
        self.away = AWSKMS(self.uris[2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{free_port()}")
            self.away._client(False)  # it keeps the address that its first call finds

    def key(self) -> KMS:
        return open_kms(self.uris[0])

    def other_key(self) -> KMS:
        return open_kms(self.uris[1])

    def denied_key(self) -> KMS:
        # moto denies nobody, and lets disabled keys be used: one that is not there is what it refuses
        return open_kms(f"{self.uris[0].rpartition('/')[0]}/{uuid.uuid4()}")

    def unreachable_key(self) -> KMS:
        return self.away


ARN = "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/"
MRK = f"{ARN}mrk-1234abcd12ab34cd56ef1234567890ab"
PLAIN = f"{ARN}1234abcd-12ab-34cd-56ef-1234567890ab"


def test_an_aws_wrap_matches_byte_for_byte_or_across_the_regions_of_one_key() -> None:
    assert AWSKMS(MRK).matches(MRK.replace("eu-west-1", "us-east-2"))
    for other in (
        MRK.replace("111122223333", "111122223334"),
        MRK.replace("arn:aws:", "arn:aws-cn:"),
        MRK[:-1] + "c",
        PLAIN,
    ):
        assert not AWSKMS(MRK).matches(other)
    assert AWSKMS(PLAIN).matches(PLAIN)
    assert not AWSKMS(PLAIN).matches(PLAIN.replace("eu-west-1", "us-east-2"))
    assert not AWSKMS(PLAIN).matches(PLAIN.upper())


class Recorded(Handler):
    """Decrypts whatever it is given, and notes where it was asked and for what."""

    asked: ClassVar[list[tuple[str, str, Any]]] = []

    def answer(self, body: bytes) -> None:
        region = self.headers["Authorization"].split("/")[2]
        self.asked.append((region, self.headers["X-Amz-Target"], json.loads(body)))
        plaintext = base64.b64encode(SECRET).decode()
        answer = {"Plaintext": plaintext, "CiphertextBlob": plaintext}
        self.say(200, json.dumps(answer).encode(), **{"Content-Type": "application/x-amz-json-1.1"})


def test_the_caller_s_key_and_region_are_asked_always(region: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A multi-Region key opens in each of its regions; AWS itself refuses a blob that names another KeyId."""
    monkeypatch.setattr(Recorded, "asked", [])
    with answering(Recorded) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
        abroad = MRK.replace("eu-west-1", "us-east-2")
        assert unwrap_key([Wrap(MRK, b"blob")], [AWSKMS(abroad)], CORPUS, ROOT) == SECRET
        AWSKMS(PLAIN).wrap(SECRET, CONTEXT)
    (where, what, decrypt), (again, wrapped, encrypt) = Recorded.asked
    assert (where, what) == ("us-east-2", "TrentService.Decrypt")
    assert (again, wrapped) == ("eu-west-1", "TrentService.Encrypt")
    assert decrypt["KeyId"] == abroad.removeprefix("aws-kms://")
    assert encrypt["KeyId"] == PLAIN.removeprefix("aws-kms://")
    assert decrypt["EncryptionContext"] == encrypt["EncryptionContext"] == CONTEXT


@pytest.mark.parametrize(
    "uri",
    [
        "aws-kms://alias/voice",
        "aws-kms://arn:aws:kms:eu-west-1:111122223333:alias/voice",
        "aws-kms://1234abcd-12ab-34cd-56ef-1234567890ab",
        "aws-kms://",
        f"{PLAIN}\n",
        PLAIN.removeprefix("aws-kms://"),
    ],
)
def test_an_alias_or_half_a_name_is_no_aws_uri(uri: str) -> None:
    raised(InvalidKMSURI, lambda: open_kms(uri) if "://" in uri else AWSKMS(uri))
    assert not AWSKMS(PLAIN).matches(uri)


def test_without_credentials_or_with_a_profile_that_nobody_has(region: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = new_key(region())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "as boto3 takes them" in str(raised(KMSDenied, lambda: open_kms(uri).wrap(SECRET, CONTEXT)))
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-it")
    assert "nobody-has-it" in str(raised(KMSDenied, lambda: open_kms(uri).wrap(SECRET, CONTEXT)))


# ------------------------------------------------------------------------------------------- servers in trouble


class Answers(Handler):
    """Says the same to everybody."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b""
    asked: ClassVar[int] = 0

    def answer(self, body: bytes) -> None:
        type(self).asked += 1
        self.say(self.status, self.body, **{"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"__type": "ThrottlingException", "message": "slow"}', KMSThrottled),
        (429, b"{}", KMSThrottled),
        (500, b'{"__type": "KMSInternalException"}', KMSUnreachable),
        (400, b'{"__type": "DependencyTimeoutException"}', KMSUnreachable),
        (400, b'{"__type": "AccessDeniedException", "Message": "no"}', KMSDenied),
        (400, b'{"__type": "ExpiredTokenException"}', KMSDenied),
        (400, b'{"__type": "IncorrectKeyException"}', KMSDenied),
        (400, b'{"__type": "InvalidCiphertextException"}', KMSDenied),
        (400, b'{"__type": "KMSInvalidStateException"}', KMSDenied),
    ],
)
def test_what_aws_answers(
    region: Any, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, error: type[Exception]
) -> None:
    monkeypatch.setattr(Answers, "status", status)
    monkeypatch.setattr(Answers, "body", body)
    with answering(Answers) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
        assert PLAIN in str(raised(error, lambda: open_kms(PLAIN).unwrap(b"blob", CONTEXT)))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, b'{"errors": ["quota"]}', KMSThrottled),
        (503, b'{"errors": ["Vault is sealed"]}', KMSUnreachable),
        (500, b"<html>", KMSUnreachable),
        (502, b"", KMSUnreachable),
        (400, b'{"errors": ["invalid ciphertext"]}', KMSDenied),
        (403, b'{"errors": ["permission denied"]}', KMSDenied),
        (404, b'{"errors": []}', KMSDenied),
        (200, b"<html>a hotel's network</html>", KMSUnreachable),
        (200, b'{"data": {}}', KMSUnreachable),
        (200, b'{"data": {"plaintext": "not base64"}}', KMSUnreachable),
        (200, b'{"data": {"plaintext": null}}', KMSUnreachable),
        (204, b"", KMSUnreachable),
    ],
)
def test_what_vault_answers(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, error: type[Exception]) -> None:
    monkeypatch.setattr(Answers, "status", status)
    monkeypatch.setattr(Answers, "body", body)
    monkeypatch.setenv("VAULT_TOKEN", token := os.urandom(8).hex())
    with answering(Answers) as endpoint:
        uri = f"hcvault+http://{endpoint.removeprefix('http://')}/transit/keys/mine"
        text = str(raised(error, lambda: open_kms(uri).unwrap(b"vault:v1:x", CONTEXT)))
        assert uri in text
        assert token not in text
