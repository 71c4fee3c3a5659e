"""Holds: what the corpus records, what the operator's note has, and runs that are killed and run again."""

from __future__ import annotations

import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.state.seen import remember
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, InvalidArgument, NoSuchHold, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.holds import hold as holds
from securedata.lifecycle.holds.held import list_holds
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.holds.notes import Note, keep_note, read_notes
from securedata.lifecycle.holds.restriction import restrict, without_restrictions
from securedata.testing.memory import MemoryStorage
from tests.corpus.state.test_lifecycle import set_members
from tests.kit.corpora.contents import look
from tests.kit.corpora.rows import fill, writer_of
from tests.kit.hooked import Hooked
from tests.kit.schedules.interleave import WRITES, Crash


@pytest.fixture(autouse=True)
def people(writer: Writer) -> None:
    """Two rows of ann, one of bob, and one of both."""
    fill(writer, "ann/1", "ann/2")
    fill(writer, "bob/1", subjects=["bob"])
    fill(writer, "both/1", subjects=["ann", "bob"])


def tag(writer: Writer, name: str) -> bytes:
    return Tagger(writer.head.secret).tag(name)


def notes(writer: Writer) -> list[Path]:
    return sorted(state_dir().glob("holds/*/*"))


# ------------------------------------------------------------------------------------------------------ add and release


