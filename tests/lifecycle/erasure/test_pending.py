"""A derived corpus that an erasure did not reach: it is erased later, by tags, and the receipt then says so."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import Reference, drop_entry, edit, write_entry
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, KeysError, MalformedManifest
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure import reach
from securedata.lifecycle.erasure.complete import complete
from securedata.lifecycle.erasure.erase import Options, erase, forget_derived, reach_derived
from securedata.lifecycle.erasure.finish import Receipt
from securedata.lifecycle.erasure.pending import pending
from securedata.lifecycle.erasure.readmit import readmit
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.receipt.opening import check_opening
from securedata.lifecycle.receipt.operator import Operator, make_operator
from securedata.lifecycle.receipt.store import receipts_folder
from securedata.lifecycle.receipt.verify import unverified_statement
from tests.corpus.state.test_lifecycle import set_members
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.rows import content, make, row, table, writer_of

ANN = Request("subject", names=("ann",), reference="REQ-7", received="2026-11-30")
ENDED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
MADE: dict[str, dict[str, Any]] = {
    "ann/1": {"consent_id": "C1"},
    "ann/2": {"consent_id": "C2"},
    "bob/1": {},
    "cid/1": {"consent_id": "C1"},
    "cid/2": {"consent_id": "C3", "expires": ENDED},
    "both/1": {},
}
"""The rows of the derived corpus: the recordings of `people`, and one of cid whose consent has ended."""
REQUESTS = {
    "subject": (ANN, ["ann/1", "ann/2", "both/1"]),
    "consent": (Request("consent", consents=("C1",)), ["ann/1", "cid/1"]),
    "path": (Request("path", paths=("ann/1", "bob/*")), ["ann/1", "bob/1"]),
    "expired": (Request("expired", now=1_800_000_000.0), ["cid/2"]),
}
"""By kind, a request, and what it takes out."""


def people_of(path: str) -> list[str]:
    return ["ann", "bob"] if path == "both/1" else [path[:3]]


def made_from(source: Writer, root: Path) -> Reference:
    reference = make(root=str(root), name=root.name)
    writer = writer_of(reference)
    register_derived(source, writer.head)
    writer.commit(table(*(row(writer, path, content(path), people_of(path), **one) for path, one in MADE.items())))
    return reference


@pytest.fixture
def derived(people: Writer, tmp_path: Path) -> Reference:
    """A corpus that was made from all recordings of `people`, which this machine's config does not have."""
    people.commit(table(row(people, "cid/2", content("cid/2"), ["cid"], **MADE["cid/2"])))
    reference = made_from(people, tmp_path / "derived")
    drop_entry("derived")
    return reference


def left(reference: Reference) -> list[str]:
    return sorted(current(reference))


def without(*gone: str) -> list[str]:
    return sorted(MADE.keys() - set(gone))


def derived_in(receipt: Receipt | None) -> list[tuple[str, str | None]]:
    """What a receipt says of derived corpora."""
    assert receipt is not None
    assert receipt.path is not None
    return [(one.state, one.receipt) for one in unverified_statement(receipt.path.read_bytes()).derived]


@pytest.mark.parametrize("kind", REQUESTS)
def test_what_was_not_reached_is_erased_later_without_a_name(people: Writer, derived: Reference, kind: str) -> None:
    request, gone = REQUESTS[kind]
    erased = erase(people, request)
    assert derived_in(erased.receipt) == [("not reached", None)]
    assert [one.state for one in erased.missed] == ["elsewhere"]
    assert left(derived) == without()
    assert people.head.unreached == 1
    [still] = reach_derived(people)[0]
    assert (still.state, left(derived)) == ("elsewhere", without())
    write_entry("derived", derived)
    [reached], [completed] = reach_derived(people)
    assert (reached.state, left(derived)) == ("erased", without(*gone))
    [final] = look(derived).head.receipts
    assert derived_in(completed) == [("erased", final["digest"])]
    head = people.refresh()
    assert (head.unreached, head.pending, head.receipts[0]["digest"]) == (0, (), completed.digest)
    assert reach_derived(people) == ((), ())


def test_the_entry_names_nobody_and_nothing(people: Writer, derived: Reference) -> None:
    for request in (ANN, Request("consent", consents=("C1",)), Request("path", paths=("bob/1",))):
        erase(people, request)
    text = str(people.head.pending)
    for name in ("ann", "C1", content("bob/1").hex(), hashlib.sha256(content("bob/1")).hexdigest()):
        assert name not in text


def test_the_person_is_barred_there_under_the_same_commitment(people: Writer, derived: Reference) -> None:
    """So the opening that they were given is of both receipts."""
    erase(people, ANN)
    write_entry("derived", derived)
    reach_derived(people)
    head = look(derived).head
    assert [one.tag for one in head.tombstones] == [Tagger(head.secret).tag("ann")]
    [own] = receipts_folder(head.corpus_id.hex()).glob("*.receipt")
    [source] = receipts_folder(people.corpus_id.hex()).glob("*.receipt")
    there, here = (unverified_statement(one.read_bytes()) for one in (own, source))
    assert there.scope.people == here.scope.people
    assert there.request == here.request
    [opening] = receipts_folder(people.corpus_id.hex()).glob("*.openings/*.json")
    check_opening(opening.read_text(), there)


