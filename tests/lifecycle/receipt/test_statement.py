"""What a receipt says: read back as it was written, and never against itself."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.errors import InvalidArgument, LimitExceeded, MalformedReceipt, UnknownVersion, WrongOpening
from securedata.lifecycle.receipt import statement as module
from securedata.lifecycle.receipt.members import (
    CorpusName,
    Deleted,
    Derived,
    Level,
    Models,
    Request,
    Scope,
    Stated,
    Times,
    Validation,
    utc,
)
from securedata.lifecycle.receipt.opening import Opening, check_opening
from securedata.lifecycle.receipt.statement import PROVES, Draft, Statement
from tests.lifecycle.receipt.receipts import (
    ANN,
    AWS,
    CORPUS,
    DRAFT,
    ID,
    LOCAL,
    OBJECTS,
    PARTS,
    PASSED,
    PIN,
    SCOPE,
    TIMES,
    draft,
    statement,
)

FULL: dict[str, Any] = {
    "levels": [
        Level.remain("Object Lock until 2027-01-01"),
        Level.destroyed(LOCAL, "the key file is gone"),
        Level.scheduled(AWS, "2026-12-30", "DescribeKey: PendingDeletion"),
    ],
    "derived": [Derived(CORPUS, str(PIN), "erased", "ab" * 32), Derived(CORPUS, str(PIN), "not reached")],
    "models": Models.looked_for(("s3://models/",), ("asr-3.pt",)),
    "stated": [Stated("backups", "kept 30 days, then gone \u2013 \u65e5\u672c\u202e")],
    "validation": Validation("J. Doe, DPO", "enough for art. 17", "2026-11-04"),
    "responsible": "J. Doe",
}


# ---------------------------------------------------------------------------------------------------- written and read


@pytest.mark.parametrize("changes", [{}, FULL], ids=["least", "full"])
def test_it_is_read_as_it_was_written(changes: dict[str, Any]) -> None:
    said = statement(**changes)
    text = said.text()
    assert Statement.from_text(text) == said
    assert Statement.from_text(text).text() == text
    assert text.isascii()
    assert text.endswith("}\n")
    optional = [one.name for one in fields(Statement) if one.default is None and getattr(said, one.name) is None]
    assert [*json.loads(text)] == [one.name for one in fields(Statement) if one.name not in optional]
    assert "\n\n" not in text


def test_the_text_is_the_same_after_a_crash() -> None:
    """Built from what the head has as JSON, the list of what is leaving, and what is checked then."""
    before = statement(**FULL)
    kept = draft(**{name: tuple(FULL[name]) for name in ("levels", "derived")}, models=FULL["models"])
    stored = json.loads(json.dumps({**kept.to_json(), "tags": ["another's member"], "derived_tags": {}}))
    again = Draft.from_json(stored)
    assert again == kept
    rest = {name: value for name, value in FULL.items() if name not in ("levels", "derived", "models")}
    assert statement(again, levels=None, **rest).text() == before.text()


def test_no_name_is_in_it() -> None:
    text = statement().text() + json.dumps(DRAFT.to_json())
    assert ANN.commitment in text
    for name in (ANN.name, unicodedata.normalize("NFD", ANN.name)):
        assert name not in text
        assert json.dumps(name)[1:-1] not in text


def test_it_says_what_it_proves_and_what_remains() -> None:
    least, full = statement(), statement(**FULL)
    assert least.proves == full.proves == PROVES
    assert "not that no copy exists" in PROVES
    assert "times are the word of the operator" in PROVES
    words = " ".join(least.remains)
    assert f"still open for anyone who may use one of these KMS keys: {AWS}, {LOCAL}." in words
    assert "were not looked for" in words
    assert "nothing is stated of them" in words
    assert "Caches on local disks of hosts that read the corpus may hold sealed copies of these objects" in words
    words = " ".join(full.remains)
    assert f"one of these KMS keys: {AWS}." in words, "the destroyed key opens nothing, the scheduled one still does"
    assert "Old versions remain on storage, as such copies: Object Lock until 2027-01-01." in words
    assert "not reached, and might keep what they hold: 1." in words
    assert "were not changed: 1." in words
    assert "was not checked" in words
    both = [Level.deleted(), Level.destroyed(AWS, "gone"), Level.destroyed(LOCAL, "gone")]
    assert "KMS keys" not in " ".join(statement(levels=both).remains)


def test_levels_have_words() -> None:
    assert [one.words for one in (Level.deleted(), *FULL["levels"])] == [
        "deleted where visible",
        "old versions remain: Object Lock until 2027-01-01",
        f"key destroyed: {LOCAL} (the key file is gone)",
        f"scheduled until 2026-12-30: {AWS} (DescribeKey: PendingDeletion)",
    ]


@pytest.mark.parametrize("most", [2, 3])
def test_more_ids_than_a_receipt_lists_are_refused(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IDS", most)
    if most == 3:
        statement()
    else:
        with pytest.raises(LimitExceeded, match=r"at most 2 objects and parts, not 3: erase in several runs"):
            statement()


# ------------------------------------------------------------------------------------------- what contradicts itself

FAILED = replace(PASSED, passed=False)
AGAINST: dict[str, dict[str, Any]] = {
    "the levels must have either": {"levels": []},
    "either 'deleted where visible', once": {"levels": [Level.deleted(), Level.deleted()]},
    "once, or 'old versions remain'": {"levels": [Level.deleted(), Level.remain("a lock")]},
    "must have either 'deleted": {"levels": [Level.destroyed(AWS, "gone")]},
    "a KMS key has two levels": {
        "levels": [Level.deleted(), Level.destroyed(AWS, "gone"), Level.scheduled(AWS, "2026-12-30", "said so")]
    },
    "wrapped no key of this corpus": {"levels": [Level.deleted(), Level.destroyed("local:cd", "gone")]},
    "needs checks": {"checked": []},
    "all of them passed": {"checked": [PASSED, FAILED]},
    "fewer objects or parts": {"deleted": Deleted(OBJECTS[:1], PARTS, 3)},
    "objects or parts are listed": {"deleted": Deleted(OBJECTS, (), 3)},
    "times of deletion": {"times": Times(utc(1), None, utc(1), utc(1))},
    "and verification": {"times": Times(utc(1), utc(1), None, utc(1))},
}


@pytest.mark.parametrize("said", AGAINST)
def test_a_statement_against_itself_is_not_made(said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        statement(**AGAINST[said])


def test_what_remains_needs_no_check_that_passed() -> None:
    statement(levels=[Level.remain("a lock")], checked=[FAILED], deleted=Deleted((), (), 0), times=Times(
        utc(1), None, None, utc(1)
    ))  # fmt: skip


BAD: dict[str, Callable[[], object]] = {
    "the pin is not of the corpus": lambda: CorpusName("ab" * 16, str(PIN)),
    "is not a pin": lambda: CorpusName(CORPUS, "sd1"),
    "a request needs a reference": lambda: Request("", None),
    "a day must be": lambda: Request("r", "2026-02-30"),
    "YYYY-MM-DD": lambda: Request("r", "20261102"),
    "people is empty": lambda: replace(SCOPE, people=()),
    "64 lowercase hex": lambda: replace(SCOPE, people=("AB" * 32,)),
    "people must be sorted": lambda: replace(SCOPE, people=("ab" * 32, "aa" * 32)),
    "each once": lambda: replace(SCOPE, people=("ab" * 32, "ab" * 32)),
    "objects must be texts of 32": lambda: Deleted(("ab",), (), 0),
    "parts must be sorted": lambda: Deleted((), ("bb" * 16, "aa" * 16), 0),
    "needs why": lambda: Level("old versions remain"),
    "needs why,": lambda: Level.remain(""),
    "needs evidence and kms": lambda: Level("key destroyed", kms=AWS),
    "needs evidence and kms,": lambda: Level.destroyed(AWS, ""),
    "needs evidence and kms and until": lambda: Level("scheduled", kms=AWS, evidence="said so"),
    "needs no other member": lambda: Level("deleted where visible", why="because"),
    "a day must be YYYY": lambda: Level.scheduled(AWS, "soon", "said so"),
    "'erased' needs": lambda: Derived(CORPUS, str(PIN), "erased"),
    "digest of its receipt": lambda: Derived(CORPUS, str(PIN), "not reached", "ab" * 32),
    "receipt must be 64": lambda: Derived(CORPUS, str(PIN), "erased", "ab"),
    "'looked for' needs where": lambda: Models.looked_for((), ()),
    "found, but not looked for": lambda: Models("not looked for", (), ("m",)),
    "a time must be": lambda: Times("2026-11-02T10:00:00+01:00", None, None, utc(1)),
    "an id must be": lambda: draft(id="x"),
    "wraps cannot be empty": lambda: statement(draft(wraps=())),
}


@pytest.mark.parametrize("said", BAD)
def test_a_member_that_cannot_be_is_refused(said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        BAD[said]()


# ----------------------------------------------------------------------------------------------- what is not a receipt


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(statement(**FULL).text())
    change(document)
    return json.dumps(document, indent=1) + "\n"


NOT: dict[str, Callable[[dict[str, Any]], object]] = {
    "lacks the member 'scope'": lambda one: one.pop("scope"),
    "no statement has: 'more'": lambda one: one.update(more=1),
    "no scope has: 'names'": lambda one: one["scope"].update(names=["ann"]),
    r"statement\.scope\.rows must be a whole number": lambda one: one["scope"].update(rows=1.5),
    r"rows must be a whole number from 0": lambda one: one["scope"].update(rows=-1),
    r"rows must be a whole": lambda one: one["scope"].update(rows=True),
    r"objects must be a whole": lambda one: one["scope"].update(objects=10**20),
    r"seconds must be a number from 0": lambda one: one["scope"].update(seconds="1"),
    r"scope\.kind must be one of: subject, path": lambda one: one["scope"].update(kind="group"),
    r"people\[0\] must be a text": lambda one: one["scope"].update(people=[1]),
    r"people must be a list": lambda one: one["scope"].update(people="ab" * 32),
    r"checked\[0\]\.passed must be true or false": lambda one: one["checked"][0].update(passed=1),
    r"statement\.who must be an object": lambda one: one.update(who=[]),
    r"levels\[0\]\.level must be one of": lambda one: one["levels"][0].update(level="all gone"),
    r"levels\[0\]: the level .* needs why": lambda one: one["levels"][0].pop("why"),
    "contradicts itself: a KMS key has two": lambda one: one["levels"].append(one["levels"][1]),
    "contradicts itself: format, version and proves": lambda one: one.update(proves="No copy exists."),
    "contradicts itself: remains must say": lambda one: one.update(remains=[]),
    "an id must be": lambda one: one.update(id="../../etc"),
}


@pytest.mark.parametrize("said", NOT)
def test_what_is_no_receipt_is_said_with_its_member(said: str) -> None:
    with pytest.raises(MalformedReceipt, match=said):
        Statement.from_text(changed(NOT[said]))


TEXTS = {
    "no receipt of securedata": "a text\n",
    "but no receipt": "{}\n",
    "not the JSON": statement().text()[:-5],
    "not the JSON of a statement": statement().text() + "{}\n",
    "stands there twice": statement().text().replace('"who": {', '"who": {},\n "who": {'),
    "NaN is no JSON number": statement().text().replace("12.5", "NaN"),
    "not the JSON of a": statement().text().replace("12.5", "[" * 100_000),
    "JSON of a statement": statement().text().replace('"rows": 2', '"rows": ' + "1" * 5000),
}


@pytest.mark.parametrize("said", TEXTS)
def test_a_text_that_is_no_receipt(said: str) -> None:
    with pytest.raises(MalformedReceipt, match=said):
        Statement.from_text(TEXTS[said])


@pytest.mark.parametrize("version", ["2", "11", '"1"'])
def test_a_later_version_asks_for_an_update(version: str) -> None:
    with pytest.raises(UnknownVersion, match="update securedata"):
        Statement.from_text(statement().text().replace('"version": 1,', f'"version": {version},', 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@given(st.sampled_from([one.name for one in fields(Statement)]), JSON)
def test_any_json_is_a_receipt_or_a_clear_error(member: str, value: Any) -> None:
    text = changed(lambda one: one.update({member: value}))
    try:
        said = Statement.from_text(text)
    except (MalformedReceipt, UnknownVersion):
        return
    assert Statement.from_text(said.text()) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "draft lacks the member"),
        ({**DRAFT.to_json(), "id": 1}, "must be a text"),
        ({**DRAFT.to_json(), "id": "x"}, "an id must be"),
    ],
)
def test_a_broken_draft_is_said(value: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedReceipt, match=said):
        Draft.from_json(value)


# ---------------------------------------------------------------------------------------------------------- the opening


def test_an_opening_opens_its_commitment_and_no_other() -> None:
    check_opening(ANN.text(ID), statement())
    for other in (Opening("Ann Unger", ANN.random), Opening(ANN.name, bytes(32)), Opening("ann Ünger", ANN.random)):
        with pytest.raises(WrongOpening, match="names nobody") as caught:
            check_opening(other.text(ID), statement())
        assert other.name not in str(caught.value)
    with pytest.raises(WrongOpening, match="for the receipt"):
        check_opening(Opening("bob", bytes(32)).text("ab" * 16), statement())


def test_an_opening_is_of_the_receipt_of_a_derived_corpus_too() -> None:
    """It has another id, and the same commitment."""
    check_opening(ANN.text("ab" * 16), statement())


def test_a_commitment_is_of_the_name_in_nfc() -> None:
    made = Opening.make(unicodedata.normalize("NFD", ANN.name))
    assert made.name == ANN.name == unicodedata.normalize("NFC", ANN.name)
    assert made.commitment == hashlib.sha256(made.random + made.name.encode()).hexdigest()
    assert Opening(unicodedata.normalize("NFD", ANN.name), made.random).commitment == made.commitment
    assert Opening.make(ANN.name).random != made.random
    assert ANN.name not in repr(made)
    assert repr(made.random) not in repr(made)


@pytest.mark.parametrize("name", ["", "\ud800"])
def test_an_opening_of_no_name_is_not_made(name: str) -> None:
    with pytest.raises(InvalidArgument):
        Opening.make(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"securedata opening"', '"securedata receipt"'),
        (ID, "x"),
        (ANN.random.hex(), ANN.random.hex()[:-1]),
        ("}", ""),
        ('"name"', '"who"'),
    ],
)
def test_what_is_no_opening_is_said_and_not_quoted(old: str, new: str) -> None:
    with pytest.raises(MalformedReceipt) as caught:
        check_opening(ANN.text(ID).replace(old, new), statement())
    assert "nger" not in str(caught.value)


def test_a_moment_is_written_in_utc() -> None:
    assert utc(1.7e9 + 4.9) == TIMES.signed == "2023-11-14T22:13:24Z"


def test_ids_in_bytes_are_listed_sorted_and_once() -> None:
    ids = [bytes.fromhex(one) for one in (*OBJECTS[::-1], *OBJECTS)]
    assert Deleted.of(ids, [bytes.fromhex(PARTS[0])], 3) == Deleted(OBJECTS, PARTS, 3)


def test_an_erasure_of_all_or_of_paths_may_name_nobody() -> None:
    nobody = Scope("path", (), rows=2, seconds=12.5, objects=2, parts=1)
    assert Statement.from_text(statement(draft(scope=nobody)).text()).scope == nobody
