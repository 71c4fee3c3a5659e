"""Tags: a person's name, consent, recording or request under a key that only readers of the corpus have.

Tombstones and bars hold tags, so that after an erasure the name remains only as a tag, on which a reader of the corpus
can test a guess. So do the lineage records of models, under a key that is another one in each record.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_SUBJECT = b"securedata/v1 subject tag"
_CONSENT = b"securedata/v1 consent tag"
_RECORDING = b"securedata/v1 recording tag"
_REQUEST = b"securedata/v1 request tag"
_LINEAGE = b"securedata/v1 lineage"
_IN_LINEAGE = 8


class Tagger:
    """Computes the tags of one corpus: HMAC-SHA-256 under keys expanded from the corpus secret, one for each kind."""

    __slots__ = ("_secret", "_subject")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._subject = _key(secret, _SUBJECT)

    @property
    def subject_key(self) -> bytes:
        """The key of subject tags. Whoever has it can tag names as this corpus does, and nothing else."""
        return self._subject

    def tag(self, subject: str) -> bytes:
        """The 32-byte tag of a subject's name (NFC, UTF-8, case kept)."""
        return tag_under(self._subject, subject)

    def consent(self, subject: str, consent_id: str | None) -> bytes:
        """The 32-byte tag of one person's consent; None and '' are the same: no consent was recorded.

        The HMAC is of the subject's tag and the consent's id (NFC, UTF-8), so the two cannot be confused.
        """
        return self.consent_of(self.tag(subject), consent_id)

    def consent_of(self, tag: bytes, consent_id: str | None) -> bytes:
        """As `consent`, of a person who is known by their subject tag."""
        return hmac.digest(_key(self._secret, _CONSENT), tag + _text(consent_id or ""), "sha256")

    def recording(self, sha256: bytes) -> bytes:
        """The 32-byte tag of a recording, by the SHA-256 digest of its file."""
        return hmac.digest(_key(self._secret, _RECORDING), sha256, "sha256")

    def request(self, kind: str, names: Iterable[str]) -> bytes:
        """The 32-byte tag of a request for erasure, by which a later run of the same request knows it.

        Args:
            kind: of the request; it has no NUL.
            names: what it names, in any order; none has a NUL.
        """
        given = sorted({unicodedata.normalize("NFC", name) for name in names})
        return hmac.digest(_key(self._secret, _REQUEST), "\0".join((kind, *given)).encode(), "sha256")

    def in_lineage(self, record: bytes, subjects: Iterable[str]) -> list[str]:
        """People as a lineage record names them: 16 hex digits for each, in the order given.

        The key is expanded from the corpus secret and the record's random id (16 bytes). So nobody can tell from two
        records whether they name the same people, except who could read the corpus.
        """
        key = _key(self._secret, _LINEAGE + record)
        return [hmac.digest(key, _text(one), "sha256")[:_IN_LINEAGE].hex() for one in subjects]


def tag_under(subject_key: bytes, subject: str) -> bytes:
    """As `Tagger.tag`, under the `subject_key` of a corpus whose secret is not at hand."""
    return hmac.digest(subject_key, _text(subject), "sha256")


def consent_under(subject_key: bytes, consent_id: str) -> bytes:
    """The 32-byte tag by which an erasure names a consent to a corpus that it cannot reach yet."""
    return hmac.digest(subject_key, b"consent\0" + _text(consent_id), "sha256")


def recording_under(subject_key: bytes, sha256: bytes) -> bytes:
    """Likewise of a recording, by the SHA-256 digest of its file."""
    return hmac.digest(subject_key, b"recording\0" + sha256, "sha256")


def _text(value: str) -> bytes:
    return unicodedata.normalize("NFC", value).encode()


def _key(secret: bytes, label: bytes) -> bytes:
    return HKDFExpand(SHA512(), 32, label).derive(secret)
