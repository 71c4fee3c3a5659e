"""Settings of other tools that are wrong name their right cause, and no secret of theirs is shown."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from securedata.access.session import RoleSource, profile_keys
from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.opening import open_corpus
from securedata.errors import (
    AccessDenied,
    ConfigError,
    KMSDenied,
    KMSUnreachable,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
)
from securedata.keys.kms import open_kms
from securedata.storage.registry import open_storage
from tests.cloud.storage.test_foreign_servers import ARN, CONTEXT, KEYS, serving
from tests.kit.cloud.forward import Handler
from tests.kit.secrets import held, told
from tests.kit.servers import ROLE, free_port

pytestmark = pytest.mark.xdist_group("servers")


WEB = {"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/x"}
CONFIG = """
[profile junk]
credential_process = /bin/echo junk ZECR3T
[profile list]
credential_process = /bin/echo [1]
[profile fails]
credential_process = /bin/sh -c "echo ZECR3T >&2; exit 3"
[profile missing]
credential_process = /nonexistent/tool --password ZECR3T
[profile quoted]
credential_process = "/nonexistent/tool --password ZECR3T"
[profile number]
credential_process = /bin/sh -c 'echo "{\\"Version\\": 1, \\"SecretAccessKey\\": \\"ZECR3T\\", \\"AccessKeyId\\": 5}"'
[profile dated]
credential_process = /bin/sh -c 'cat "$HOME/dated"'
[profile deep]
credential_process = /bin/sh -c 'cat "$HOME/deep"'
[profile over]
credential_process = /bin/sh -c 'cat "$HOME/over"'
[profile code]
role_arn = arn:aws:iam::111122223333:role/x
source_profile = keys
mfa_serial = arn:aws:iam::111122223333:mfa/me
[profile keys]
aws_access_key_id = a
aws_secret_access_key = ZECR3T
[profile flat]
s3 = ZECR3T
[profile unbalanced]
credential_process = ZECR3T 'unbalanced
[profile web]
role_arn = arn:aws:iam::111122223333:role/x
web_identity_token_file = /nonexistent/token
[profile half]
role_arn = arn:aws:iam::111122223333:role/x
"""

# what is set wrongly: the environment, and what the line says
SETTINGS: list[tuple[str, dict[str, str], str]] = [
    ("endpoint without a scheme", KEYS | {"AWS_ENDPOINT_URL": "localhost:9000"}, "the endpoint is not a URL"),
    ("endpoint with a bad port", KEYS | {"AWS_ENDPOINT_URL": "http://localhost:99999"}, "not a URL"),
    ("endpoint with a word as port", KEYS | {"AWS_ENDPOINT_URL": "http://localhost:nine"}, "not a URL"),
    ("endpoint with open brackets", KEYS | {"AWS_ENDPOINT_URL": "http://[::1:9000"}, ""),
    ("endpoint with a password", KEYS | {"AWS_ENDPOINT_URL": "http://me:ZECR3T@localhost:9"}, "must not hold a user"),
    ("endpoint with a query", KEYS | {"AWS_ENDPOINT_URL": "http://localhost:9/?k=ZECR3T"}, "must not hold a user"),
    ("a process that prints junk", {"AWS_PROFILE": "junk"}, "not JSON"),
    ("a process that prints a list", {"AWS_PROFILE": "list"}, ""),
    ("a process that fails", {"AWS_PROFILE": "fails"}, "failed (custom-process)"),
    ("a process that is missing", {"AWS_PROFILE": "missing"}, "/nonexistent/tool"),
    ("a command line as the name of a process", {"AWS_PROFILE": "quoted"}, "not in the form that AWS defines ("),
    ("a process that gives a number as key", {"AWS_PROFILE": "number"}, "not in the form that AWS defines"),
    ("a process that gives no date as the end", {"AWS_PROFILE": "dated"}, "not in the form that AWS defines"),
    ("a process that gives a deep list", {"AWS_PROFILE": "deep"}, "not in the form that AWS defines"),
    ("a process that gives what is over", {"AWS_PROFILE": "over"}, "process have expired; "),
    ("a code that nobody types", {"AWS_PROFILE": "code"}, "a code was asked for"),
    ("a process with an open quote", {"AWS_PROFILE": "unbalanced"}, "not in the form that AWS defines"),
    ("a token in the place of its file", WEB | {"AWS_WEB_IDENTITY_TOKEN_FILE": "eyJhbGciOi.ZECR3T." + "x" * 90}, ""),
    ("no file with a web token", {"AWS_PROFILE": "web"}, "/nonexistent/token cannot be read"),
    ("a profile without its source", {"AWS_PROFILE": "half"}, ""),
    ("a profile that does not exist", {"AWS_PROFILE": "nobody"}, "nobody"),
    ("no CA file", KEYS | {"AWS_CA_BUNDLE": "/nonexistent.pem"}, ""),
    ("a CA file of requests that is missing", KEYS | {"REQUESTS_CA_BUNDLE": "/nonexistent.pem"}, ""),
    ("a proxy that is none", KEYS | {"HTTPS_PROXY": "http://me:ZECR3T@:port:x"}, ""),
    ("a proxy with a bad port", KEYS | {"HTTPS_PROXY": "http://me:ZECR3T@localhost:port"}, ""),
    ("a proxy without a host", KEYS | {"HTTPS_PROXY": "http://me:ZECR3T@"}, "the proxy is not a URL"),
    ("a slash in a proxy's password", KEYS | {"HTTPS_PROXY": "http://me:Z/ZECR3T@h:1"}, "the proxy is not a URL"),
    ("a proxy of no kind", KEYS | {"HTTPS_PROXY": "ZECR3T://h:1"}, "the proxy is not a URL"),
    ("a config file that is none", {"AWS_CONFIG_FILE": "BROKEN"}, ""),
]


SERVICES = ("s3", "s3 by botocore", "kms", "sts", "profile")


def _cells() -> Iterator[Any]:
    """Each setting through each service that meets it; in the default run through one of them, in turn."""
    for number, (name, environment, words) in enumerate(SETTINGS):
        services = [one for one in SERVICES if one != "profile" or "AWS_PROFILE" in environment]
        for one in services:
            marks = () if one == services[number % len(services)] else (pytest.mark.full,)
            yield pytest.param(one, environment, words, id=f"{name}-{one}", marks=marks)


@pytest.mark.filterwarnings("ignore::getpass.GetPassWarning")  # there is no terminal
@pytest.mark.parametrize(("service", "environment", "words"), list(_cells()))
def test_what_is_set_wrongly_is_said_and_no_network_is_blamed(
    service: str, environment: dict[str, str], words: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "aws").write_text(CONFIG)
    (own_home / "broken").write_text("[profile x\nZECR3T")
    (own_home / "deep").write_text("[" * 200_000)
    dated = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "ZECR3T", "Expiration": "ZECR3T"}
    (own_home / "dated").write_text(json.dumps(dated))
    (own_home / "over").write_text(json.dumps({**dated, "Expiration": "2020-01-01T00:00:00Z"}))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    base = {"AWS_CONFIG_FILE": f"{own_home}/aws", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    base |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in (base | environment).items():
        monkeypatch.setenv(name, value.replace("BROKEN", f"{own_home}/broken"))
    storage = open_storage("s3://bucket/p", {})
    profile = environment.get("AWS_PROFILE")
    call: Callable[[], object] = {
        "s3": lambda: storage.get("head"),
        "s3 by botocore": lambda: list(storage.list()),
        "kms": lambda: open_kms(f"aws-kms://{ARN}").wrap(bytes(32), CONTEXT),
        "sts": lambda: RoleSource(ROLE, "{}").assume(),
        "profile": lambda: profile_keys(str(profile)),
    }[service]
    with pytest.raises(SecuredataError) as caught:
        call()
    text = str(caught.value)
    assert isinstance(caught.value, (ConfigError, AccessDenied, KMSDenied, SessionExpired)), (type(caught.value), text)
    assert not isinstance(caught.value, (StorageUnreachable, KMSUnreachable)), "who waits would wait in vain"
    assert "network" not in text
    assert "\n" not in text
    assert words in text
    assert not held(told(caught.value), ["ZECR3T"])


@pytest.mark.parametrize(
    ("uri", "environment", "words"),
    [
        ("hcvault://127.0.0.1:9/transit/keys/k", {"VAULT_CACERT": "/nonexistent.pem"}, "VAULT_CACERT"),
        ("hcvault://127.0.0.1:9/transit/keys/k", {"REQUESTS_CA_BUNDLE": "/nonexistent.pem"}, "CA"),
        ("hcvault://127.0.0.1:9/transit/keys/k", {"VAULT_CACERT": "JUNK"}, "VAULT_CACERT"),
        ("hcvault://127.0.0.1:99999/transit/keys/k", {}, ""),
        ("hcvault://127.0.0.1:x/transit/keys/k", {}, ""),
        ("hcvault://[::1/transit/keys/k", {}, ""),
        ("hcvault://vault.example/transit/keys/k", {"HTTPS_PROXY": "http://me:ZECR3T@localhost:x"}, "proxy"),
    ],
)
def test_vault_too(
    uri: str, environment: dict[str, str], words: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "junk").write_text("ZECR3T")
    monkeypatch.setenv("VAULT_TOKEN", "ZECR3T")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("JUNK", f"{own_home}/junk"))
    with pytest.raises(SecuredataError) as caught:
        open_kms(uri).wrap(bytes(32), CONTEXT)
    assert not isinstance(caught.value, KMSUnreachable), caught.value
    assert "network" not in str(caught.value)
    assert words in str(caught.value)
    assert not held(told(caught.value), ["ZECR3T"])


def test_a_setting_of_a_profile_that_has_parts_and_none_was_given(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "aws").write_text(CONFIG)
    for name, value in (KEYS | {"AWS_CONFIG_FILE": f"{own_home}/aws", "AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        open_storage("s3://bucket/p", {"profile": "flat"}).get("head")
    assert "this is not how S3" not in str(caught.value)
    assert not held(told(caught.value), ["ZECR3T"])


class Region(Handler):
    """Keeps the regions that requests are signed for."""

    seen: ClassVar[list[str]] = []

    def answer(self, body: bytes) -> None:
        self.seen.append(str(self.headers.get("Authorization")).split("/")[2])
        self.say(404)


@pytest.mark.parametrize("by", ["environment", "config entry"])
@pytest.mark.parametrize("end", ["\n", " ", "\r\n"])
def test_a_region_with_a_line_end_behind_it_is_the_region(
    by: str, end: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Region.seen.clear()
    with serving(Region) as port:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
            monkeypatch.setenv(name, value)
        region = f"eu-west-7{end}"
        monkeypatch.setenv("AWS_DEFAULT_REGION", region if by == "environment" else "us-east-1")
        options = {"region": region} if by != "environment" else {}
        storage = open_storage("s3://bucket/p", options)
        role = RoleSource(ROLE, "{}", region=options.get("region"))
        for call in (lambda: storage.get("head"), lambda: list(storage.list()), role.assume):
            with pytest.raises(SecuredataError):
                call()
    assert Region.seen == ["eu-west-7"] * 3


def test_vault_addr_is_named_where_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "t")
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example:8200")
    with pytest.raises(KMSUnreachable) as caught:
        open_kms(f"hcvault+http://127.0.0.1:{free_port()}/transit/keys/k").wrap(bytes(32), CONTEXT)
    assert "Connection refused" in str(caught.value)
    assert "VAULT_ADDR is not used" in str(caught.value)


@pytest.mark.parametrize(
    "root", ["s3://key:ZECR3T@bucket/p", "s3://bucket?t=ZECR3T", "https://me:ZECR3T@h/p", "https://h/p?t=ZECR3T"]
)
def test_a_root_with_a_secret_is_refused_and_not_shown(root: str, own_home: Path) -> None:
    for call in (
        lambda: open_storage(root),
        lambda: open_corpus(root),
        lambda: create_corpus(root, kms=["local:///k"]),
    ):
        with pytest.raises(SecuredataError) as caught:
            call()
        assert not held(told(caught.value), ["ZECR3T"])


def test_a_reference_shows_no_secret_of_its_settings() -> None:
    options = {"endpoint_url": "https://me:ZECR3T@h", "sts_endpoint_url": "https://h/?ZECR3T"}
    shown = repr(Reference("s3://bucket/p", kms=("hcvault://me:ZECR3T@h/transit/keys/k",), options=options))
    assert not held(shown, ["ZECR3T"])
    assert "s3://bucket/p" in shown
    assert not held(repr(RoleSource(ROLE, "{}", endpoint_url="https://me:ZECR3T@h")), ["ZECR3T"])


@pytest.mark.parametrize(
    "uri",
    [
        "hcvault://me:ZECR3T@h/transit/keys/k",
        "hcvault://h/transit/keys/k?token=ZECR3T",
        f"aws-kms://{ARN}?ZECR3T",
        "nosuch://me:ZECR3T@h",
        "me:ZECR3T@h",
    ],
)
def test_a_kms_uri_with_a_secret_is_not_shown(uri: str) -> None:
    with pytest.raises(SecuredataError) as caught:
        open_kms(uri).wrap(bytes(32), CONTEXT)
    assert not held(told(caught.value), ["ZECR3T"])
