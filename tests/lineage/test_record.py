"""The record's JSON: what it holds, and that nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from securedata.errors import LimitExceeded, MalformedLineage, SecuredataError, UnknownVersion
from securedata.keys.pin import make_pin
from securedata.keys.tags import Tagger
from securedata.lineage import record
from securedata.lineage.record import Entry, Lineage, from_json, joined, new_id, parse

SECRET = bytes(range(32))
CORPUS = bytes(range(16))
ID = "000102030405060708090a0b0c0d0e0f"


def entry(**other: Any) -> Entry:
    members: dict[str, Any] = {
        "record": ID,
        "corpus": CORPUS.hex(),
        "pin": str(make_pin(CORPUS, SECRET)),
        "generations": (3, 5),
        "filter": ("speaker",),
        "purpose": "asr",
        "rows": 7,
        "seconds": 1.5,
        "people": tuple(sorted(Tagger(SECRET).in_lineage(bytes.fromhex(ID), ["ann", "bob"]))),
    }
    return Entry(**members | other)


def lineage(**other: Any) -> Lineage:
    members: dict[str, Any] = {"id": ID, "made": "2026-11-30T12:00:00Z", "complete": True, "entries": (entry(),)}
    return Lineage(**members | other)


def test_the_text_is_read_back() -> None:
    for one in (lineage(), lineage(entries=()), lineage(entries=(entry(purpose=None, people=(), filter=()),))):
        text = one.text()
        assert text.isascii()
        assert parse(text.encode()) == one
        assert from_json(one.to_json()) == one


def test_the_tags_are_those_that_the_page_describes() -> None:
    """Made by hand once from HKDF-Expand-SHA-512 and HMAC-SHA-256: another program must find the same."""
    assert Tagger(SECRET).in_lineage(bytes.fromhex(ID), ["ann"]) == ["1d849db67ee966fc"]
    composed, decomposed = "\u00dc", "U\u0308"
    tagger = Tagger(SECRET)
    assert tagger.in_lineage(CORPUS, [composed]) == tagger.in_lineage(CORPUS, [decomposed])
    assert tagger.in_lineage(CORPUS, ["ann"]) != tagger.in_lineage(CORPUS[::-1], ["ann"])
    assert tagger.in_lineage(CORPUS, ["ann"]) != tagger.in_lineage(CORPUS, ["Ann"])


def test_a_member_that_this_version_does_not_know_is_left_out() -> None:
    body = lineage().to_json()
    body["more"] = 1
    body["entries"][0]["more"] = 1
    assert from_json(body) == lineage()


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda body: body.pop(name)


def in_entry(**members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda body: body["entries"][0].update(members)


@pytest.mark.parametrize(
    "change",
    [
        *map(without, ("id", "made", "complete", "entries")),
        lambda body: body["entries"][0].pop("rows"),
        lambda body: body.update(id="00"),
        lambda body: body.update(id=ID.upper()),
        lambda body: body.update(made="yesterday"),
        lambda body: body.update(complete=1),
        lambda body: body.update(entries={}),
        lambda body: body.update(entries=[1]),
        in_entry(pin="sd1x"),
        in_entry(pin=str(make_pin(bytes(16), SECRET))),
        in_entry(generations=[5, 3]),
        in_entry(generations=[1]),
        in_entry(generations=[1, 2, 3]),
        in_entry(generations=[True, True]),
        in_entry(rows=-1),
        in_entry(rows=1.5),
        in_entry(seconds="1"),
        in_entry(purpose=3),
        in_entry(filter=[3]),
        in_entry(people=["0123456789abcdef", "0123456789abcdef"]),
        in_entry(people=["1123456789abcdef", "0123456789abcdef"]),
        in_entry(people=["0123456789ABCDEF"]),
        in_entry(people=["0123456789abcde"]),
        in_entry(people="0123456789abcdef"),
    ],
)
def test_a_broken_record_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    body = lineage().to_json()
    change(body)
    with pytest.raises(MalformedLineage, match="broken"):
        parse((json.dumps(body, indent=1) + "\n").encode())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", MalformedLineage),
        (b"{}", MalformedLineage),
        (lineage().text().encode()[:-9], MalformedLineage),
        (lineage().text().replace('"complete"', '"id": "x", "complete"').encode(), MalformedLineage),
        (lineage().text().replace("1.5", "NaN").encode(), MalformedLineage),
        (lineage().text().encode().replace(b"asr", b"\xff"), MalformedLineage),
        (lineage().text().replace('"version": 1', '"version": 2').encode(), UnknownVersion),
        (lineage().text().replace('"entries": [', '"entries": ' + "[" * 100_000).encode(), MalformedLineage),
    ],
)
def test_what_is_not_a_record(data: bytes, error: type[SecuredataError]) -> None:
    with pytest.raises(error):
        parse(data)


def test_the_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lineage().text()
    monkeypatch.setattr(record, "LARGEST", len(text))
    assert parse(text.encode()) == lineage()
    assert lineage().text() == text
    monkeypatch.setattr(record, "LARGEST", len(text) - 1)
    with pytest.raises(LimitExceeded):
        parse(text.encode())
    with pytest.raises(LimitExceeded):
        lineage().text()


def test_a_record_takes_over_each_entry_once() -> None:
    other = entry(record=CORPUS[::-1].hex())
    base = lineage(entries=(other, entry()))
    found = joined(new_id(), [entry(rows=9)], [base, base])
    assert found.entries == (entry(rows=9), other, entry())
    assert found.complete
    assert not joined(new_id(), [], [base, lineage(complete=False)]).complete
    assert not joined(new_id(), [], [base], complete=False).complete
