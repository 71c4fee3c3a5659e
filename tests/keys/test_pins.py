"""Pins: their one spelling, and what they are checked against; the tags of subjects."""

from __future__ import annotations

import re

import pytest

from securedata.errors import InvalidArgument, PinMismatch
from securedata.keys.pin import check_corpus, check_secret, make_pin, parse_pin
from securedata.keys.tags import Tagger

CORPUS, OTHER = b"C" * 16, b"D" * 16
ROOT = "memory://corpus"
SECRET = bytes(range(32))


def test_a_pin_reads_back() -> None:
    pin = make_pin(CORPUS, SECRET)
    text = str(pin)
    assert re.fullmatch("sd1[a-z2-7]{52}", text)
    assert parse_pin(text) == parse_pin(f"  {text.upper()}\n") == pin


@pytest.mark.parametrize("text", ["", "sd1", "sd2" + "a" * 52, "sd1" + "a" * 51, "sd1" + "a" * 53, "sd1" + "1" * 52])
def test_what_is_no_pin(text: str) -> None:
    with pytest.raises(InvalidArgument, match="securedata info"):
        parse_pin(text)


def test_a_pin_has_one_spelling() -> None:
    text = str(make_pin(CORPUS, SECRET))
    # the last letter holds 4 bits that are not used
    others = [text[:-1] + letter for letter in "abcdefghijklmnopqrstuvwxyz234567" if letter != text[-1]]
    accepted = [other for other in others if _parses(other)]
    assert all(parse_pin(other) != parse_pin(text) for other in accepted)


def _parses(text: str) -> bool:
    try:
        parse_pin(text)
    except InvalidArgument:
        return False
    return True


def test_a_pin_is_checked_by_id_and_by_secret() -> None:
    pin, other = make_pin(CORPUS, SECRET), make_pin(OTHER, SECRET)
    check_corpus((), CORPUS, ROOT)
    check_corpus((other, pin), CORPUS, ROOT)
    check_secret((), CORPUS, bytes(32), ROOT)
    check_secret((other, pin), CORPUS, SECRET, ROOT)
    with pytest.raises(PinMismatch, match=f"{CORPUS.hex()}.*{OTHER.hex()}"):
        check_corpus((other,), CORPUS, ROOT)
    for wrong in ((pin,), (other, pin)):
        with pytest.raises(PinMismatch, match="forged"):
            check_secret(wrong, CORPUS, bytes(32), ROOT)
    with pytest.raises(PinMismatch):
        check_secret((other,), CORPUS, SECRET, ROOT)


def test_a_subject_s_tag_depends_on_corpus_and_name_alone() -> None:
    tagger = Tagger(SECRET)
    assert tagger.tag("Zoë") == tagger.tag("Zoe\N{COMBINING DIAERESIS}") == Tagger(SECRET).tag("Zoë")
    assert len({tagger.tag(name) for name in ("Zoë", "zoë", "Zoe", "Zoë ", "")}) == 5
    assert Tagger(bytes(32)).tag("Zoë") != tagger.tag("Zoë")
    assert len(tagger.tag("Zoë")) == 32
