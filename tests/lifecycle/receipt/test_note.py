"""Signed notes, held to the vectors of Go's golang.org/x/mod/sumdb/note (note_test.go and the package's example).

The C2SP repository has no vectors for them; its specification refers to that package.
"""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.errors import BadSignature, InvalidArgument, MalformedReceipt, UnknownSigner
from securedata.lifecycle.receipt.note import (
    MAX_SIGNATURES,
    SignerKey,
    VerifierKey,
    parse_signer,
    parse_verifier,
    unverified_text,
    verify,
)

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_S = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_S = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"

peter, enoch = parse_verifier(PETER), parse_verifier(ENOCH)


def altered(text: str, at: int) -> str:
    return text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("encoded", [PETER, ENOCH])
def test_a_verifier_key_is_read_and_written(encoded: str) -> None:
    assert str(parse_verifier(encoded)) == encoded


def test_a_signer_key_is_read_and_written_and_shown_nowhere() -> None:
    signer = parse_signer(SIGNER)
    assert signer.encoded() == SIGNER
    assert signer.verifier == peter
    assert SIGNER[-20:] not in repr(signer)
    assert repr(signer.seed) not in repr(signer)


@pytest.mark.parametrize("encoded", [PETER, SIGNER])
def test_no_part_of_a_key_is_taken_for_one(encoded: str) -> None:
    parse = parse_signer if encoded is SIGNER else parse_verifier
    parts = {encoded[i:j] for i in range(len(encoded)) for j in range(i, len(encoded) + 1)} - {encoded}
    for part in [*parts, *(altered(encoded, at) for at in range(len(encoded)))]:
        with pytest.raises(InvalidArgument) as caught:
            parse(part)
        assert encoded is PETER or len(part) < 30 or part[-30:] not in str(caught.value)


