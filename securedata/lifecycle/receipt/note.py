"""C2SP signed notes (https://c2sp.org/signed-note): text that one or more Ed25519 keys signed.

    text, ending in a newline
    <empty line>
    — <key name> base64(key id (4) || signature (64))

    key id       = SHA-256(key name || 0x0A || 0x01 || public key)[:4]
    verifier key = <key name>+<key id: 8 hex digits>+base64(0x01 || public key)
    signer key   = PRIVATE+KEY+<key name>+<key id: 8 hex digits>+base64(0x01 || seed)

The encodings of keys are those of golang.org/x/mod/sumdb/note, so that its tools read ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from securedata.errors import BadSignature, InvalidArgument, MalformedReceipt, UnknownSigner
from securedata.printable import printable

MAX_SIGNATURES = 100
"""More are refused, as Go does; the specification asks for at least 16."""

_ED25519 = b"\x01"
_ID = 4
_SIZE = 32
_DASH = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_HEX_ID = re.compile("[0-9a-fA-F]{8}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key, with the name of its owner. Its text is the encoded verifier key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public) != _SIZE:
            raise InvalidArgument(f"an Ed25519 public key has {_SIZE} bytes, not {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        """Four bytes, in which two keys may agree by chance or by intent: they find a key, and prove nothing."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """Whether this key made the signature (64 bytes) of the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key, with the name of its owner."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.seed) != _SIZE:
            raise InvalidArgument(f"an Ed25519 seed has {_SIZE} bytes, not {len(self.seed)}")

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self._private().public_key().public_bytes_raw())

    def encoded(self) -> str:
        """The encoded signer key. It is a secret."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{base64.b64encode(_ED25519 + self.seed).decode()}"

    def sign(self, text: str) -> str:
        """The text as a note that this key signed.

        Raises:
            InvalidArgument: the text does not end in a newline, or contains what a note cannot.
        """
        return f"{text}\n{self._line(checked_text(text))}"

    def cosign(self, note: str) -> str:
        """The note with one more signature, by this key; the others are not verified.

        Raises:
            MalformedReceipt: it is not a signed note.
        """
        return note + self._line(_split(note)[0].encode())

    def _line(self, text: bytes) -> str:
        signature = self.verifier.key_id + self._private().sign(text)
        return f"{_DASH}{self.name} {base64.b64encode(signature).decode()}\n"

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


class Verified(NamedTuple):
    """A note's text, ending in a newline, and those of the given keys that signed it."""

    text: str
    signers: tuple[VerifierKey, ...]


