"""Rows are corrected from a table in one commit, and no object names other people in one row than in another."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath
from securedata.keys.tags import Tagger
from securedata.lifecycle.relabel import RelabelReport
from securedata.lifecycle.relabel import relabel as correct
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.erasing import erase_by
from tests.kit.corpora.rows import content, row, table, writer_of

Table = dict[str, dict[str, Any]]


@pytest.fixture
def filled(writer: Writer) -> Writer:
    """Two of ann, one of bob, and two rows of one object in which both are heard."""
    words = {"transcript": "hello", "split": "train", "language": "en"}
    writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), **words),
            row(
                writer, "ann/2", content("ann/2"), consent_id="C1", purposes=["asr"], extra='{"consent": 1, "room": 2}'
            ),
            row(writer, "bob/1", content("bob/1"), ["bob"], speaker="bob"),
        )
    )
    put = {"subjects": ["ann", "bob"], "format": "WAV", "frames": 9, **writer.put_object([content("both")]).columns()}
    writer.commit(table(*({"path": f"both/{at}", **put, "start": at, "frames_in_segment": 1} for at in range(2))))
    return writer


def relabel(corpus: Reference, place: MemoryStorage, labels: Table, **options: Any) -> RelabelReport:
    """A rehearsal, which says the same and writes nothing, and the run."""
    before = dict(place.objects)
    said = correct(corpus, labels, storage=place, dry_run=True, **options)
    assert place.objects == before
    done = correct(corpus, labels, storage=place, **options)
    for name in ("rows", "columns", "unchanged", "examples", "held", "erased", "lacking"):
        assert getattr(said, name) == getattr(done, name)
    return done


def test_words(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = current(corpus, place)
    labels = {
        "ann/1": {"transcript": "good bye", "split": "test"},
        "ann/2": {"transcript": "good bye"},
        "bob/1": {"speaker": "bob"},
    }
    done = relabel(corpus, place, labels)
    assert (done.rows, done.columns, done.unchanged) == (2, {"transcript": 2, "split": 1}, 1)
    assert done.examples[0] == ("ann/1", "transcript", "hello", "good bye")
    after = current(corpus, place)
    assert after["ann/1"] == {**before["ann/1"], "transcript": "good bye", "split": "test"}
    assert after["ann/2"] == {**before["ann/2"], "transcript": "good bye"}
    assert {path: after[path] for path in after if path[:3] != "ann"} == {
        path: before[path] for path in before if path[:3] != "ann"
    }
    again = relabel(corpus, place, labels)
    assert (again.rows, again.unchanged, again.generation) == (0, 3, done.generation)


def test_consent(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    until = datetime.datetime(2027, 1, 31, tzinfo=datetime.UTC)
    relabel(corpus, place, {"ann/1": {"consent_id": "C2", "purposes": [], "expires": until, "last_contact": until}})
    after = current(corpus, place)
    assert [after["ann/1"][name] for name in ("consent_id", "purposes", "expires")] == ["C2", [], until]
    assert after["ann/1"]["last_contact"] == until
    assert after["ann/2"]["last_contact"] is None
    done = relabel(corpus, place, {"ann/2": {"consent_id": "C3"}, "ann/1": {}}, clear=["purposes", "transcript"])
    after = current(corpus, place)
    assert done.columns == {"transcript": 1, "consent_id": 1, "purposes": 2}
    assert [after[path]["purposes"] for path in ("ann/1", "ann/2")] == [None, None]
    assert [after["ann/1"][name] for name in ("consent_id", "transcript")] == ["C2", ""]


def test_another_person(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    """An erasure of the right one reaches it then."""
    assert relabel(corpus, place, {"ann/1": {"subjects": ["cid"]}}).columns == {"subjects": 1, "speaker": 1}
    one = current(corpus, place)["ann/1"]
    assert (one["subjects"], one["speaker"], one["transcript"]) == (["cid"], "cid", "hello")
    relabel(corpus, place, {"ann/1": {"subjects": ["cid", "dan"], "speaker": "dan"}})
    relabel(corpus, place, {"ann/1": {"subjects": ["eve", "fay"]}})
    assert current(corpus, place)["ann/1"]["speaker"] == ""
    assert relabel(corpus, place, {"ann/1": {"subjects": ["fay", "eve"]}}).unchanged == 1
    erase_by(writer_of(corpus, place), "fay")
    assert "ann/1" not in current(corpus, place)


def test_a_speaker_alone_is_no_person(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = current(corpus, place)
    for labels in ({"speaker": "bob"}, {"subjects": ["cid"], "speaker": "bob"}):
        with pytest.raises(InvalidArgument, match="speaker is not among the people of the row") as caught:
            correct(corpus, {"ann/1": labels}, storage=place)
        assert caught.value.path == "ann/1"
    assert current(corpus, place) == before


def test_consent_of_other_people_does_not_stay_unasked(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = current(corpus, place)
    other = {"subjects": ["bob"]}
    for labels, options in ((other, {}), ({**other, "purposes": ["tts"]}, {}), (other, {"clear": ["purposes"]})):
        with pytest.raises(InvalidArgument, match=r"its consent \(.*\) is of those before"):
            correct(corpus, {"ann/2": labels}, storage=place, **options)
    assert current(corpus, place) == before
    relabel(corpus, place, {"ann/2": {**other, "purposes": ["tts"]}}, clear=["consent_id"])
    after = current(corpus, place)["ann/2"]
    assert [after[name] for name in ("consent_id", "purposes", "extra")] == [None, ["tts"], '{"room":2}']
    relabel(corpus, place, {"ann/2": {"subjects": ["Bob"]}}, keep_consent=True)
    assert current(corpus, place)["ann/2"]["purposes"] == ["tts"]


def test_rows_of_one_object_name_the_same_people(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = current(corpus, place)
    done = relabel(corpus, place, {"both/0": {"subjects": ["ann"]}, "ann/1": {"transcript": "x"}})
    assert (done.lacking, done.rows, done.complete) == (["both/1"], 0, False)
    done = relabel(corpus, place, {"both/0": {"subjects": ["ann"]}, "both/1": {"subjects": ["bob"]}})
    assert done.lacking == ["both/0", "both/1"]
    assert current(corpus, place) == before
    done = relabel(corpus, place, {"both/0": {"subjects": ["cid"]}, "both/1": {"subjects": ["cid"]}})
    assert (done.rows, done.complete) == (2, True)
    assert relabel(corpus, place, {"both/0": {"transcript": "only here"}}).rows == 1
    after = current(corpus, place)
    assert [after[path]["transcript"] for path in ("both/0", "both/1")] == ["only here", ""]
    assert open_quietly(corpus, place).read("both/1") == content("both")


def test_a_table_that_cannot_be_meant(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = dict(place.objects)
    with pytest.raises(NoSuchPath) as caught:
        correct(corpus, {"ann/1": {"split": "x"}, "ann/7": {"split": "x"}}, storage=place)
    assert caught.value.path == "ann/7"
    with pytest.raises(InvalidArgument, match="corrects nothing"):
        correct(corpus, {"ann/1": {}}, storage=place)
    with pytest.raises(InvalidArgument, match="'subjects' cannot be cleared: choose among speaker, "):
        correct(corpus, {"ann/1": {}}, clear=["subjects"], storage=place)
    assert place.objects == before


# -------------------------------------------------------------------------------------------------- holds and erasures


def set_members(writer: Writer, **members: Any) -> None:
    writer.transact(lambda attempt: Next(None, members))


def test_nobody_is_renamed_away_from_a_hold(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    set_members(filled, holds=(Hold(Tagger(filled.head.secret).tag("bob"), "case", 1.0),))
    before = current(corpus, place)
    labels: Table = {path: {"subjects": ["cid"]} for path in ("ann/1", "bob/1", "both/0", "both/1")}
    done = relabel(corpus, place, labels)
    assert (done.rows, sorted(done.held), done.complete) == (1, ["bob/1", "both/0", "both/1"], True)
    assert done.columns == {"subjects": 1, "speaker": 1}
    after = current(corpus, place)
    assert after["ann/1"]["subjects"] == ["cid"]
    assert {path: one for path, one in after.items() if path != "ann/1"} == {
        path: one for path, one in before.items() if path != "ann/1"
    }
    assert relabel(corpus, place, {"both/0": {"transcript": "other words"}}).held == ["both/0"]


def test_nobody_comes_back_by_another_name(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    tagger = Tagger(filled.head.secret)
    erase_by(filled, "dan")
    set_members(filled, barred=(tagger.consent("ann", "C9"), tagger.consent("cid", None)))
    before = current(corpus, place)
    labels: Table = {
        "ann/1": {"subjects": ["dan"]},
        "ann/2": {"consent_id": "C9"},
        "both/0": {"subjects": ["cid"], "consent_id": "C1"},
        "both/1": {"subjects": ["cid"]},
        "bob/1": {"split": "test"},
    }
    done = relabel(corpus, place, labels)
    assert (done.rows, sorted(done.erased), done.complete) == (1, ["ann/1", "ann/2", "both/0", "both/1"], False)
    after = current(corpus, place)
    assert {**after, "bob/1": before["bob/1"]} == before


# ------------------------------------------------------------------------------------------------------- other writers


def during(
    corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch, labels: Table, other: Any
) -> RelabelReport:
    """A correction whose first try loses to what `other` commits."""
    replace, lost = MemoryStorage.replace, []

    def late(self: MemoryStorage, key: str, data: Any, version: str | None) -> None:
        if not lost:
            lost.append(True)
            other(writer_of(corpus, place))
        replace(self, key, data, version)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, "replace", late)
        return correct(corpus, labels, storage=place)


def test_rows_that_changed_meanwhile_are_left(
    corpus: Reference, place: MemoryStorage, filled: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(writer: Writer) -> None:
        one = row(writer, "ann/2", content("ann/2", 1), ["ann"])
        writer.commit(table(one), remove=["bob/1"], replace=True)
        correct(corpus, {"ann/1": {"split": "dev"}, "both/0": {"split": "dev"}}, storage=place)

    labels: Table = {
        "ann/1": {"transcript": "x"},
        "ann/2": {"transcript": "x"},
        "bob/1": {"transcript": "x"},
        "both/0": {"split": "test", "subjects": ["cid"]},
        "both/1": {"subjects": ["cid"]},
    }
    done = during(corpus, place, monkeypatch, labels, other)
    assert (done.rows, sorted(done.changed)) == (1, ["ann/2", "bob/1", "both/0", "both/1"])
    after = current(corpus, place)
    assert [after["ann/1"][name] for name in ("transcript", "split")] == ["x", "dev"]  # another column is kept
    assert [after[path]["transcript"] for path in ("ann/2", "both/0")] == ["", ""]
    assert [after[path]["subjects"] for path in ("both/0", "both/1")] == [["ann", "bob"]] * 2
    assert after["both/0"]["split"] == "dev"
