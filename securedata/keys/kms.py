"""The KMS interface and its URI registry.

A provider registers in the entry point group `securedata.kms` under its URI scheme, as a callable
that takes the URI and returns a KMS; it should pass `securedata.testing.kms.KMSContract`.
"""

from __future__ import annotations

import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, NamedTuple, TypeVar

from securedata.errors import InvalidKMSURI, KeysError, KMSMisconfigured, KMSThrottled, KMSUnreachable, SecuredataError
from securedata.foreign.aws import Cause, Credentials, cause_of
from securedata.foreign.describe import describe
from securedata.foreign.quiet import quiet
from securedata.printable import without_secrets

Context = Mapping[str, str]
Provider = Callable[[str], "KMS"]

_T = TypeVar("_T")

GROUP = "securedata.kms"
_BUILT_IN = {
    "local": "securedata.keys.local:LocalKMS",
    "aws-kms": "securedata.keys.aws:AWSKMS",
    "hcvault": "securedata.keys.hcvault:VaultKMS",
    "hcvault+http": "securedata.keys.hcvault:VaultKMS",
}


class Fate(NamedTuple):
    """What has become of a KMS key, or of the version of it that made a wrap.

    Attributes:
        state: 'destroyed', 'scheduled' (for deletion, which can still be cancelled), or 'lives'.
        evidence: what the service answered, or what was found.
        until: of 'scheduled': the day of the deletion, YYYY-MM-DD.
    """

    state: Literal["destroyed", "scheduled", "lives"]
    evidence: str
    until: str | None = None


class KMS(ABC):
    """One key of one key management service, named by its URI.

    Instances are cheap to make, contact no server before `wrap` or `unwrap`, and hold clients that can be made
    again after a fork. An error of `securedata.errors` that a provider raises is shown unchanged, so its text must not
    hold a secret; the text of any other error is not passed on.
    """

    uri: str = ""
    """As the caller wrote it: the endpoint and key that are used."""

    @property
    @abstractmethod
    def wrap_uri(self) -> str:
        """What a head records to name this key; no path, no credentials."""

    @abstractmethod
    def matches(self, wrap_uri: str) -> bool:
        """Whether a wrap recorded under `wrap_uri` is of this key. A server named in `wrap_uri` is never contacted."""

    @abstractmethod
    def wrap(self, key: bytes, context: Context) -> bytes:
        """Encrypt a 32-byte key under the encryption context, which the service must bind.

        Raises:
            KMSDenied, KMSUnreachable, KMSThrottled
        """

    @abstractmethod
    def unwrap(self, blob: bytes, context: Context) -> bytes:
        """Decrypt what `wrap` returned, under the same context only.

        Raises:
            KMSDenied: also for another context, or a blob that is not of this key.
            KMSUnreachable, KMSThrottled
        """

    def fate(self, version: int | None) -> Fate:
        """What has become of the key that made a wrap; asks the service.

        Args:
            version: of the key, if the wrap tells: see `wraps.version_of`.

        Raises:
            KMSDenied, KMSUnreachable, KMSThrottled
            KMSMisconfigured: this provider cannot tell.
        """
        raise KMSMisconfigured(f"{self.uri}: what has become of this key cannot be asked")

    def use(self, credentials: Credentials) -> None:
        """Use the credentials of a session, if this KMS takes AWS credentials; others ignore them."""
        del credentials

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"


def trusts(uris: Iterable[str], wrap_uri: str) -> bool:
    """Is the key of a wrap among those that the caller names? Contacts no KMS."""
    for uri in uris:
        try:
            if open_kms(uri).matches(wrap_uri):
                return True
        except KeysError:  # a key file that is not here
            continue
    return False


def ask_to_wrap(kms: KMS, key: bytes, context: Context) -> bytes:
    """As `kms.wrap`; what a provider logs meanwhile, and other errors that it raises, are not passed on.

    Raises:
        KMSDenied, KMSUnreachable, KMSThrottled, KMSMisconfigured
    """
    return _bytes_of(kms, lambda: kms.wrap(key, context))


def ask_to_unwrap(kms: KMS, blob: bytes, context: Context) -> bytes:
    """As `kms.unwrap`, likewise.

    Raises:
        KMSDenied, KMSUnreachable, KMSThrottled, KMSMisconfigured
    """
    return _bytes_of(kms, lambda: kms.unwrap(blob, context))


def _bytes_of(kms: KMS, call: Callable[[], object]) -> bytes:
    answer = _asked(kms.uri, call)
    if not isinstance(answer, (bytes, bytearray)):
        raise KMSMisconfigured(f"{without_secrets(kms.uri)}: its provider did not return bytes")
    return bytes(answer)


def _asked(uri: str, call: Callable[[], _T]) -> _T:
    failure: KeysError
    try:
        with quiet():
            return call()
    except SecuredataError:
        raise
    except Exception as error:  # noqa: BLE001 - of a provider that is not ours, or of what it uses; raised below as ours
        passing = cause_of(error) is Cause.NETWORK
        kind, advice = (
            (KMSUnreachable, "check address and network") if passing else (KMSMisconfigured, "check its setup")
        )
        failure = kind(f"{without_secrets(uri)}: its provider failed: {describe(error)}; {advice}")
    # raised here and not in the handler: no traceback then holds the library's error, which might quote token and key
    raise failure


def context_for(corpus_id: bytes) -> dict[str, str]:
    """The encryption context of a corpus. Recomputed by every caller, never read from storage."""
    return {"securedata:corpus": corpus_id.hex()}


def context_bytes(context: Context) -> bytes:
    """The context as bytes, for providers that need them: compact JSON with sorted keys, in UTF-8."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


PATIENCE = 20.0
"""Seconds during which opening a corpus retries a KMS that asks to slow down."""


def retry_throttled(call: Callable[[], _T]) -> _T:
    """What `call` returns. Jobs that start together might be asked to slow down: they retry, with backoff and jitter.

    Raises:
        KMSThrottled: still throttled after `PATIENCE` seconds.
        what `call` raises
    """
    began, pause = time.monotonic(), 0.2
    while True:
        try:
            return call()
        except KMSThrottled:
            if time.monotonic() - began + pause > PATIENCE:
                raise
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, 5.0)


def open_kms(uri: str) -> KMS:
    """The KMS key that a URI names.

    Raises:
        InvalidKMSURI: it cannot be parsed, or no provider serves its scheme.
        KMSMisconfigured: its provider cannot be loaded.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or not scheme:
        raise InvalidKMSURI(f"{without_secrets(uri)!r} is not a KMS URI: write for example local:///home/me/voice.kek")
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        built_in: Provider = getattr(import_module(module), name)
        return built_in(uri)
    found = entry_points(group=GROUP, name=scheme)
    for point in found:
        return _asked(uri, partial(_opened, point, uri))
    known = sorted({*_BUILT_IN, *entry_points(group=GROUP).names})
    raise InvalidKMSURI(f"no KMS provider serves {scheme}://; installed are: {', '.join(known)}")


def _opened(point: EntryPoint, uri: str) -> KMS:
    provider: Provider = point.load()
    return provider(uri)


def open_all(uris: Iterable[str]) -> list[KMS]:
    """The KMS keys that a caller trusts, in the caller's order.

    Raises:
        InvalidKMSURI
    """
    return [open_kms(uri) for uri in uris]
