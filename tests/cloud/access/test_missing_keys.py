"""A transit key that does not exist is never made by our call, though the service would, where the policy allows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.corpus.config import load
from securedata.errors import KMSDenied
from securedata.keys.kms import open_kms
from securedata.testing.kms import CONTEXT
from securedata.testing.storage import raised
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import make_corpus
from tests.kit.servers import Bao

pytestmark = pytest.mark.xdist_group("servers")

_CREATE = 'path "transit/encrypt/*" { capabilities = ["create", "update"] }\n'
_DECRYPT = 'path "transit/decrypt/*" { capabilities = ["create", "update"] }\n'
_READ = 'path "transit/keys/*" { capabilities = ["read"] }\n'
TOKENS: dict[str, Callable[[Bao], str]] = {
    "root": lambda bao: bao.token,
    "create, decrypt, read": lambda bao: bao.make_token(_CREATE + _DECRYPT + _READ),
    "create, decrypt": lambda bao: bao.make_token(_CREATE + _DECRYPT),
}


@pytest.fixture
def name() -> str:
    return f"missing-{os.urandom(6).hex()}"


def keys(bao: Bao) -> list[str]:
    listed: list[str] = bao.client().secrets.transit.list_keys()["data"]["keys"]
    return listed


@pytest.mark.parametrize("who", TOKENS)
def test_the_service_would_make_it(who: str, bao: Bao, name: str) -> None:
    """What we guard against; if it ever stops, the guard can go."""
    bao.client(TOKENS[who](bao)).secrets.transit.encrypt_data(name=name, plaintext="YQ==", context="YQ==")
    assert name in keys(bao)


@pytest.mark.parametrize("who", TOKENS)
def test_init_refuses_and_says_how_to_make_it(
    who: str, bao: Bao, name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bao.make_key("there")
    monkeypatch.setenv("VAULT_TOKEN", TOKENS[who](bao))
    done = run("init", tmp_path / "sealed", "--name", "voice-a", "--kms", bao.uri(name))
    assert done.code == 1
    assert f"vault write transit/keys/{name} derived=true" in done.error
    assert name not in keys(bao)
    assert load() == {}
    assert not (tmp_path / "sealed").exists()
    assert bao.calls("encrypt", name) == 0
    # as it says
    bao.make_key(name)
    done = run("init", tmp_path / "sealed", "--name", "voice-a", "--kms", bao.uri(name))
    assert done.code == 0, done.err


@pytest.mark.parametrize("who", TOKENS)
def test_wrap_add_refuses_too(
    who: str, bao: Bao, name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_corpus(tmp_path)
    bao.make_key("there")
    monkeypatch.setenv("VAULT_TOKEN", TOKENS[who](bao))
    done = run("wrap", "add", root.name, "--kms", bao.uri(name))
    assert done.code == 1
    assert "no such transit key" in done.error
    assert name not in keys(bao)
    assert len(run("wrap", "list", root.name, "--json").json["wraps"]) == 1


def test_a_mount_that_is_not_there(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bao.token)
    kms = open_kms(bao.uri("k").replace("/transit/", "/transit-x/"))
    for call in (lambda: kms.wrap(bytes(32), CONTEXT), lambda: kms.unwrap(b"vault:v1:AAAA", CONTEXT)):
        assert "transit-x/keys/k derived=true" in str(raised(KMSDenied, call))


def test_one_who_may_encrypt_and_not_decrypt_makes_none(bao: Bao, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bao.make_key("there")
    monkeypatch.setenv("VAULT_TOKEN", bao.make_token(_CREATE))
    raised(KMSDenied, lambda: open_kms(bao.uri(name)).wrap(bytes(32), CONTEXT))
    assert name not in keys(bao)