def test_several_cases_hold_one_person(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    done = add_hold(writer, "ann", " 2026-17 ", reason="a letter")
    assert (done.case, done.changed, done.first, done.rows, done.generation) == ("2026-17", True, True, 3, 5)
    done = add_hold(writer, "ann", "2026-18")
    assert (done.changed, done.first, done.generation) == (True, False, 6)
    assert look(corpus, place).head.holds == tuple(
        Hold(tag(writer, "ann"), case, place.clock) for case in ("2026-17", "2026-18")
    )
    assert writer.commit(remove=["ann/1"]).held == ["ann/1"]
    done = release_hold(writer, "2026-17", subject="ann")
    assert (done.changed, done.cases, done.last, done.waiting) == (True, ("2026-18",), False, ())
    assert writer.commit(remove=["ann/1", "both/1"]).held == ["ann/1", "both/1"]
    done = release_hold(writer, "2026-18", tag=tag(writer, "ann"))
    assert (done.changed, done.cases, done.last) == (True, (), True)
    assert writer.commit(remove=["ann/1", "both/1"]).removed == 2
    assert look(corpus, place).head.holds == ()


def test_again_changes_nothing(writer: Writer) -> None:
    add_hold(writer, "ann", "7", reason="a letter")
    generation = writer.head.generation
    done = add_hold(writer, "ann", "7")
    assert (done.changed, done.first, writer.refresh().generation) == (False, False, generation)
    assert [note.reason for note in read_notes(writer.corpus_id).values()] == ["a letter"]
    add_hold(writer, "ann", "7", reason="another letter")
    assert [note.reason for note in read_notes(writer.corpus_id).values()] == ["another letter"]
    assert writer.refresh().generation == generation


def test_the_corpus_has_neither_name_nor_reason(place: MemoryStorage, writer: Writer) -> None:
    add_hold(writer, "ann", "2026-17", reason="she sues us")
    head = repr(writer.head)
    assert "2026-17" in head
    assert "ann" not in head
    assert "sues" not in head
    [path] = notes(writer)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    [note] = read_notes(writer.corpus_id).values()
    assert (note.subject, note.case, note.reason) == ("ann", "2026-17", "she sues us")
    assert "ann" not in repr(note)
    assert "sues" not in repr(note)
    release_hold(writer, "2026-17", subject="ann")
    assert notes(writer) == []


def test_somebody_who_is_not_there(writer: Writer) -> None:
    with pytest.raises(NoSuchSubject, match="is named by no row") as error:
        add_hold(writer, "Annabel", "7")
    assert "Annabel" not in str(error.value)
    assert (notes(writer), writer.refresh().holds) == ([], ())
    done = add_hold(writer, "Annabel", "7", absent_ok=True)
    assert (done.changed, done.rows) == (True, 0)
    assert add_hold(writer, "Annabel", "7").changed is False
    fill(writer, "a/1", subjects=["Annabel"])
    assert writer.commit(remove=["a/1"]).held == ["a/1"]
    set_members(writer, tombstones=(Tombstone(tag(writer, "dan"), 1),))
    with pytest.raises(NoSuchSubject, match="was erased from"):
        add_hold(writer, "dan", "7")


def test_a_person_who_is_erased_meanwhile_is_not_held(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    """What a try has seen does not count for the next one."""

    def meanwhile(call: str, key: str) -> None:
        if (call, key) == ("replace", "head"):
            storage.before = lambda call, key: None
            writer.commit(remove=["bob/1", "both/1"])

    storage = Hooked(place, before=meanwhile)
    with pytest.raises(NoSuchSubject):
        add_hold(writer_of(corpus, storage), "bob", "7")
    assert look(corpus, place).head.holds == ()


@pytest.mark.parametrize("case", ["", "  ", "a\nb", "x" * 201, "\ud800"])
def test_a_case_that_is_none(writer: Writer, case: str) -> None:
    for call in (lambda: add_hold(writer, "ann", case), lambda: release_hold(writer, case, subject="ann")):
        with pytest.raises(InvalidArgument, match="reference of a case"):
            call()


@pytest.mark.parametrize("name", ["", "\ud800"])
def test_a_name_that_nobody_has(writer: Writer, name: str) -> None:
    with pytest.raises(InvalidArgument, match="the name of a person"):
        add_hold(writer, name, "7")


def test_what_does_not_hold_cannot_be_released(writer: Writer) -> None:
    assert release_hold(writer, "7", subject="ann").changed is False, "as after a run that was killed at its end"
    with pytest.raises(NoSuchSubject, match=r"named by no row of .*no hold to release"):
        release_hold(writer, "7", subject="Ann")
    add_hold(writer, "ann", "8")
    for options in ({"subject": "ann"}, {"tag": tag(writer, "ann")}):
        with pytest.raises(NoSuchHold, match=r"case 7 does not hold this person .*cases that do: 8"):
            release_hold(writer, "7", **options)
    for options in ({}, {"subject": "ann", "tag": b"t" * 32}):
        with pytest.raises(InvalidArgument, match="by name or by tag"):
            release_hold(writer, "8", **options)
    assert len(writer.refresh().holds) == 1


# --------------------------------------------------------------------------------------------------------- restrictions


def test_only_people_whose_rows_are_held_are_restricted(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    ann, bob, cid = (tag(writer, name) for name in ("ann", "bob", "cid"))
    done = restrict(writer, [ann, bob, cid], "R")
    assert (done.tags, done.free, done.changed) == ((), (ann, bob, cid), False)
    add_hold(writer, "ann", "7")
    done = restrict(writer, [ann, bob, cid], "R", "2026-11-30")
    assert (set(done.tags), done.free, done.changed, done.first) == ({ann, bob}, (cid,), True, True), "they share a row"
    assert restrict(writer, [bob], "R").changed is False
    done = restrict(writer, [bob], "another")
    assert (done.changed, done.first) == (True, False)
    head = look(corpus, place).head
    assert sorted((one.tag, one.request, one.received) for one in head.restricted) == sorted(
        [(ann, "R", "2026-11-30"), (bob, "R", "2026-11-30"), (bob, "another", "")]
    )
    assert without_restrictions(head, {bob}) == tuple(one for one in head.restricted if one.tag == ann)


def test_the_last_hold_that_keeps_a_row_frees_everybody_in_it(writer: Writer) -> None:
    ann, bob = tag(writer, "ann"), tag(writer, "bob")
    add_hold(writer, "ann", "7")
    restrict(writer, [bob], "R")
    done = release_hold(writer, "7", subject="ann")
    assert [(one.restriction.tag, one.subject) for one in done.waiting] == [(bob, "bob")]
    assert done.last is False, "bob's rows still open for nobody"
    add_hold(writer, "ann", "7")
    add_hold(writer, "bob", "8")
    restrict(writer, [ann], "S")
    assert release_hold(writer, "7", subject="ann").waiting == (), "bob's hold keeps a row of both"
    done = release_hold(writer, "8", subject="bob", keep=True)
    assert [one.request for one in done.lifted] == ["R"]
    assert [one.restriction.request for one in done.waiting] == ["S"]
    done = release_hold(writer, "8", subject="ann", keep=True)
    assert ([one.request for one in done.lifted], done.waiting, done.last) == (["S"], (), True)


@pytest.mark.parametrize("received", ["2026-13-01", "20261130", "today", "2026-W01-1"])
def test_a_day_that_is_none(writer: Writer, received: str) -> None:
    with pytest.raises(InvalidArgument, match="a day such as 2026-11-30"):
        restrict(writer, [], "R", received)


# ---------------------------------------------------------------------------------------------------------------- notes


def test_a_note_that_cannot_be_written_stops_a_hold(writer: Writer) -> None:
    state_dir().mkdir(parents=True, exist_ok=True)
    (state_dir() / "holds").write_text("")
    with pytest.raises(ConfigError, match="nobody is held by it: set XDG_STATE_HOME"):
        add_hold(writer, "ann", "7")
    assert writer.refresh().holds == ()


@pytest.mark.parametrize("harm", ["missing", "damaged", "a folder", "no home"])
def test_a_release_needs_no_note(
    corpus: Reference,
    place: MemoryStorage,
    writer: Writer,
    harm: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_hold(writer, "ann", "7", reason="a letter")
    [path] = notes(writer)
    if harm == "no home":
        monkeypatch.setattr("securedata.lifecycle.holds.notes.state_dir", _no_home)
    else:
        path.unlink()
    if harm == "damaged":
        path.write_text("{}")
    if harm == "a folder":
        path.mkdir()
    [person] = list_holds(corpus, storage=place).people
    assert [(one.case, one.reason) for one in person.holds] == [("7", None)]
    assert release_hold(writer, "7", subject="ann").last
    assert writer.refresh().holds == ()
    assert bool(caplog.records) is (harm != "missing")
    assert path.exists() is (harm in ("a folder", "no home"))


def _no_home() -> Path:
    raise ConfigError("there is no home folder")


def test_list(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    assert list_holds(corpus, storage=place).people == ()
    add_hold(writer, "eve", "1", absent_ok=True)
    place.clock += 9
    add_hold(writer, "ann", "7", reason="a letter")
    place.clock += 9
    add_hold(writer, "ann", "8")
    restrict(writer, [tag(writer, "bob")], "R", "2026-11-30")
    keep_note(writer.corpus_id, Note(tag(writer, "cid"), "9", "cid"))
    found = list_holds(corpus, storage=place)
    eve, ann, bob = found.people
    assert (eve.subject, eve.rows, [one.case for one in eve.holds]) == ("eve", 0, ["1"])
    assert (ann.subject, ann.rows, [(one.case, one.reason) for one in ann.holds]) == (
        "ann",
        3,
        [("7", "a letter"), ("8", "")],
    )
    assert [one.time for one in ann.holds] == [place.clock - 9, place.clock]
    assert (bob.subject, bob.rows, bob.holds) == ("bob", 2, ())
    assert bob.restrictions == (Restriction(tag(writer, "bob"), "R", "2026-11-30", place.clock),)
    assert [(note.subject, note.case) for note in found.left] == [("cid", "9")]
    release_hold(writer, "9", subject="cid")
    assert list_holds(corpus, storage=place).left == ()


# -------------------------------------------------------------------------------------------------- killed, run again


def steps(
    act: Callable[[Writer], object], corpus: Reference, place: MemoryStorage, patch: pytest.MonkeyPatch, crash: int
) -> int:
    """Do something whose process is killed before its step number `crash`; returns the number of steps it took.

    Each write is two steps: before it, and after it.
    """
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        if count == crash:
            raise Crash
        count += 1

    def write(call: str, key: str) -> None:
        if call in WRITES:
            step()

    with patch.context() as inner:
        for name in ("keep_note", "drop_note"):
            real = getattr(holds, name)
            inner.setattr(holds, name, lambda *args, real=real: (step(), real(*args), step()))
        with suppress(Crash):
            act(writer_of(corpus, Hooked(place, write, write)))
    return count


@pytest.mark.parametrize("deed", ["add", "release"])
def test_a_run_that_is_killed_at_any_write_is_run_again(
    deed: str, corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_hold(writer, "bob", "1")
    if deed == "release":
        add_hold(writer, "ann", "7", reason="why")

    def act(one: Writer) -> None:
        if deed == "add":
            add_hold(one, "ann", "7", reason="why")
        else:
            release_hold(one, "7", subject="ann")

    start = dict(place.objects)
    before = {path: path.read_bytes() for path in notes(writer)}
    total = steps(act, corpus, place, monkeypatch, -1)
    wanted = {(one.tag, one.case) for one in look(corpus, place).head.holds}
    after = {path: path.read_bytes() for path in notes(writer)}
    assert total == 4, "the note, and the head"
    for crash in range(total):
        place.objects = dict(start)
        remember(look(corpus, place).head, reset=True)
        for path in notes(writer):
            path.unlink()
        for path, data in before.items():
            path.write_bytes(data)
        assert steps(act, corpus, place, monkeypatch, crash) == crash
        held = {(one.tag, one.case) for one in look(corpus, place).head.holds}
        known = {(one.tag, one.case) for one in read_notes(writer.corpus_id).values()}
        assert held <= known, "who finds a hold can find out why"
        steps(act, corpus, place, monkeypatch, -1)
        assert {(one.tag, one.case) for one in look(corpus, place).head.holds} == wanted
        assert {path: path.read_bytes() for path in notes(writer)} == after