@pytest.mark.parametrize(
    "encoded",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # too long, with its own id
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # another algorithm, with its own id
        PETER + "\n",
        PETER.replace("c74f20a3", "0xc74f20"),
    ],
)
def test_a_key_of_another_kind_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_verifier(encoded)


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\u00a0b", "a\u2028b", "a\nb", "\u202eb", "\u200b"])
def test_a_key_cannot_have_every_name(name: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be the name of a key"):
        SignerKey(name, bytes(32))
    with pytest.raises(InvalidArgument):
        VerifierKey(name, bytes(32))


# ------------------------------------------------------------------------------------------------------------- to sign


def test_signing_is_that_of_go() -> None:
    assert parse_signer(SIGNER).sign(TEXT) == f"{TEXT}\n{PETER_S}"
    assert parse_signer(SIGNER).cosign(f"{TEXT}\n{ENOCH_S}") == f"{TEXT}\n{ENOCH_S}{PETER_S}"


@pytest.mark.parametrize("text", ["", "abc", "a\tb\n", "a\0\n", "a\r\n", "\ud800\n"])
def test_what_no_note_can_say_is_not_signed(text: str) -> None:
    with pytest.raises(InvalidArgument, match="the text of a note"):
        parse_signer(SIGNER).sign(text)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(text: str, seed: bytes) -> None:
    text += "\n\n— no line of a signature\n"
    signer = SignerKey("example.com/erasure", seed)
    note = signer.sign(text)
    assert verify(note.encode(), [peter, signer.verifier]) == (text, (signer.verifier,))


# ----------------------------------------------------------------------------------------------------------- to verify


@pytest.mark.parametrize(
    ("signatures", "keys", "signers"),
    [
        (PETER_S, [peter], (peter,)),
        (PETER_S + ENOCH_S, [peter], (peter,)),
        (PETER_S + ENOCH_S, [enoch, peter], (peter, enoch)),
        (PETER_S, [enoch, peter, enoch], (peter,)),
        (ENOCH_S + PETER_S + PETER_S, [peter], (peter,)),
        (ENOCH_S[:60] + "ABCD" + ENOCH_S[60:] + PETER_S, [peter], (peter,)),
        (PETER_S * MAX_SIGNATURES, [peter], (peter,)),
        ("— x\u200by AAAAAAA=\n" + PETER_S, [peter], (peter,)),
    ],
)
def test_signatures_of_known_keys_are_checked_and_others_ignored(
    signatures: str, keys: list[VerifierKey], signers: tuple[VerifierKey, ...]
) -> None:
    assert verify(f"{TEXT}\n{signatures}", keys) == (TEXT, signers)
    assert verify(f"{TEXT}\n{signatures}".encode(), keys) == (TEXT, signers)


@pytest.mark.parametrize("keys", [[], [enoch], [VerifierKey("PeterNeumann", enoch.public)]])
def test_a_note_that_no_known_key_signed_is_refused(keys: list[VerifierKey]) -> None:
    with pytest.raises(UnknownSigner, match=r"signed by PeterNeumann\+c74f20a3"):
        verify(f"{TEXT}\n{PETER_S}", keys)


@pytest.mark.parametrize(
    "signatures",
    [
        PETER_S[:60] + "ABCD" + PETER_S[60:],
        ENOCH_S + altered(PETER_S, 60),
        PETER_S + altered(PETER_S, 60),
        "— PeterNeumann x08gowA=\n",
    ],
)
def test_a_known_key_whose_signature_is_wrong_is_an_error(signatures: str) -> None:
    with pytest.raises(BadSignature, match=r"PeterNeumann\+c74f20a3"):
        verify(f"{TEXT}\n{signatures}", [peter, enoch])


def test_every_changed_byte_fails() -> None:
    note = f"{TEXT}\n{PETER_S}".encode()
    for at in range(len(note)):
        for bit in (1, 128):
            changed = note[:at] + bytes([note[at] ^ bit]) + note[at + 1 :]
            with pytest.raises((BadSignature, MalformedReceipt, UnknownSigner)):
                verify(changed, [peter])


@pytest.mark.parametrize("name", ["", "text"])
def test_a_note_of_two_texts_says_the_whole(name: str) -> None:
    """The last empty line counts, so that nothing can be put before or behind what was signed."""
    with pytest.raises(BadSignature):
        verify(f"{name}\n{TEXT}\n{PETER_S}", [peter])
    with pytest.raises((BadSignature, UnknownSigner)):
        verify(f"{TEXT}\n{PETER_S}\n{ENOCH_S}", [peter, enoch])


BROKEN = {
    "no signatures": TEXT,
    "an empty line only": f"{TEXT}\n",
    "an empty list of signatures": f"{TEXT}\n\n",
    "cut in the signature": f"{TEXT}\n{PETER_S[:-1]}",
    "a control character": f"\x01{TEXT}\n{PETER_S}",
    "a carriage return": f"{TEXT}\n{PETER_S}".replace("\n", "\r\n"),
    "not UTF-8": b"\xff" + f"{TEXT}\n{PETER_S}".encode(),
    "a lone surrogate": f"\ud800{TEXT}\n{PETER_S}",
    "a bad name": f"{TEXT}\n— Bad Name {PETER_S.split()[2]}\n",
    "a plus in a name": f"{TEXT}\n— a+b {PETER_S.split()[2]}\n",
    "a line that is no signature": f"{TEXT}\n{PETER_S}Unexpected line.\n",
    "base64 in another form": f"{TEXT}\n{PETER_S}— x AAAAAAB=\n",
    "an id without a signature": f"{TEXT}\n{PETER_S}— x AAAAAA==\n",
    "too many": f"{TEXT}\n{PETER_S * (MAX_SIGNATURES + 1)}",
    "nothing": "",
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_note_is_said_so(case: str) -> None:
    with pytest.raises(MalformedReceipt, match=r"^it is not"):
        verify(BROKEN[case], [peter])
    with pytest.raises(MalformedReceipt, match=r"^it is not"):
        unverified_text(BROKEN[case])


def test_a_text_can_be_shown_unverified() -> None:
    assert unverified_text(f"{TEXT}\n{altered(PETER_S, 60)}") == TEXT


def test_two_keys_of_one_name_and_id_are_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    other = VerifierKey("PeterNeumann", enoch.public)
    monkeypatch.setattr(VerifierKey, "key_id", bytes.fromhex("c74f20a3"))  # finding a real one takes 2**32 keys
    with pytest.raises(InvalidArgument, match="two different keys"):
        verify(f"{TEXT}\n{PETER_S}", [peter, other])


def test_the_key_id_is_as_specified() -> None:
    encoded = b"PeterNeumann\n\x01" + peter.public
    assert peter.key_id == hashlib.sha256(encoded).digest()[:4] == base64.b64decode(PETER_S.split()[2])[:4]
