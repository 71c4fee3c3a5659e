"""S3Storage as AWS users set it up: credentials, profiles, regions; servers that lie; signatures, threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from securedata.access.session import RoleSource
from securedata.errors import (
    AccessDenied,
    ConfigError,
    InvalidArgument,
    KMSDenied,
    NotFound,
    SessionExpired,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.foreign.aws import of_signature
from securedata.keys.kms import context_for, open_kms
from securedata.storage.base import Wanted
from securedata.storage.s3.store import PART, S3Storage
from securedata.testing.storage import OBJECT, raised
from tests.kit.cloud.forward import Handler, answering, forward
from tests.kit.servers import ADMIN, Seaweed

pytestmark = pytest.mark.xdist_group("servers")

OTHER = "objects/40/40" + "0" * 30


# --------------------------------------------------------------------------------------------------------- credentials


def test_credentials_that_are_missing_or_wrong_say_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(kind: type[Exception], *words: str) -> None:
        storage = S3Storage(url)
        for call in (lambda: storage.get(OBJECT), lambda: list(storage.list()), lambda: storage.put_new("x", [b"x"])):
            text = str(raised(kind, call))
            assert url in text
            for word in words:
                assert word in text
            assert ADMIN[1] not in text

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    both(AccessDenied, "SignatureDoesNotMatch")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    both(SessionExpired, "sign in again")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    both(AccessDenied, "AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    both(AccessDenied, "as boto3 takes them")
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-it")
    both(ConfigError, "nobody-has-it")


def test_a_profile_gives_endpoint_region_and_keys(
    url: str, admin: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in admin.environment():
        monkeypatch.delenv(name)
    folder = own_home / ".aws"
    folder.mkdir()
    profile = f"[profile voice]\nregion = eu-west-3\nendpoint_url = {admin.endpoint}\n"
    (folder / "config").write_text(profile + "[profile other]\n")
    keys = f"aws_access_key_id = {ADMIN[0]}\naws_secret_access_key = {ADMIN[1]}\n"
    (folder / "credentials").write_text(f"[voice]\n{keys}[other]\n{keys}")
    storage = S3Storage(url, {"profile": "voice"})
    assert bytes(storage.get(OBJECT)) == b"there"
    assert [one.key for one in storage.list()] == [OBJECT]
    assert storage._clients.endpoint().region == "eu-west-3"
    # what the config entry says wins over the profile
    named = S3Storage(url, {"profile": "other", "region": "eu-west-1", "endpoint_url": admin.endpoint})
    assert bytes(named.get(OBJECT)) == b"there"
    assert named._clients.endpoint().region == "eu-west-1"
    raised(ConfigError, lambda: S3Storage(url, {"profile": "third"}).get(OBJECT))


@pytest.mark.parametrize("url", ["s3://", "s3:///", "s3:///x", "s3:///voice/x", "http://voice/x", "s3://voice?v=1/x"])
def test_what_is_no_root(url: str) -> None:
    with pytest.raises(InvalidArgument, match="is not an S3 root"):
        S3Storage(url)


def test_a_bucket_name_that_none_can_have(admin: Seaweed) -> None:
    raised(InvalidArgument, lambda: S3Storage("s3://no such bucket/x").get("head"))


# ------------------------------------------------------------------------------------------------------------- regions


class Elsewhere(Handler):
    """A bucket in eu-west-1: who signs for another region is sent there, in one of AWS's ways."""

    way: ClassVar[tuple[int, str]] = (301, "PermanentRedirect")
    mended: ClassVar[bool] = True
    asked: ClassVar[list[str]] = []

    def answer(self, body: bytes) -> None:
        region = (self.headers.get("Authorization") or "").partition("/")[2].split("/")[1:2]
        self.asked.append(region[0])
        if region == ["eu-west-1"] and self.mended:
            self.say(206, b"there", ETag='"1"')
            return
        status, code = self.way
        text = f"<Error><Code>{code}</Code><Message>go</Message><Region>eu-west-1</Region></Error>".encode()
        self.say(status, text, **{"x-amz-bucket-region": "eu-west-1"} if status == 301 else {})


