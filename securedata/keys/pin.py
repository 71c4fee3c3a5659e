"""The pin: which corpus a caller means. Storage can be swapped, the pin cannot.

    pin = "sd1" + lowercase unpadded base32(corpus id || HKDF-Expand-SHA-512(corpus secret, "securedata/v1 pin", 16))

It is not a secret: it opens nothing, and only those who hold the corpus secret can check it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from securedata.errors import InvalidArgument, PinMismatch

_PREFIX = "sd1"
_LABEL = b"securedata/v1 pin"
_SIZE = 16


@dataclass(frozen=True, slots=True)
class Pin:
    """A parsed pin: the corpus id, and a check value that only this corpus's secret yields."""

    corpus_id: bytes
    check: bytes

    def __str__(self) -> str:
        body = base64.b32encode(self.corpus_id + self.check).decode().rstrip("=").lower()
        return _PREFIX + body


def make_pin(corpus_id: bytes, secret: bytes) -> Pin:
    """The pin of a corpus."""
    return Pin(corpus_id, HKDFExpand(SHA512(), _SIZE, _LABEL).derive(secret))


def parse_pin(text: str) -> Pin:
    """Parse a pin as a person might have typed it.

    Raises:
        InvalidArgument
    """
    body = text.strip().lower()
    try:
        if not body.startswith(_PREFIX):
            raise ValueError
        body = body[len(_PREFIX) :].upper()
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
        pin = Pin(raw[:16], raw[16:])
        if len(raw) != 32 or str(pin) != text.strip().lower():
            raise ValueError
    except (ValueError, binascii.Error):
        raise InvalidArgument(
            f"{text!r} is not a pin: a pin is {_PREFIX} and 52 letters and digits, as 'securedata info' prints it"
        ) from None
    return pin


def check_corpus(pins: tuple[Pin, ...], corpus_id: bytes, root: str) -> None:
    """Refuse the head of a corpus that is not pinned, before any KMS is asked.

    Raises:
        PinMismatch
    """
    if pins and all(pin.corpus_id != corpus_id for pin in pins):
        raise PinMismatch(
            f"the corpus at {root} has the id {corpus_id.hex()}, the pin names "
            f"{', '.join(pin.corpus_id.hex() for pin in pins)}: the corpus was replaced, or it is the wrong pin; "
            "compare it with the pin that you got with the corpus, and trust no other",
            root=root,
        )


def check_secret(pins: tuple[Pin, ...], corpus_id: bytes, secret: bytes, root: str) -> None:
    """Refuse a head with the pinned id but not the pinned secret.

    Raises:
        PinMismatch
    """
    mine = [pin for pin in pins if pin.corpus_id == corpus_id]
    if pins and not any(hmac.compare_digest(pin.check, make_pin(corpus_id, secret).check) for pin in mine):
        raise PinMismatch(
            f"the corpus at {root} has the pinned id but another secret: it was forged, or it is the wrong "
            "pin; compare it with the pin that you got with the corpus, and trust no other",
            root=root,
        )
