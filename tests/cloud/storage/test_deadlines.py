"""Calls that are not libcurl's have an end, too: the timeouts of botocore and requests count from byte to byte."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.access import session
from securedata.access.session import RoleSource
from securedata.errors import KMSUnreachable, SecuredataError, StorageUnreachable
from securedata.foreign.deadline import within
from securedata.keys import aws, hcvault
from securedata.keys.kms import context_for, open_kms
from securedata.storage.s3 import calls
from securedata.storage.s3.store import S3Storage
from securedata.testing.storage import raised
from tests.cloud.storage.test_odd_servers import DRIPS, Odd
from tests.kit.cloud.forward import answering
from tests.kit.servers import ROLE

pytestmark = pytest.mark.xdist_group("servers")

KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-0000-0000-0000-000000000000"
CONTEXT = context_for(bytes(16))


@pytest.fixture
def endpoint(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where calls have a second."""
    for module in (calls, aws, session, hcvault):
        monkeypatch.setattr(module, "_SECONDS", 1.0)
    settings = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (settings | {"VAULT_TOKEN": "t"}).items():
        monkeypatch.setenv(name, value)
    return ""


DAILY = ("a body", "a header", "103")


@pytest.mark.parametrize(
    "drip",
    [pytest.param(name, marks=() if name in DAILY else pytest.mark.full) for name in DRIPS if name != "an error"],
)
def test_what_drips_has_an_end(drip: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "raw", staticmethod(DRIPS[drip]))
    with answering(Odd) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        storage = S3Storage("s3://voice/x")
        vault = open_kms(f"hcvault+{address}/transit/keys/k")
        calls: list[tuple[type[SecuredataError], Callable[[], object]]] = [
            (StorageUnreachable, lambda: list(storage.list())),
            (StorageUnreachable, lambda: storage.replace("head", b"x", None)),
            (StorageUnreachable, RoleSource(ROLE, "{}").assume),
            (KMSUnreachable, lambda: open_kms(f"aws-kms://{KEY}").wrap(bytes(32), CONTEXT)),
            (KMSUnreachable, lambda: vault.wrap(bytes(32), CONTEXT)),
        ]
        for kind, call in calls:
            began = time.monotonic()
            text = str(raised(kind, call))
            assert time.monotonic() - began < 10
            assert "check" in text


@pytest.mark.parametrize("body", [b"{}", b"<r><AssumeRoleResult/></r>", b'{"CiphertextBlob": null}'])
def test_an_answer_that_lacks_what_was_asked_for(body: bytes, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    monkeypatch.setattr(Odd, "raw", staticmethod(lambda self: self.wfile.write(head + body)))
    with answering(Odd) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert "check the endpoint" in str(raised(StorageUnreachable, RoleSource(ROLE, "{}").assume))
        kms = open_kms(f"aws-kms://{KEY}")
        assert "check the endpoint" in str(raised(KMSUnreachable, lambda: kms.wrap(bytes(32), CONTEXT)))


def test_a_call_is_made_in_the_context_of_its_caller() -> None:
    one = contextvars.ContextVar("one", default=0)
    one.set(5)
    assert within(10, one.get) == 5
    assert within(10, threading.current_thread) is not threading.current_thread()


def test_what_a_call_raises_is_raised_and_no_thread_is_left() -> None:
    def call() -> None:
        raise KeyError("x")

    before = threading.active_count()
    with pytest.raises(KeyError) as caught:
        within(10, call)
    assert "call" in [one.name for one in caught.traceback]
    assert threading.active_count() <= before + 1


def test_one_that_does_not_end_is_left() -> None:
    go = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: go.wait(30))
    go.set()
