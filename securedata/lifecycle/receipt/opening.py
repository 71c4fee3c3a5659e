"""The opening of a commitment: with it a person can show that a receipt is about them, and nobody else can.

    commitment = SHA-256(random (32 bytes) || name in NFC, as UTF-8)

Without the random bytes nobody can test a guess of a name on a receipt.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

from securedata.errors import InvalidArgument, WrongOpening
from securedata.lifecycle.receipt.codec import from_text, to_text
from securedata.lifecycle.receipt.members import check_id
from securedata.lifecycle.receipt.statement import Statement

_RANDOM = 32
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Opening:
    """A person's name, and the random bytes of the commitment to it."""

    name: str = field(repr=False)
    random: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.name or len(self.random) != _RANDOM:
            raise InvalidArgument(f"an opening has a name and {_RANDOM} random bytes")
        try:
            self.name.encode()
        except UnicodeEncodeError:
            raise InvalidArgument("the name of a person must be UTF-8, and this one has a lone surrogate") from None

    @classmethod
    def make(cls, name: str) -> Opening:
        """A new opening of a name, which is brought to NFC.

        Raises:
            InvalidArgument: an empty name.
        """
        return cls(unicodedata.normalize("NFC", name), os.urandom(_RANDOM))

    @property
    def commitment(self) -> str:
        """What the receipt has in place of the name: 64 hex digits."""
        name = unicodedata.normalize("NFC", self.name)
        return hashlib.sha256(self.random + name.encode()).hexdigest()

    def text(self, receipt: str) -> str:
        """The opening's file, for the receipt with this id."""
        return to_text(OpeningFile("securedata opening", 1, receipt, self.name, self.random.hex()))


@dataclass(frozen=True, slots=True)
class OpeningFile:
    """The members of an opening's file."""

    format: Literal["securedata opening"]
    version: int
    receipt: str
    name: str = field(repr=False)
    random: str = field(repr=False)

    def __post_init__(self) -> None:
        check_id(self.receipt)
        if self.version != 1 or not _HEX.fullmatch(self.random):
            raise InvalidArgument("version must be 1, and random 64 lowercase hex digits")

    def opening(self) -> Opening:
        return Opening(self.name, bytes.fromhex(self.random))


def check_opening(text: str, statement: Statement) -> None:
    """Check that an opening's file is of a person whom the receipt names by a commitment.

    Raises:
        MalformedReceipt: it is no opening.
        WrongOpening: of another receipt, or of nobody in this one.
    """
    file = from_text(OpeningFile, text)
    if file.opening().commitment in statement.scope.people:  # also of a derived corpus, by the same commitment
        return
    if file.receipt != statement.id:
        raise WrongOpening(f"the opening is for the receipt {file.receipt}, and this one is {statement.id}")
    raise WrongOpening("the receipt names nobody by this opening: name or random bytes were changed")