def test_also_where_no_row_of_the_person_is(people: Writer, derived: Reference) -> None:
    """A run of `retain` that had read the recordings before cannot commit them afterwards."""
    erase(people, Request("subject", names=("dan",)), Options(absent_ok=True))
    write_entry("derived", derived)
    before = look(derived).head.generation
    assert [one.state for one in reach_derived(people)[0]] == ["erased"]
    head = look(derived).head
    assert head.generation > before
    assert [one.tag for one in head.tombstones] == [Tagger(head.secret).tag("dan")]


def test_the_next_erasure_does_it_too(people: Writer, derived: Reference) -> None:
    erase(people, ANN)
    write_entry("derived", derived)
    erased = erase(people, Request("consent", consents=("C1",)))
    assert [one.state for one in erased.reached] == ["erased"]
    assert [derived_in(one)[0][0] for one in erased.completed] == ["erased"]
    assert left(derived) == ["bob/1", "cid/2"]


def test_two_corpora(people: Writer, derived: Reference, tmp_path: Path) -> None:
    other = made_from(people, tmp_path / "other")
    erased = erase(people, ANN)
    assert sorted(state for state, _ in derived_in(erased.receipt)) == ["erased", "not reached"]
    assert (left(other), left(derived)) == (["bob/1", "cid/1", "cid/2"], without())
    write_entry("derived", derived)
    assert [state for state, _ in derived_in(reach_derived(people)[1][0])] == ["erased", "erased"]


def test_a_hold_there_keeps_it_open(people: Writer, derived: Reference) -> None:
    add_hold(writer_of(derived), "ann", "7")
    erase(people, ANN)
    write_entry("derived", derived)
    [reached], completed = reach_derived(people)
    assert (reached.state, completed, left(derived)) == ("held", (), without())
    assert len(look(derived).head.restricted) == 1
    assert people.refresh().unreached == 1
    release_hold(writer_of(derived), "7", subject="ann")
    assert [one.state for one in reach_derived(people)[0]] == ["erased"]
    assert left(derived) == ["bob/1", "cid/1", "cid/2"]


def test_a_hold_there_while_it_is_reached(people: Writer, derived: Reference) -> None:
    """The source goes on, and what is left there is noted, not called erased."""
    write_entry("derived", derived)
    add_hold(writer_of(derived), "ann", "7")
    erased = erase(people, Request("subject", names=("ann", "cid")))
    assert derived_in(erased.receipt) == [("not reached", None)]
    assert [one.state for one in erased.missed] == ["held"]
    assert left(derived) == without("cid/1", "cid/2")
    release_hold(writer_of(derived), "7", subject="ann")
    [completed] = reach_derived(people)[1]
    assert (derived_in(completed)[0][0], left(derived)) == ("erased", ["bob/1"])


def test_a_hold_here_that_came_later(people: Writer, derived: Reference) -> None:
    erase(people, ANN)
    add_hold(people, "ann", "7", absent_ok=True)
    write_entry("derived", derived)
    assert [one.state for one in reach_derived(people)[0]] == ["held"]
    assert left(derived) == without()


@pytest.mark.parametrize("reached", [True, False])
def test_whom_a_hold_keeps_here_is_not_passed_on(people: Writer, derived: Reference, reached: bool) -> None:
    if reached:
        write_entry("derived", derived)
    add_hold(people, "cid", "7")
    erase(people, Request("subject", names=("ann", "cid")))
    write_entry("derived", derived)
    reach_derived(people)
    assert left(derived) == ["bob/1", "cid/1", "cid/2"]


def test_a_path_that_a_hold_keeps_asks_nothing(people: Writer, derived: Reference) -> None:
    write_entry("derived", derived)
    add_hold(people, "cid", "7")
    erased = erase(people, Request("path", paths=("cid/1",)))
    assert (erased.receipt, erased.commit.held, left(derived)) == (None, ("cid/1",), without())


def test_it_fails_there(people: Writer, derived: Reference) -> None:
    """The source is not erased either, unless the caller says that it can be done later."""
    write_entry("derived", derived)
    key = Path(derived.kms[0].removeprefix("local://"))
    kept = key.read_bytes()
    key.unlink()
    before = people.refresh()
    with pytest.raises(KeysError):
        erase(people, ANN)
    assert people.refresh() == before
    erased = erase(people, ANN, Options(derived_later=True))
    assert derived_in(erased.receipt) == [("not reached", None)]
    assert [(one.state, bool(one.why)) for one in erased.missed] == [("failed", True)]
    assert [one.state for one in reach_derived(people)[0]] == ["failed"]
    erased = erase(people, Request("subject", names=("cid",)), Options(derived_later=True))
    assert [one.state for one in erased.reached] == ["failed"]
    key.write_bytes(kept)
    key.chmod(0o600)
    assert [one.state for one in reach_derived(people)[0]] == ["erased", "erased"]
    assert (left(derived), people.head.pending) == (["bob/1"], ())


