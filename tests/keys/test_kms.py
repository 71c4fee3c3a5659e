"""KMS providers keep their contract: keys that ignore the context, key files, the registry of providers."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

pytest.register_assert_rewrite("securedata.testing.kms", "securedata.testing.storage")

from securedata.errors import (  # noqa: E402 - after the rewrite is asked for
    ContextNotBound,
    InvalidKMSURI,
    KMSDenied,
    KMSMisconfigured,
    KMSUnreachable,
    SecuredataError,
)
from securedata.keys.kms import KMS, Context, context_bytes, context_for, open_all, open_kms  # noqa: E402 - as above
from securedata.keys.local import LocalKMS, create_key_file, refuse_inside, uri_for  # noqa: E402 - as above
from securedata.keys.wraps import Wrap, check_binds_context, unwrap_key, wrap_key  # noqa: E402 - as above
from securedata.testing.kms import KMSContract, UnboundKMS, refused_as_unbound  # noqa: E402 - as above
from tests.keys.conftest import Keys  # noqa: E402 - as above
from tests.kit.secrets import everything_logged, held, told  # noqa: E402 - as above

CORPUS = b"C" * 16
ROOT = "memory://corpus"
SECRET = bytes(range(32))


class LocalContract(KMSContract):
    @pytest.fixture(autouse=True)
    def made(self, keys: Keys) -> None:
        self.keys = keys

    def key(self) -> KMS:
        return self.keys("mine")

    def other_key(self) -> KMS:
        return self.keys("another")

    def denied_key(self) -> KMS:
        kms = self.keys("for all to read")
        kms.path.chmod(0o644)
        return kms

    def unreachable_key(self) -> KMS:
        return LocalKMS(uri_for(self.keys.folder / "lost.kek"))


class TestLocalKMS(LocalContract):
    pass


# ------------------------------------------------------------------------------------- a key that ignores the context


class Unbound(LocalContract):
    """Not collected: what the contract says to a provider that does not bind."""

    def key(self) -> KMS:
        return UnboundKMS(super().key())


def test_the_contract_finds_a_key_that_ignores_its_context(keys: Keys) -> None:
    contract = Unbound()
    contract.keys = keys
    contract.test_what_was_wrapped_unwraps()
    with pytest.raises(AssertionError, match="KMSDenied was not raised"):
        contract.test_the_key_binds_its_context()


def test_a_key_that_ignores_its_context_is_refused(keys: Keys) -> None:
    assert not refused_as_unbound(keys("mine"))
    unbound = UnboundKMS(keys("mine"))
    assert refused_as_unbound(unbound)
    blob = unbound.wrap(SECRET, context_for(CORPUS))
    with pytest.raises(ContextNotBound, match="derived=true") as caught:
        check_binds_context(unbound, blob, SECRET, CORPUS)
    assert unbound.uri in str(caught.value)


class Half(UnboundKMS):
    """Binds a context if there is one, and opens anything without one."""

    def wrap(self, key: bytes, context: Context) -> bytes:
        return self._inner.wrap(key, context)

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        return self._inner.unwrap(blob, context or context_for(CORPUS))


def test_a_key_that_opens_without_a_context_is_refused_too(keys: Keys) -> None:
    kms = Half(keys("mine"))
    with pytest.raises(ContextNotBound):
        check_binds_context(kms, kms.wrap(SECRET, context_for(CORPUS)), SECRET, CORPUS)


def test_a_key_that_gives_another_key_back_is_refused(keys: Keys) -> None:
    kms = keys("mine")
    with pytest.raises(KMSDenied, match="another key"):
        check_binds_context(kms, kms.wrap(os.urandom(32), context_for(CORPUS)), SECRET, CORPUS)


def test_an_outage_during_the_check_is_no_proof_of_binding(keys: Keys) -> None:
    class Away(Half):
        def unwrap(self, blob: bytes, context: Context) -> bytes:
            if context != context_for(CORPUS):
                raise KMSUnreachable("away")
            return super().unwrap(blob, context)

    kms = Away(keys("mine"))
    with pytest.raises(KMSUnreachable):
        check_binds_context(kms, kms.wrap(SECRET, context_for(CORPUS)), SECRET, CORPUS)


# --------------------------------------------------------------------------------------------------------- the context


def test_the_context_is_the_corpus_and_has_one_spelling() -> None:
    assert context_for(CORPUS) == {"securedata:corpus": "43" * 16}
    assert context_bytes({"b": "é", "a": "1"}) == '{"a":"1","b":"é"}'.encode()


# --------------------------------------------------------------------------------------------------------- key files


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "voice.kek"
    assert create_key_file(path)
    text = path.read_text()
    assert re.fullmatch(r"securedata-kek-v1 [0-9a-f]{32} [0-9a-f]{64}\n", text)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not create_key_file(path)
    assert path.read_text() == text
    assert [one.name for one in path.parent.iterdir()] == ["voice.kek"]


BROKEN: list[Callable[[Path], object]] = [
    lambda path: path.write_text(""),
    lambda path: path.write_text("securedata-kek-v1\n"),
    lambda path: path.write_bytes(b"\xff\x00" * 100),
    lambda path: path.write_text(path.read_text()[:-3]),
    lambda path: path.write_text(path.read_text() + " more"),
    lambda path: path.write_text(path.read_text().replace("v1", "v2")),
    lambda path: path.write_text("securedata-kek-v1 " + "zz" * 16 + " " + "11" * 32),
    lambda path: path.write_text("securedata-kek-v1 " + "11" * 15 + " " + "11" * 32),
    lambda path: path.write_text("securedata-kek-v1 " + "11" * 16 + " " + "11" * 33),
    lambda path: path.chmod(0o640),
    lambda path: path.chmod(0o604),
    lambda path: (path.unlink(), path.mkdir()),
]


@pytest.mark.parametrize("damage", BROKEN, ids=range(len(BROKEN)))
def test_a_damaged_or_open_key_file_is_refused(damage: Callable[[Path], object], keys: Keys) -> None:
    kms = keys("mine")
    blob = kms.wrap(SECRET, context_for(CORPUS))
    secret = kms.path.read_text().split()[2]
    damage(kms.path)
    for call in (lambda: kms.unwrap(blob, context_for(CORPUS)), lambda: kms.wrap(SECRET, {}), lambda: kms.wrap_uri):
        with pytest.raises((KMSDenied, KMSUnreachable)) as caught:
            call()
        assert kms.uri in str(caught.value)
        assert secret not in str(caught.value)


def test_taking_the_key_file_away_takes_access_away(keys: Keys) -> None:
    kms = keys("mine")
    blob = kms.wrap(SECRET, context_for(CORPUS))
    kms.path.unlink()
    with pytest.raises(KMSUnreachable, match="backup"):
        kms.unwrap(blob, context_for(CORPUS))


def test_a_wrap_names_no_path(keys: Keys) -> None:
    assert re.fullmatch("local:[0-9a-f]{32}", keys("mine").wrap_uri)


@pytest.mark.parametrize("name", ["with blank", "per%cent", "hash#mark", "question?mark", "ünïcode"])
def test_any_path_can_be_named(name: str, keys: Keys) -> None:
    kms = keys(name)
    assert LocalKMS(kms.uri).path == kms.path
    assert open_kms(kms.uri).unwrap(kms.wrap(SECRET, {}), {}) == SECRET


@pytest.mark.parametrize("uri", ["", "local", "local:", "local://", "local://relative", "local://host/path", "/path"])
def test_what_is_no_local_uri(uri: str) -> None:
    with pytest.raises(InvalidKMSURI, match="local:///home/me"):
        open_kms(uri)


def test_a_key_file_inside_the_corpus_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    root.mkdir()
    for inside in (root / "kek", root / "deep" / "kek", root / "up" / ".." / "kek", tmp_path / "link" / "kek"):
        with pytest.raises(InvalidKMSURI, match="inside the corpus"):
            refuse_inside(str(root), [uri_for(inside)])
    refuse_inside(str(root), [uri_for(tmp_path / "sealed.kek"), uri_for(tmp_path / "sealed-keys" / "kek"), "other://x"])


# ------------------------------------------------------------------------------------------------------- the registry


def test_a_scheme_without_a_provider_is_named() -> None:
    with pytest.raises(InvalidKMSURI, match=r"gopher://.*local"):
        open_all(["gopher://key"])


def test_a_provider_registers_by_entry_point(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> Callable[[str], KMS]:
            return lambda uri: keys(uri.removeprefix("mine://"))

    monkeypatch.setattr("securedata.keys.kms.entry_points", lambda group, name: [Point()] if name == "mine" else [])
    assert isinstance(open_kms("mine://voice"), LocalKMS)


class Bare(KMS):
    """A provider that keeps no contract: it raises what its client raises, which quotes what it was given."""

    uri = "bare://key"
    wrap_uri = "bare://key"

    def __init__(self, answer: object, context: Context | None = None) -> None:
        self.answer, self.context = answer, context

    def matches(self, wrap_uri: str) -> bool:
        return True

    def wrap(self, key: bytes, context: Context) -> bytes:
        return self.unwrap(key, context)

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        logging.getLogger("google.auth").debug("token ZECR3T")
        if self.context == context:
            return SECRET
        if isinstance(self.answer, Exception):
            raise self.answer
        return cast(bytes, self.answer)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (ValueError("token ZECR3T"), KMSMisconfigured, "its provider failed: ValueError"),
        (KeyError("ZECR3T"), KMSMisconfigured, "its provider failed: KeyError"),
        (RuntimeError("ZECR3T"), KMSMisconfigured, "its provider failed: RuntimeError"),
        (FileNotFoundError(2, "ZECR3T", "/c"), KMSMisconfigured, "No such file"),
        (json.JSONDecodeError("ZECR3T", "ZECR3T", 0), KMSMisconfigured, "not JSON"),
        (ConnectionRefusedError(111, "ZECR3T"), KMSUnreachable, "Connection refused"),
        (TimeoutError("ZECR3T"), KMSUnreachable, "no answer in time"),
        (None, KMSMisconfigured, "did not return bytes"),
        ("ZECR3T", KMSMisconfigured, "did not return bytes"),
    ],
)
def test_a_provider_that_raises_what_it_likes_is_one_clear_error(
    answer: object, kind: type[SecuredataError], said: str
) -> None:
    kms, bound = Bare(answer), Bare(answer, context_for(CORPUS))
    calls: list[Callable[[], object]] = [
        lambda: wrap_key([kms], SECRET, CORPUS),
        lambda: unwrap_key([Wrap("bare://key", b"b")], [kms], CORPUS, ROOT),
        lambda: check_binds_context(bound, b"b", SECRET, CORPUS),  # what is no refusal does not count as one
    ]
    with everything_logged() as log:
        for call in calls:
            with pytest.raises(kind, match=said) as caught:
                call()
            assert not held(told(caught.value), ["ZECR3T"])
            assert "bare://key" in str(caught.value)
    assert not held("".join(log.records), ["ZECR3T"])


def test_a_provider_that_cannot_be_loaded_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> Callable[[str], KMS]:
            raise ModuleNotFoundError("No module named 'cloudy'", name="cloudy")

    monkeypatch.setattr("securedata.keys.kms.entry_points", lambda group, name: [Point()])
    with pytest.raises(KMSMisconfigured, match="cloudy is not installed"):
        open_kms("mine://voice")
