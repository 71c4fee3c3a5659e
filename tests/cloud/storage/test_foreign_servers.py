"""Beside real servers: what is logged, redirected, or set wrongly gives no secret away and names its right cause."""

from __future__ import annotations

import base64
import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from securedata.access.session import RoleSource
from securedata.corpus.create import create_corpus
from securedata.corpus.opening import open_corpus
from securedata.errors import ConfigError, KMSDenied, KMSUnreachable, SecuredataError
from securedata.keys.kms import context_for, open_kms
from securedata.storage.registry import open_storage
from tests.cloud.conftest import Become
from tests.kit.cli.commandline import Run
from tests.kit.cloud.forward import Handler
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import make_corpus
from tests.kit.secrets import everything_logged, held, told
from tests.kit.servers import ROLE, TRAINER, Bao

pytestmark = pytest.mark.xdist_group("servers")

CONTEXT = context_for(bytes(16))
ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-0000-0000-0000-000000000000"
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@contextmanager
def serving(handler: type[Handler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Empty(Handler):
    """Has nothing."""

    def answer(self, body: bytes) -> None:
        self.say(404)


# ------------------------------------------------------------------------------------------- logs


def test_at_level_1_no_log_holds_a_key_a_token_or_a_header(
    cloud: Cloud, become: Become, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over each provider and each storage, by a role's session and by keys of the environment."""
    import boto3

    root = cloud.make("contractor-a", role=ROLE)
    local = make_corpus(tmp_path, name="on-disk")
    token = cloud.token(root)
    become(TRAINER, token)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", aws)
    key = f"aws-kms://{boto3.client('kms', region_name='us-east-1').create_key()['KeyMetadata']['Arn']}"
    secrets: list[str | bytes] = [TRAINER[1], token, os.urandom(32)]
    with everything_logged() as log:
        corpus_key = secrets[-1]
        assert isinstance(corpus_key, bytes)
        for uri in (key, root.kms):
            kms = open_kms(uri)
            if uri == key:
                assert kms.unwrap(kms.wrap(corpus_key, CONTEXT), CONTEXT) == corpus_key
            else:
                with pytest.raises(KMSDenied):
                    kms.wrap(corpus_key, CONTEXT)
        moto_role = RoleSource(ROLE, "{}", region="us-east-1", endpoint_url=aws).assume()
        secrets += [moto_role.keys.secret_key, moto_role.keys.token or ""]
        with open_corpus(str(root.name)) as corpus:
            held_by = corpus._lease.connection.session
            assert held_by is not None
            secrets += [held_by.keys.secret_key, held_by.keys.token or ""]
            assert len(corpus.read(0)) > 64
        with open_corpus(str(local.name)) as corpus:
            corpus.read(0)
        with pytest.raises(SecuredataError):
            open_storage(root, {}).get("head")
        with pytest.raises(SecuredataError):
            list(open_storage(root, {}).list())
        with serving(Empty) as port, pytest.raises(SecuredataError):
            open_storage(f"http://127.0.0.1:{port}/x").get("head", 10)
        memory = open_storage(f"memory://log-{tmp_path.name}")
        memory.put_new("objects/3f/3f" + "0" * 30, [b"x"])
        logging.getLogger("botocore.auth").debug("ours is not the only call")
    text = "\n".join(log.records)
    assert not [one[:12] for one in held(text, [one for one in secrets if one])]
    assert "ours is not the only call" in text, "others may log"
    assert not log.of("botocore.endpoint", "botocore.parsers", "urllib3.connectionpool")


# ------------------------------------------------------------------------------------------- redirects


class Elsewhere(Handler):
    """Redirects everything."""

    target: ClassVar[str] = ""
    status: ClassVar[int] = 307

    def answer(self, body: bytes) -> None:
        self.say(self.status, Location=f"{self.target}{self.path}?token=in-the-query")


class Thief(Handler):
    """Takes what comes."""

    seen: ClassVar[list[str]] = []

    def answer(self, body: bytes) -> None:
        self.seen.append(f"{self.path} {dict(self.headers)} {body!r}")
        self.say(200, b'{"data": {"ciphertext": "vault:v1:x", "plaintext": "eA=="}}')


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_vault_hands_token_and_key_to_nobody_else(
    status: int, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_CACERT", str(certificate))
    monkeypatch.setenv("VAULT_TOKEN", "s.secret-token")
    Thief.seen.clear()
    with serving(Thief) as thief, serving(Elsewhere, tls) as port:
        monkeypatch.setattr(Elsewhere, "target", f"http://127.0.0.1:{thief}")
        monkeypatch.setattr(Elsewhere, "status", status)
        kms = open_kms(f"hcvault://127.0.0.1:{port}/transit/keys/k")
        for call in (lambda: kms.wrap(bytes(32), CONTEXT), lambda: kms.unwrap(b"vault:v1:x", CONTEXT)):
            with pytest.raises(KMSUnreachable) as caught:
                call()
            assert "redirect" in str(caught.value)
            assert f"127.0.0.1:{thief}" in str(caught.value)
            assert not held(told(caught.value), ["s.secret-token", "in-the-query"])
    assert Thief.seen == []


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_storage_follows_no_redirect_either(
    scheme: str, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Thief.seen.clear()
    with serving(Thief) as thief, serving(Elsewhere) as port:
        monkeypatch.setattr(Elsewhere, "target", f"http://127.0.0.1:{thief}")
        monkeypatch.setattr(Elsewhere, "status", 302)
        options = {"endpoint_url": f"http://127.0.0.1:{port}", "region": "us-east-1"} if scheme == "s3" else {}
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "secret-key", "SESSION_TOKEN": "tok"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        root = "s3://bucket/p" if scheme == "s3" else f"http://127.0.0.1:{port}/p"
        with pytest.raises(SecuredataError):
            open_storage(root, options).get("head", 1000)
        if scheme == "s3":
            with pytest.raises(SecuredataError):
                list(open_storage(root, options).list())
            with pytest.raises(SecuredataError):
                RoleSource(ROLE, "{}", region="us-east-1", endpoint_url=options["endpoint_url"]).assume()
    assert Thief.seen == []


# ------------------------------------------------------------------------------------------- tokens and their ends


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n"])
def test_a_token_with_a_line_end_behind_it_is_the_token(
    end: str, bao: Bao, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bao.make_key(f"{cloud.prefix}-stripped")
    monkeypatch.setenv("VAULT_TOKEN", bao.token + end)
    kms = open_kms(uri)
    assert kms.unwrap(kms.wrap(bytes(32), CONTEXT), CONTEXT) == bytes(32)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, os.environ[name] + end)
    storage = open_storage(f"s3://voice/{cloud.prefix}/stripped", {})
    key = "objects/3f/3f" + "0" * 30
    storage.put_new(key, [b"by libcurl"])
    assert bytes(storage.get(key)) == b"by libcurl"
    assert [entry.key for entry in storage.list()] == [key], "by botocore"
    storage.delete(key)


ODD = ["TOP\nZECR3T", "TOP\r\nX-Evil: ZECR3T", "TOP\x00ZECR3T", "TOPäZECR3T", "TOP\u2028ZECR3T"]


@pytest.mark.parametrize("odd", [one for one in ODD if "\x00" not in one])
def test_one_with_a_line_end_within_is_refused_and_not_shown(
    odd: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Thief) as port:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "SESSION_TOKEN": odd}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("VAULT_TOKEN", odd)
        storage = open_storage("s3://bucket/p", {})
        calls: list[Callable[[], object]] = [
            lambda: storage.get("head"),
            lambda: list(storage.list()),
            lambda: storage.put_new("objects/3f/3f" + "0" * 30, [b"x"]),
            lambda: open_kms(f"aws-kms://{ARN}").wrap(bytes(32), CONTEXT),
            lambda: open_kms(f"hcvault+http://127.0.0.1:{port}/transit/keys/k").wrap(bytes(32), CONTEXT),
            lambda: RoleSource(ROLE, "{}").assume(),
        ]
        Thief.seen.clear()
        for call in calls:
            with pytest.raises(ConfigError) as caught:
                call()
            assert not held(told(caught.value), ["ZECR3T"])
        assert Thief.seen == []


# ------------------------------------------------------------------------------------------- the command


class Echo(Handler):
    """A server that writes back what it was sent, in the texts of its errors and with what steers a terminal."""

    def answer(self, body: bytes) -> None:
        token = self.headers.get("x-amz-security-token", "") + str(self.headers.get("X-Vault-Token", ""))
        said = f"\x1b]0;{token}\x07{base64.b64encode(body).decode()}".encode()
        if "transit" in self.path:
            self.say(403, b'{"errors": ["' + said.replace(b"\x1b", b"\\u001b").replace(b"\x07", b"") + b'"]}')
        else:
            xml = b"<Error><Code>Ac\xc2\x9bcess</Code><Message>" + said.replace(b"\x1b", b"").replace(b"\x07", b"")
            self.say(403, xml + b"</Message></Error>", Content_Type="application/xml")


def test_the_command_shows_no_secret_that_a_server_sends_back(
    own_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (KEYS | {"AWS_SESSION_TOKEN": "T0PZ", "VAULT_TOKEN": "T0PZ"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with serving(Echo) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for arguments in (
            ("init", f"{own_home}/a", "--kms", f"hcvault+http://127.0.0.1:{port}/transit/keys/k"),
            ("init", f"{own_home}/a", "--kms", f"aws-kms://{ARN}"),
            ("ls", "s3://bucket/p", "--kms", f"aws-kms://{ARN}"),
            ("encrypt", "s3://bucket/p", f"{own_home}/b", "--one-subject", "x"),
        ):
            done = run(*arguments)
            assert done.code == 1, done.err
            assert "Traceback" not in done.err
            assert not held(done.out + done.err, ["T0PZ"])
            assert not {"\x1b", "\x07", "\x9b"} & set(done.out + done.err)
            assert len(done.err.strip().splitlines()) == 1


def test_a_role_says_so_too(cloud: Cloud, run: Run, become: Become, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cloud.make("contractor-a", role=ROLE)
    become(TRAINER, cloud.bao.token)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    for command in (("ls", str(root.name)), ("session", str(root.name))):
        done = run(*command)
        assert done.code == 1
        assert "the endpoint is not a URL" in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_a_new_corpus_under_a_key_whose_settings_are_wrong_leaves_nothing(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError):
        create_corpus(str(tmp_path / "c"), "c", kms=[f"aws-kms://{ARN}"])
    assert not (tmp_path / "c" / "head").exists()