@pytest.mark.parametrize("way", [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")])
def test_a_bucket_elsewhere_is_followed_once(
    admin: Seaweed, monkeypatch: pytest.MonkeyPatch, way: tuple[int, str]
) -> None:
    monkeypatch.setattr(Elsewhere, "way", way)
    with answering(Elsewhere) as endpoint:
        monkeypatch.setattr(Elsewhere, "asked", [])
        storage = S3Storage("s3://voice/x", {"endpoint_url": endpoint, "region": "us-west-2"})
        assert [bytes(one) for one in storage.get_ranges(OBJECT, [(0, 5), (0, 5)])] == [b"there", b"there"]
        assert Elsewhere.asked == ["us-west-2", "us-west-2", "eu-west-1", "eu-west-1"]
        storage.get_ranges(OBJECT, [(0, 5)])
        assert Elsewhere.asked[4:] == ["eu-west-1"], "and remembered"
        # a server that sends everybody away is not followed in a circle
        monkeypatch.setattr(Elsewhere, "mended", False)
        lost = S3Storage("s3://voice/x", {"endpoint_url": endpoint, "region": "us-west-2"})
        assert "(eu-west-1)" in str(raised(InvalidArgument, lambda: lost.get_ranges(OBJECT, [(0, 5)])))
        assert "(eu-west-1)" in str(raised(InvalidArgument, lambda: lost.put_new(OBJECT, [b"x"])))


# -------------------------------------------------------------------------------------------------------------- liars


class Liar(Handler):
    """Takes every put that its `deaf` ears do not hear a condition of; knows no versions."""

    deaf: ClassVar[str] = ""

    def answer(self, body: bytes) -> None:
        if self.command == "GET":
            self.say(501, b"<Error><Code>NotImplemented</Code></Error>")
        elif self.command == "DELETE":
            self.say(204)
        elif body == b"1" or self.headers.get(self.deaf):
            self.say(200, ETag='"1"')
        else:
            self.say(412, b"<Error><Code>PreconditionFailed</Code></Error>")


@pytest.mark.parametrize("deaf", ["If-Match", "If-None-Match"])
def test_a_server_that_takes_false_conditions_is_refused(
    admin: Seaweed, monkeypatch: pytest.MonkeyPatch, deaf: str
) -> None:
    monkeypatch.setattr(Liar, "deaf", deaf)
    with answering(Liar) as endpoint:
        storage = S3Storage("s3://voice/x", {"endpoint_url": endpoint})
        for _ in range(2):  # it is asked again, not believed meanwhile
            text = str(raised(UnsafeStorage, storage.check_writable))
            assert deaf.replace("-", "") in text
            assert "--single-writer" in text
        storage.check_writable(single_writer=True)
        monkeypatch.setattr(Liar, "deaf", "nothing")
        storage.check_writable()


class Whole(Handler):
    """Knows no ranges."""

    def answer(self, body: bytes) -> None:
        self.say(200, b"0123456789", ETag='"1"')


@pytest.mark.parametrize("asked", [(0, 5), (3, 4)])
def test_a_server_that_ignores_ranges_is_noticed(admin: Seaweed, asked: tuple[int, int]) -> None:
    with answering(Whole) as endpoint:
        storage = S3Storage("s3://voice/x", {"endpoint_url": endpoint})
        assert "ignores ranges" in str(raised(StorageUnreachable, lambda: storage.get_ranges(OBJECT, [asked])))
        assert bytes(storage.get(OBJECT)) == b"0123456789"


# ------------------------------------------------------------------------------------------- what only AWS answers


class Revoked(Handler):
    """Sessions that began before now are denied, as by a policy on aws:TokenIssueTime; whoever asks anew may go on."""

    asked: ClassVar[list[str]] = []

    def answer(self, body: bytes) -> None:
        token = self.headers.get("X-Amz-Security-Token") or ""
        self.asked.append(token)
        if token == "new" and "none" not in self.path:
            self.say(*((206, b"there") if self.command == "GET" else (200,)), ETag='"1"')
        else:
            self.say(403, b"<Error><Code>AccessDenied</Code></Error>")


def test_a_session_that_was_revoked_is_renewed_once_for_all(admin: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Revoked, "asked", [])
    token, renewals = "old", 0

    def credentials(renew: bool) -> tuple[str, str, str]:
        nonlocal token, renewals
        if renew:
            token, renewals = "new", renewals + 1
        return "key", "secret", token

    with answering(Revoked) as endpoint:
        storage = S3Storage("s3://voice/x", {"endpoint_url": endpoint}, credentials)
        wanted = [Wanted(f"objects/{n}", 0, 5) for n in range(6)]
        for _, got in storage.get_many(wanted, 1 << 20):
            assert got == b"there"
        assert (renewals, sorted(Revoked.asked)) == (1, ["new"] * 6 + ["old"] * 6)
        token = "old"  # by the other client as well; within a minute it is not tried again
        raised(AccessDenied, lambda: storage.put_new("x", [b"x"]))
        assert renewals == 1
        other = S3Storage("s3://voice/x", {"endpoint_url": endpoint}, credentials)
        other.put_new("x", [b"x"])
        assert renewals == 2
        # what is missing is denied as well: not a new session for each
        for n in range(3):
            raised(AccessDenied, lambda n=n: other.get(f"none/{n}"))
        assert renewals == 2


class Completed(Handler):
    """An upload in parts of which the answer to the last call is lost, and which is not known any more after it."""

    calls: ClassVar[list[str]] = []
    there: ClassVar[bool] = True

    def answer(self, body: bytes) -> None:
        self.calls.append(self.command)
        if "uploads" in self.path:
            self.say(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        elif self.command == "PUT":
            self.say(200, ETag='"1"')
        elif self.command == "POST" and self.calls.count("POST") == 2:
            self.close_connection = True  # without a word
        elif self.command == "GET" and self.there:
            self.say(206, b"1", ETag='"1"')
        elif self.command == "DELETE":
            self.say(204)
        else:
            self.say(404, b"<Error><Code>NoSuchUpload</Code></Error>")


@pytest.mark.parametrize("there", [True, False])
def test_an_upload_that_is_not_known_any_more_was_completed_if_its_object_is_there(
    admin: Seaweed, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(Completed, "calls", [])
    monkeypatch.setattr(Completed, "there", there)
    with answering(Completed) as endpoint:
        storage = S3Storage("s3://voice/x", {"endpoint_url": endpoint})
        if there:
            assert storage.put_new(OBJECT, [bytes(PART)]) < time.time()
        else:
            raised(NotFound, lambda: storage.put_new(OBJECT, [bytes(PART)]))
        assert Completed.calls[:4] == ["POST", "PUT", "POST", "POST"]
        assert "GET" in Completed.calls


# --------------------------------------------------------------------------------------------------------- signatures


class Unsigned(Handler):
    """Takes no signature."""

    code: ClassVar[str] = ""

    def answer(self, body: bytes) -> None:
        text = f"<Error><Code>{self.code}</Code></Error>"
        self.say(403, (f"<ErrorResponse>{text}</ErrorResponse>" if self.command == "POST" else text).encode())


@pytest.mark.parametrize(
    ("code", "advice"),
    [("RequestTimeTooSkewed", "the clock of this machine is wrong"), ("SignatureDoesNotMatch", "check the secret key")],
)
def test_a_signature_that_is_not_taken_is_no_matter_of_rights(
    admin: Seaweed, monkeypatch: pytest.MonkeyPatch, code: str, advice: str
) -> None:
    monkeypatch.setattr(Unsigned, "code", code)
    key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-0000-0000-0000-000000000000"
    with answering(Unsigned) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        storage = S3Storage("s3://voice/x")
        for kind, call in (
            (AccessDenied, lambda: storage.get(OBJECT)),
            (AccessDenied, lambda: list(storage.list())),
            (AccessDenied, lambda: storage.put_new(OBJECT, [b"x"])),
            (AccessDenied, RoleSource("arn:aws:iam::000000000000:role/T", "{}").assume),
        ):
            text = str(raised(kind, call))
            assert advice in text
            assert code in text
    assert of_signature("InvalidSignatureException"), "as KMS calls it"
    with answering(Refusing) as endpoint:
        monkeypatch.setattr(Refusing, "code", code)
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        text = str(raised(KMSDenied, lambda: open_kms(f"aws-kms://{key}").wrap(bytes(32), context_for(bytes(16)))))
        assert advice in text


class Refusing(Handler):
    """As KMS refuses."""

    code: ClassVar[str] = ""

    def answer(self, body: bytes) -> None:
        self.say(400, f'{{"__type": "{self.code}"}}'.encode(), **{"Content-Type": "application/x-amz-json-1.1"})


# ------------------------------------------------------------------------------------------------------------- threads


def test_threads_share_clients(url: str, admin: Seaweed) -> None:
    with forward(admin.endpoint) as between:
        storage = S3Storage(url, {"endpoint_url": f"http://127.0.0.1:{between.port}"})
        clients = set()

        def work() -> None:
            clients.add(id(storage._clients.get()))
            assert bytes(storage.get(OBJECT)) == b"there"

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(clients) == 1
        assert len(between.requests) == 8
