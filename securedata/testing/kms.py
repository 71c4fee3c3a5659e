"""The contract of a KMS provider, on which a corpus relies. Subclass `KMSContract` in your tests to run it with pytest.

class TestMine(KMSContract):
    def key(self) -> KMS:
        return MyKMS(uri_of_a_key)

    def other_key(self) -> KMS:
        return MyKMS(uri_of_another_key)

    def denied_key(self) -> KMS: ...
    def unreachable_key(self) -> KMS: ...
"""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod

from securedata.errors import ContextNotBound, KMSDenied, KMSUnreachable
from securedata.keys.kms import KMS, Context, context_for
from securedata.keys.wraps import CORPUS_KEY, Wrap, check_binds_context, unwrap_key, wrap_key
from securedata.testing.storage import raised

CORPUS = bytes(range(16))
CONTEXT = context_for(CORPUS)
ROOT = "memory://corpus"


class KMSContract(ABC):
    """Every test asks for its keys again; these methods may return the same keys each time."""

    @abstractmethod
    def key(self) -> KMS:
        """A key that this process may use to wrap and unwrap."""

    @abstractmethod
    def other_key(self) -> KMS:
        """Another key of the same service."""

    @abstractmethod
    def denied_key(self) -> KMS:
        """A key that exists but that this process may not use."""

    @abstractmethod
    def unreachable_key(self) -> KMS:
        """A key whose service does not answer."""

    # ------------------------------------------------------------ wrapping

    def test_what_was_wrapped_unwraps(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        blob = self.key().wrap(secret, CONTEXT)
        assert type(blob) is bytes
        assert self.key().unwrap(blob, CONTEXT) == secret, "another instance, as another process makes it"
        assert secret not in blob

    def test_wrapping_twice_gives_other_bytes(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        assert self.key().wrap(secret, CONTEXT) != self.key().wrap(secret, CONTEXT)

    def test_the_key_binds_its_context(self) -> None:
        """This keeps corpora apart: a wrap opens only under its own corpus's context."""
        kms = self.key()
        secret = os.urandom(CORPUS_KEY)
        blob = kms.wrap(secret, CONTEXT)
        others: list[Context] = [
            {},
            context_for(bytes(16)),
            {**CONTEXT, "more": "x"},
            {key.upper(): value for key, value in CONTEXT.items()},
            {key: value.upper() for key, value in CONTEXT.items()},
        ]
        for other in others:
            raised(KMSDenied, lambda other=other: kms.unwrap(blob, other))  # type: ignore[misc]  # mypy infers no type for a lambda's default
        check_binds_context(kms, blob, secret, CORPUS)
        assert wrap_key([kms], secret, CORPUS)

    def test_the_order_of_a_context_does_not_matter(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        blob = self.key().wrap(secret, {"a": "1", "b": "2"})
        assert self.key().unwrap(blob, {"b": "2", "a": "1"}) == secret

    def test_a_context_may_hold_any_text(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        context = {"securedata:corpus": "Zoë \N{SNOWMAN} \"\\ '"}
        assert self.key().unwrap(self.key().wrap(secret, context), context) == secret

    def test_a_changed_wrap_is_refused(self) -> None:
        kms = self.key()
        blob = kms.wrap(os.urandom(CORPUS_KEY), CONTEXT)
        changed = [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in range(0, len(blob), 5)]
        for one in [*changed, blob[:-1], blob[: len(blob) // 2], b"", b"x", b"\xff" * 40, bytes(4096)]:
            raised(KMSDenied, lambda one=one: kms.unwrap(one, CONTEXT))  # type: ignore[misc]  # as above

    def test_another_key_does_not_unwrap(self) -> None:
        blob = self.key().wrap(os.urandom(CORPUS_KEY), CONTEXT)
        raised(KMSDenied, lambda: self.other_key().unwrap(blob, CONTEXT))

    # ------------------------------------------------------------ refusals

    def test_a_refusal_and_an_outage_are_told_apart(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        blob = self.key().wrap(secret, CONTEXT)
        for kms, error in ((self.denied_key(), KMSDenied), (self.unreachable_key(), KMSUnreachable)):
            for call in (lambda kms=kms: kms.unwrap(blob, CONTEXT), lambda kms=kms: kms.wrap(secret, CONTEXT)):
                text = str(raised(error, call))
                assert kms.uri in text, "the error must name the key"
                assert secret.hex() not in text

    # ------------------------------------------------------------ names

    def test_a_wrap_is_matched_by_its_own_key_alone(self) -> None:
        kms, other = self.key(), self.other_key()
        assert kms.matches(kms.wrap_uri)
        assert self.key().matches(kms.wrap_uri)
        assert not other.matches(kms.wrap_uri)
        assert not kms.matches(other.wrap_uri)
        for text in ("", "nonsense", "://", "aws-kms://", kms.wrap_uri + "x", kms.wrap_uri[:-1], "\x00", "é"):
            assert not kms.matches(text), "text from storage must not match, raise an error or cause a call"

    def test_a_head_finds_its_way_back(self) -> None:
        secret = os.urandom(CORPUS_KEY)
        wraps = [Wrap.decode(one.encode(), ROOT) for one in wrap_key([self.other_key(), self.key()], secret, CORPUS)]
        assert unwrap_key(wraps, [self.key()], CORPUS, ROOT) == secret
        assert unwrap_key(wraps, [self.unreachable_key(), self.key()], CORPUS, ROOT) == secret

    # ------------------------------------------------------------ secrets stay in

    def test_nothing_secret_is_shown(self) -> None:
        kms = self.key()
        secret = os.urandom(CORPUS_KEY)
        blob = kms.wrap(secret, CONTEXT)
        kms.unwrap(blob, CONTEXT)
        for text in (repr(kms), str(kms), kms.uri, kms.wrap_uri):
            assert secret.hex() not in text
            assert repr(secret) not in text
        assert secret not in pickle.dumps(kms.uri)
        assert kms.uri in repr(kms)


class UnboundKMS(KMS):
    """A key that ignores the context, like a transit key that is not `derived`. It must be refused."""

    def __init__(self, inner: KMS) -> None:
        self.uri = inner.uri
        self._inner = inner

    @property
    def wrap_uri(self) -> str:
        return self._inner.wrap_uri

    def matches(self, wrap_uri: str) -> bool:
        return self._inner.matches(wrap_uri)

    def wrap(self, key: bytes, context: Context) -> bytes:
        return self._inner.wrap(key, {})

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        return self._inner.unwrap(blob, {})


def refused_as_unbound(kms: KMS) -> bool:
    """Whether adding a wrap by this key is refused."""
    try:
        wrap_key([kms], os.urandom(CORPUS_KEY), CORPUS)
    except ContextNotBound:
        return True
    return False
