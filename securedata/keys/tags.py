"""Subject tags: a person's name under a key that only readers of the corpus have.

Tombstones hold tags, so that after an erasure the name remains only as a tag, on which a reader of the
corpus can test a guess.
"""

from __future__ import annotations

import hmac
import unicodedata

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_LABEL = b"securedata/v1 subject tag"


class Tagger:
    """Computes the tags of one corpus: HMAC-SHA-256 of the name (NFC, UTF-8, case kept)."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = HKDFExpand(SHA512(), 32, _LABEL).derive(secret)

    def tag(self, subject: str) -> bytes:
        """The 32-byte tag of a subject's name."""
        return hmac.digest(self._key, unicodedata.normalize("NFC", subject).encode(), "sha256")
