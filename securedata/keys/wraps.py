"""The corpus key, wrapped by one KMS key or several.

Storage never chooses the KMS: only wraps that match a key that the caller trusts are tried, with endpoint
and key from the caller's URI. Storage never chooses the encryption context either.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from securedata.errors import (
    ContextNotBound,
    KeysError,
    KMSDenied,
    KMSMisconfigured,
    LimitExceeded,
    MalformedHeader,
    NoTrustedKey,
)
from securedata.keys.kms import KMS, ask_to_unwrap, ask_to_wrap, context_for

CORPUS_KEY = 32
_SHOWN = 8
_SHOWN_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Wrap:
    """A corpus key as one KMS key wrapped it."""

    uri: str
    blob: bytes

    def encode(self) -> bytes:
        """The TLV value: u16 length of the URI, the URI in UTF-8, the blob."""
        uri = self.uri.encode()
        if len(uri) + len(self.blob) + 2 > 0xFFFF:
            raise LimitExceeded(f"the wrap by {self.uri} has {len(self.blob)} bytes, too many for a head")
        return struct.pack(">H", len(uri)) + uri + self.blob

    @classmethod
    def decode(cls, value: bytes, root: str) -> Wrap:
        """Parse a TLV value.

        Raises:
            MalformedHeader
        """
        try:
            (size,) = struct.unpack_from(">H", value)
            uri, blob = value[2 : 2 + size].decode(), value[2 + size :]
        except (struct.error, UnicodeDecodeError):
            raise MalformedHeader(f"the head of {root} holds a wrap that cannot be parsed", root=root) from None
        if len(uri.encode()) != size or not blob:
            raise MalformedHeader(f"the head of {root} holds a wrap that cannot be parsed", root=root)
        return cls(uri, blob)


_TRANSIT = re.compile(rb"vault:v([0-9]{1,9}):")


def version_of(wrap: Wrap) -> int | None:
    """The version of the transit key that made a wrap; None: this kind of wrap does not tell."""
    match = _TRANSIT.match(wrap.blob)
    return int(match[1]) if match else None


def named(wrap: Wrap) -> str:
    """A wrap for receipts: its URI, and the version of the key that made it, if the wrap tells."""
    version = version_of(wrap)
    return wrap.uri if version is None else f"{wrap.uri}, version {version}"


def parse_named(text: str) -> tuple[str, int | None]:
    """URI and version of a wrap, from what `named` returns."""
    uri, mark, version = text.rpartition(", version ")
    return (uri, int(version)) if mark and version.isdecimal() else (text, None)


def wrap_key(kms: Sequence[KMS], key: bytes, corpus_id: bytes) -> tuple[Wrap, ...]:
    """Wrap the corpus key by every KMS key, each checked to bind the context.

    Raises:
        ContextNotBound, KMSDenied, KMSUnreachable, KMSThrottled
    """
    wraps = []
    for one in kms:
        blob = ask_to_wrap(one, key, context_for(corpus_id))
        check_binds_context(one, blob, key, corpus_id)
        wraps.append(Wrap(one.wrap_uri, blob))
    return tuple(wraps)


def rewrap_key(kms: KMS, key: bytes, corpus_id: bytes) -> Wrap:
    """Wrap a new corpus key by a KMS key that wraps the current one: one Encrypt, and one Decrypt to compare.

    That the KMS key binds the context was checked when its first wrap was added.

    Raises:
        KMSDenied: the KMS refused, or the wrap that it made opens to another key.
        KMSUnreachable, KMSThrottled
    """
    blob = ask_to_wrap(kms, key, context_for(corpus_id))
    if ask_to_unwrap(kms, blob, context_for(corpus_id)) != key:
        raise KMSDenied(f"{kms.uri} returned another key than the one it wrapped; nothing was committed")
    return Wrap(kms.wrap_uri, blob)


def check_binds_context(kms: KMS, blob: bytes, key: bytes, corpus_id: bytes) -> None:
    """Refuse a KMS key that opens the wrap under another context or under none, and one that cannot open it at all.

    Raises:
        ContextNotBound
        KMSDenied, KMSUnreachable, KMSThrottled
    """
    if ask_to_unwrap(kms, blob, context_for(corpus_id)) != key:
        raise KMSDenied(f"{kms.uri} returned another key than the one it wrapped")
    for context in (context_for(os.urandom(16)), {}):
        try:
            ask_to_unwrap(kms, blob, context)
        except KMSMisconfigured:  # the provider failed without an answer, which is not a refusal
            raise
        except KMSDenied:
            continue
        raise ContextNotBound(
            f"{kms.uri} does not bind the encryption context: those who can use it for one corpus could open all. "
            "Use a key that does (for Vault and OpenBao: a transit key made with derived=true)"
        )


def unwrap_key(wraps: Sequence[Wrap], trusted: Sequence[KMS], corpus_id: bytes, root: str) -> bytes:
    """Unwrap the corpus key by the first trusted KMS key, in the caller's order, that opens a wrap.

    Raises:
        NoTrustedKey: none of the trusted keys made any of the wraps.
        KMSDenied, KMSUnreachable, KMSThrottled: all matching keys failed; the first failure.
    """
    failures: list[KeysError] = []
    for kms in trusted:
        try:
            matching = [wrap for wrap in wraps if kms.matches(wrap.uri)]
            for wrap in matching:
                key = ask_to_unwrap(kms, wrap.blob, context_for(corpus_id))
                if len(key) == CORPUS_KEY:
                    return key
                failures.append(KMSDenied(f"{kms.uri} returned a key of {len(key)} bytes, not {CORPUS_KEY}"))
        except KeysError as error:
            failures.append(error)
    if failures:
        # a failure that waiting might fix says more than a refusal by another key
        waiting = [error for error in failures if not isinstance(error, KMSDenied)]
        first = (waiting or failures)[0]
        raise type(first)(f"the corpus key of {root} was not unwrapped: {first}", root=root) from first
    have = ", ".join(_shown(wrap.uri) for wrap in wraps[:_SHOWN]) or "none"
    if len(wraps) > _SHOWN:
        have += f", and {len(wraps) - _SHOWN} more"
    want = ", ".join(kms.uri if kms.wrap_uri == kms.uri else f"{kms.uri}, which is {kms.wrap_uri}" for kms in trusted)
    raise NoTrustedKey(
        f"no KMS key that you trust can open {root}: its wraps are by [{have}], but you trust [{want or 'none'}]; "
        "name the right one with kms=, --kms, SECUREDATA_KMS or in the config file",
        root=root,
    )


def _shown(uri: str) -> str:
    """A wrap's URI for an error text: it is not authenticated yet, and a terminal obeys escape sequences."""
    text = "".join(char if char.isprintable() else "?" for char in uri[:_SHOWN_LENGTH])
    return text if len(uri) <= _SHOWN_LENGTH else text + "..."
