"""What anyone can check of a receipt with the public half of the operator's key, and with an opening."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from securedata.errors import ConfigError, InvalidArgument
from securedata.files import open_regular, read_bounded
from securedata.foreign.describe import describe
from securedata.lifecycle.receipt.note import VerifierKey, parse_verifier, unverified_text, verify
from securedata.lifecycle.receipt.opening import check_opening
from securedata.lifecycle.receipt.statement import LARGEST, Statement

_OPENING = 64 * 1024
_APART = 3600
"""Seconds by which the clocks of storage and host may differ before the times of a receipt are remarked on."""


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt whose signature, form and opening were checked.

    Attributes:
        signers: those of the given keys that signed it.
        digest: SHA-256 of the file, 64 hex digits. A corpus's head records that of the final receipt of each erasure.
        opened: whether an opening was given, which is then of a person whom the receipt names.
        notes: what is odd, but might be so for a good reason.
    """

    statement: Statement
    signers: tuple[VerifierKey, ...]
    digest: str
    opened: bool
    notes: tuple[str, ...]


def verify_receipt(data: bytes, keys: Iterable[VerifierKey], opening: str | None = None) -> VerifiedReceipt:
    """Check a receipt.

    Args:
        data: the whole file.
        keys: those that the caller trusts, got from somewhere else than the receipt.
        opening: the text of an opening's file.

    Raises:
        MalformedReceipt: it is no receipt, was cut, or contradicts itself; or the opening is none.
        UnknownSigner: none of the keys signed it.
        BadSignature: it was changed after it was signed.
        UnknownVersion: a later version of the format.
        WrongOpening: the opening is of another receipt or person.
    """
    text, signers = verify(data, keys)
    statement = Statement.from_text(text)
    if opening is not None:
        check_opening(opening, statement)
    notes = tuple(_notes(statement, signers))
    return VerifiedReceipt(statement, signers, hashlib.sha256(data).hexdigest(), opening is not None, notes)


def unverified_statement(data: bytes) -> Statement:
    """What a receipt says, though nobody checked who signed it.

    Raises:
        MalformedReceipt, UnknownVersion
    """
    return Statement.from_text(unverified_text(data))


def read_receipt(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a receipt's file.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger than `LARGEST`.
    """
    return read_bounded(open_regular(os.fspath(path)), os.fspath(path), LARGEST)


def read_opening(path: str | os.PathLike[str]) -> str:
    """The text of an opening's file. Errors are those of `read_receipt`.

    Raises:
        InvalidArgument: it is not UTF-8.
    """
    try:
        return read_bounded(open_regular(os.fspath(path)), os.fspath(path), _OPENING).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{os.fspath(path)} is no opening: it is not UTF-8") from None


def read_keys(words: Sequence[str]) -> list[VerifierKey]:
    """Verifier keys that a caller names: each an encoded key, or a file with one on each line ('#' begins a comment).

    Raises:
        InvalidArgument: neither a key nor a file of keys.
        ConfigError: a file cannot be read.
    """
    return [key for word in words for key in _keys(word)]


def _keys(word: str) -> list[VerifierKey]:
    if not os.path.exists(word):
        return [parse_verifier(word)]
    try:
        text = read_bounded(open_regular(word), word, _OPENING).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the keys in {word} cannot be read: {describe(error)}") from None
    lines = [line.strip() for line in text.splitlines()]
    found = [parse_verifier(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise InvalidArgument(f"{Path(word)} has no verifier key")
    return found


def _notes(statement: Statement, signers: Sequence[VerifierKey]) -> Iterable[str]:
    if statement.who.operator not in [one.name for one in signers]:
        yield (
            f"it names {statement.who.operator} as the operator, but no trusted key of that name signed it: others "
            "vouch for it"
        )
    times = statement.times
    listed = [moment for moment in (times.committed, times.deleted, times.verified, times.signed) if moment]
    seconds = [datetime.fromisoformat(moment).timestamp() for moment in listed]
    if any(later < earlier - _APART for earlier, later in pairwise(seconds)):
        yield "its times are not in order: a clock was wrong, or was set"