def verify(note: str | bytes, keys: Iterable[VerifierKey]) -> Verified:
    """Check a note's signatures. Signatures of keys that are not given are ignored, as the specification asks.

    Args:
        note: the whole note; bytes are UTF-8.
        keys: the keys that the caller trusts; giving one twice is the same as once.

    Raises:
        MalformedReceipt: it is not a signed note.
        BadSignature: a signature with name and id of a given key does not verify.
        UnknownSigner: none of the given keys signed it.
        InvalidArgument: two different keys have the same name and id.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise InvalidArgument(f"two different keys are both {key.name}+{key.key_id.hex()}: leave out the wrong one")
    text, lines = _split(note)
    data = text.encode()
    signers: dict[VerifierKey, None] = {}
    for name, key_id, signature in lines:
        signer = known.get((name, key_id))
        if signer is None:
            continue
        if not signer.verifies(signature, data):
            raise BadSignature(
                f"the signature of {name}+{key_id.hex()} does not fit: the text was changed after it was signed, or "
                "another key signed it under this name; ask whoever gave it to you for the original"
            )
        signers[signer] = None
    if not signers:
        names = ", ".join(f"{printable(name)}+{key_id.hex()}" for name, key_id, _ in lines[:5])
        trusted = ", ".join(f"{name}+{key_id.hex()}" for name, key_id in known) or "none"
        raise UnknownSigner(f"it is signed by {names}, and by none of the keys that are trusted here: {trusted}")
    return Verified(text, tuple(signers))


def unverified_text(note: str | bytes) -> str:
    """A note's text, though nobody checked who signed it: to show it, with that warning.

    Raises:
        MalformedReceipt: it is not a signed note.
    """
    return _split(note)[0]


def parse_verifier(text: str) -> VerifierKey:
    """Parse an encoded verifier key.

    Raises:
        InvalidArgument
    """
    name, key_id, raw = _parts(text, f"{printable(text[:200])!r} is not a verifier key: NAME+8 hex digits+base64")
    key = VerifierKey(name, raw)
    _check_id(key, key_id)
    return key


def parse_signer(text: str) -> SignerKey:
    """Parse an encoded signer key. Errors do not quote it.

    Raises:
        InvalidArgument
    """
    problem = f"this is not a signer key: {_PRIVATE}NAME+8 hex digits+base64"
    if not text.startswith(_PRIVATE):
        raise InvalidArgument(problem)
    name, key_id, raw = _parts(text.removeprefix(_PRIVATE), problem)
    key = SignerKey(name, raw)
    _check_id(key.verifier, key_id)
    return key


def check_key_name(name: str) -> str:
    """Check that a key can have this name: not empty, without blanks, plus signs and control characters.

    Raises:
        InvalidArgument
    """
    if not _is_key_name(name) or not name.isprintable():
        raise InvalidArgument(
            f"{printable(name)!r} cannot be the name of a key: it needs at least one character, and cannot contain "
            "blanks, '+' or control characters; a host name with a path is best, such as example.com/erasure"
        )
    return name


def _is_key_name(name: str) -> bool:
    """What the specification says; `check_key_name` also refuses what cannot be seen, for keys that we trust."""
    return bool(name) and "+" not in name and not any(letter.isspace() for letter in name)


def checked_text(text: str) -> bytes:
    """The bytes that are signed, if a note can have this text.

    Raises:
        InvalidArgument
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("the text of a note must be UTF-8, and this one has a lone surrogate") from None
    if not text.endswith("\n") or _CONTROL.search(text):
        raise InvalidArgument("the text of a note ends in a newline, and has no other control character")
    return data


def _parts(text: str, problem: str) -> tuple[str, bytes, bytes]:
    """Name, key id and 32 bytes of an encoded key; base64 may contain a plus sign, a name cannot."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _base64(encoded)
    if not _HEX_ID.fullmatch(key_id) or raw is None or len(raw) != 1 + _SIZE or raw[:1] != _ED25519:
        raise InvalidArgument(f"{problem}, of an Ed25519 key (type 1)")
    return name, bytes.fromhex(key_id), raw[1:]


def _check_id(key: VerifierKey, key_id: bytes) -> None:
    if key.key_id != key_id:
        raise InvalidArgument(
            f"the id {key_id.hex()} is not of this key {printable(key.name)!r}: a part of it was mistyped or cut"
        )


def _base64(text: str) -> bytes | None:
    """What the text encodes; None unless it is its only encoding."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _split(note: str | bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text, and the name, key id and signature of each signature line."""
    try:
        whole = note.decode() if isinstance(note, bytes) else note
        whole.encode()
    except UnicodeError:
        raise MalformedReceipt("it is not a signed note: it is not UTF-8") from None
    if found := _CONTROL.search(whole):
        raise MalformedReceipt(f"it is not a signed note: it has a control character, {printable(found[0])}")
    text, empty_line, signatures = whole.rpartition("\n\n")
    if not empty_line or not signatures.endswith("\n"):
        raise MalformedReceipt("it is not a signed note, or was cut: no empty line with whole signature lines below it")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedReceipt(f"it is not taken: {len(lines):,} signatures, and {MAX_SIGNATURES} is the most")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, blank, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _base64(encoded)
    if not (line.startswith(_DASH) and blank and _is_key_name(name)) or raw is None or len(raw) <= _ID:
        raise MalformedReceipt("it is not a signed note, or was cut: a line below its last empty line is no signature")
    return name, raw[:_ID], raw[_ID:]