def test_interrupted_between_the_two_corpora(
    people: Writer, derived: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is erased there, and this head does not know: the next run does it again, and nothing more is lost."""
    erase(people, ANN)
    write_entry("derived", derived)
    with monkeypatch.context() as patch:
        patch.setattr(reach, "_settle", _killed)
        with pytest.raises(KeyboardInterrupt):
            reach_derived(people)
    assert (left(derived), people.refresh().unreached) == (["bob/1", "cid/1", "cid/2"], 1)
    [reached], [completed] = reach_derived(people)
    digests = [one["digest"] for one in look(derived).head.receipts]
    assert (reached.state, derived_in(completed)) == ("erased", [("erased", digests[-1])])


def _killed(*given: Any) -> int:
    raise KeyboardInterrupt


def test_a_machine_without_the_receipt(people: Writer, derived: Reference, operator: Operator) -> None:
    """It erases there, and the receipt is completed where it is, also by `receipt complete`."""
    erased = erase(people, ANN)
    assert erased.receipt is not None
    path = erased.receipt.path
    assert path is not None
    data = path.read_bytes()
    path.unlink()
    write_entry("derived", derived)
    assert ([one.state for one in reach_derived(people)[0]], reach_derived(people)) == (["erased"], ((), ()))
    assert (people.refresh().unreached, len(people.head.pending)) == (0, 1)
    done = complete(people, data, operator, ())
    assert (done.changed, derived_in(done.receipt)[0][0], people.refresh().pending) == (True, "erased", ())


def test_a_receipt_of_another_operator_waits_for_theirs(
    people: Writer, derived: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(people, ANN)
    write_entry("derived", derived)
    edit(lambda document: document.pop("operator"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    make_operator("example.com/other")
    assert [one.state for one in reach_derived(people)[0]] == ["erased"]
    assert len(people.refresh().pending) == 1


def test_a_corpus_that_is_gone(people: Writer, derived: Reference) -> None:
    pin = people.head.derived[0]["pin"]
    erase(people, ANN)
    count, [completed] = forget_derived(people, pin)
    assert count == 1
    assert completed.path is not None
    statement = unverified_statement(completed.path.read_bytes())
    assert [one.state for one in statement.derived] == ["not reached"], "nobody has checked it"
    assert [(one.about, one.says) for one in statement.stated] == [
        (f"the corpus {pin}, made from this one", "it is gone")
    ]
    head = people.refresh()
    assert (head.unreached, head.pending, head.derived) == (0, (), ())
    assert erase(people, Request("subject", names=("cid",))).derived == ()
    with pytest.raises(InvalidArgument, match="no corpus with this pin"):
        forget_derived(people, pin)


def test_a_corpus_that_is_not_gone(people: Writer, derived: Reference) -> None:
    write_entry("derived", derived)
    with pytest.raises(InvalidArgument, match="in your config as derived"):
        forget_derived(people, people.head.derived[0]["pin"])
    assert len(people.refresh().derived) == 1


def test_nobody_records_again_while_something_is_to_be_reached(people: Writer, derived: Reference) -> None:
    """It would be taken out of the derived corpus with what was recorded before."""
    erase(people, ANN)
    with pytest.raises(InvalidArgument, match="has not reached corpora made from"):
        readmit(people, "ann", "C9")
    write_entry("derived", derived)
    reach_derived(people)
    readmit(people, "ann", "C9")
    assert people.refresh().tombstones == ()


def test_the_end_of_a_corpus_asks_nothing_of_others(people: Writer, derived: Reference) -> None:
    erase(people, Request("all"), Options(all_rows=6))
    assert people.head.pending == ()


def test_what_was_made_of_that_is_reached_by_the_names_that_rows_have(
    people: Writer, derived: Reference, tmp_path: Path
) -> None:
    below = made_from(writer_of(derived), tmp_path / "below")
    erase(people, Request("subject", names=("ann", "dan")), Options(absent_ok=True))
    write_entry("derived", derived)
    reach_derived(people)
    assert left(below) == ["bob/1", "cid/1", "cid/2"]
    [receipt] = receipts_folder(writer_of(derived).corpus_id.hex()).glob("*.receipt")
    [state] = unverified_statement(receipt.read_bytes()).derived
    assert state.state == "not reached", "dan is known there by a tag only"


@pytest.mark.parametrize(
    "change", [{"kind": "all"}, {"people": [{}]}, {"tags": ["ab"]}, {"now": -1}, {"request": None}]
)
def test_an_entry_that_cannot_be_read(people: Writer, derived: Reference, change: dict[str, Any]) -> None:
    erase(people, ANN)
    [entry] = people.head.pending
    set_members(people, pending=({**entry, **change},))
    with pytest.raises(MalformedManifest, match="update it"):
        pending(people.head, people.root)
    with pytest.raises(MalformedManifest, match="update it"):
        erase(people, Request("subject", names=("cid",)))
