"""What a head records of people's data, and what every commit checks because of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.fresh_key import FreshKey
from securedata.corpus.rows.changes import Changes
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head, open_with, seal_head
from securedata.corpus.state.lifecycle import BarredPiece, Hold, Restriction
from securedata.corpus.state.retired import listed
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, MalformedManifest, NoTrustedKey, UnknownVersion
from securedata.format.header import REQUIRES, Header
from securedata.keys.kms import open_all
from securedata.keys.tags import Tagger
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, make, row, table, writer_of

USES: dict[str, tuple[str, dict[str, Any]]] = {
    "a bar": ("bars", {"barred": (b"b" * 32,)}),
    "a barred piece": ("bars", {"barred_pieces": (BarredPiece(b"b" * 32, 0, 7),)}),
    "a hold": ("holds", {"holds": (Hold(b"t" * 32, "case 7", 12.5),)}),
    "a hold with legal holds": ("holds", {"holds": (Hold(b"t" * 32, "case 7", 12.5, object_lock=True),)}),
    "a restriction": ("restrictions", {"restricted": (Restriction(b"t" * 32, "REQ-1", "2026-11-30", 3.0),)}),
    "an unfinished erasure": ("erasures", {"erasures": ({"id": "ab" * 16, "counts": {"rows": 1}},)}),
    "a required purpose": ("purpose", {"purpose_required": True}),
}
OPEN: dict[str, Any] = {
    "receipts": ({"id": "ab" * 16, "digest": "cd" * 32},),
    "derived": ({"corpus": "ef" * 16},),
    "pending": ({"id": "ab" * 16, "corpus": "ef" * 16},),
    "retention": {"raw": 30},
    "data_keys_since": 7,
}


def set_members(writer: Writer, **members: Any) -> None:
    writer.transact(lambda attempt: Next(None, members))


def change(writer: Writer, changes: Changes) -> Outcome:
    def deed(attempt: Try) -> Next[Outcome]:
        plan = attempt.plan(changes)
        return Next(plan.outcome, attempt.write(plan, changes) if plan.outcome.changes else None)

    return writer.transact(deed)


def hold(writer: Writer, person: str) -> None:
    set_members(writer, holds=(Hold(Tagger(writer.head.secret).tag(person), "case 7", 0.0),))


class By:
    """Selects rows by a column of text."""

    def __init__(self, column: str, value: str) -> None:
        self.columns = (column,)
        self._value = value

    def hits(self, head: Head, view: pa.Table) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = pc.equal(view.column(*self.columns), self._value).to_numpy(zero_copy_only=False)
        return found


# ------------------------------------------------------------------------------------------------------- members, TLV


@pytest.mark.parametrize("what", USES)
def test_what_must_not_be_ignored_is_required(
    corpus: Reference, place: MemoryStorage, writer: Writer, what: str
) -> None:
    name, members = USES[what]
    before = look(corpus, place)
    assert REQUIRES not in dict(Header.decode(place.objects["head"][0], "head").tlvs)
    set_members(writer, **members)
    after = look(corpus, place).head
    assert after == replace(
        before.head, **members, generation=after.generation, write_id=after.write_id, writes=after.writes
    )
    assert dict(Header.decode(place.objects["head"][0], "head").tlvs)[REQUIRES] == name.encode()
    set_members(writer, **{name: type(value)() for name, value in members.items()})
    assert REQUIRES not in dict(Header.decode(place.objects["head"][0], "head").tlvs)


def test_what_may_be_ignored_is_not_required(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    set_members(writer, **OPEN)
    head = look(corpus, place).head
    assert {name: getattr(head, name) for name in OPEN} == OPEN
    assert REQUIRES not in dict(Header.decode(place.objects["head"][0], "head").tlvs)


def test_several_are_named_in_order(writer: Writer) -> None:
    head = replace(writer.head, **{name: value for _, members in USES.values() for name, value in members.items()})
    sealed = seal_head(head, b"k" * 32)
    assert dict(Header.decode(sealed, "head").tlvs)[REQUIRES] == b"bars erasures holds purpose restrictions"
    assert open_with(sealed, b"k" * 32, "root") == head


def test_a_feature_of_a_newer_version_is_refused(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("securedata.corpus.state.head.features", lambda head: ("holds", "time travel"))
        sealed = seal_head(writer.head, b"k" * 32)
    with pytest.raises(UnknownVersion, match=r"requires .* \(time, travel\): update securedata"):
        open_with(sealed, b"k" * 32, "root")


BROKEN: dict[str, dict[str, Any]] = {
    "a bar of another length": {"barred": (b"b" * 31,)},
    "a barred piece of another length": {"barred_pieces": (BarredPiece(b"b" * 31, 0, 7),)},
    "a barred piece without a frame": {"barred_pieces": (BarredPiece(b"b" * 32, 5, 0),)},
    "a barred piece before the recording": {"barred_pieces": (BarredPiece(b"b" * 32, -5, 7),)},
    "a hold without a case": {"holds": (Hold(b"t" * 32, None, 1.0),)},  # type: ignore[arg-type]  # a broken writer
    "a hold with a lock that is a word": {"holds": (Hold(b"t" * 32, "7", 1.0, "yes"),)},  # type: ignore[arg-type]  # a broken writer
    "a hold before time": {"holds": (Hold(b"t" * 32, "", -1.0),)},
    "a restriction without a request": {"restricted": (Restriction(b"t" * 32, 7, "", 1.0),)},  # type: ignore[arg-type]  # a broken writer
    "a draft without an id": {"erasures": ({"counts": {}},)},
    "a draft twice": {"erasures": ({"id": "ab" * 16},) * 2},
    "a receipt that is a number": {"receipts": (7,)},
    "a retention that is a list": {"retention": [1]},
    "derived corpora that are one": {"derived": ("x",)},
    "a pending erasure of no corpus": {"pending": ({"id": "ab" * 16},)},
    "a corpus pending twice": {"pending": ({"id": "ab" * 16, "corpus": "ef" * 16},) * 2},
    "a generation that is none": {"data_keys_since": -1},
    "a grace of no list": {"grace": {"ab": 1.0}},
    "a grace without a time": {"grace": {"ab" * 16: None}},
    "a purpose that is a word": {"purpose_required": "yes"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_member_that_breaks_the_format(writer: Writer, what: str) -> None:
    sealed = seal_head(replace(writer.head, **BROKEN[what]), b"k" * 32)
    with pytest.raises(MalformedManifest, match="breaks the format"):
        open_with(sealed, b"k" * 32, "root")


# --------------------------------------------------------------------------------------------------------------- holds


def test_a_held_row_stays_as_it_is(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2")
    fill(writer, "bob/1", subjects=["bob"])
    hold(writer, "ann")
    before = current(corpus, place)
    outcome = writer.commit(remove=["ann/1", "bob/1", "nobody"])
    assert (outcome.held, outcome.removed, outcome.missing) == (["ann/1"], 1, ["nobody"])
    outcome = writer.commit(table(row(writer, "ann/1", content("ann/1", 1))), replace=True)
    assert (outcome.held, outcome.changes) == (["ann/1"], False)
    outcome = writer.commit(table(row(writer, "ann/1", content("ann/1"))), reseal=True)
    assert (outcome.held, outcome.changes) == (["ann/1"], False)
    words = {**before["ann/2"], "transcript": "other words"}
    outcome = writer.commit(update=table({name: cell for name, cell in words.items() if name in table().schema.names}))
    assert (outcome.held, outcome.updated) == (["ann/2"], 0)
    assert change(writer, Changes(select=By("speaker", "ann"))).held == ["ann/1", "ann/2"]
    assert current(corpus, place) == {path: one for path, one in before.items() if path != "bob/1"}
    assert [open_quietly(corpus, place).read(path) for path in ("ann/1", "ann/2")] == [
        content("ann/1"),
        content("ann/2"),
    ]


def test_a_held_row_can_be_merged_and_met_again(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/0")
    hold(writer, "ann")
    for number in range(1, 9):
        fill(writer, f"ann/{number}")
    assert len(look(corpus, place).head.parts) < 9
    outcome = writer.commit(table(row(writer, "ann/3", content("ann/3"))))
    assert (outcome.held, outcome.unchanged) == ([], 1)


# ---------------------------------------------------------------------------------------------------------------- bars


def test_a_barred_consent_lets_no_row_in(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    tagger = Tagger(writer.head.secret)
    set_members(writer, barred=(tagger.consent("ann", "C1"), tagger.consent("bob", None)))
    outcome = writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), consent_id="C1"),
            row(writer, "ann/2", content("ann/2"), consent_id="C2"),
            row(writer, "bob/1", content("bob/1"), ["bob", "cid"]),
            row(writer, "cid/1", content("cid/1"), ["cid"], consent_id="C1"),
        )
    )
    assert (sorted(outcome.erased), outcome.added) == (["ann/1", "bob/1"], 2)
    assert sorted(current(corpus, place)) == ["ann/2", "cid/1"]


def test_a_barred_piece_does_not_come_back_in_any_object(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    """Frames 100 to 200 of a recording, as long as a row says what its object holds of it."""
    long = {"recording": "a/long.wav", "recording_size": 9, "recording_sha256": b"r" * 32, "frames": 300}
    other = {**long, "recording_sha256": b"o" * 32}
    whole = b"all of it"
    digest = hashlib.sha256(whole).digest()
    tagger = Tagger(writer.head.secret)
    pieces = (BarredPiece(tagger.recording(b"r" * 32), 100, 100), BarredPiece(tagger.recording(digest), 0, 1))
    set_members(writer, barred_pieces=pieces)
    enter = [
        row(writer, "a/long@0-100.wav", b"1", **long),
        row(writer, "a/long@200-300.wav", b"2", **long),
        row(writer, "a/long@120-150.wav", b"3", **other),
        row(writer, "b/1", b"another"),
    ]
    stay_out = [
        row(writer, "a/long@0-101.wav", b"4", **long),
        row(writer, "a/long@199-300.wav", b"5", **long),
        row(writer, "a/long@120-150.wav.npy", b"6", **long),  # of a place that nobody can tell
        row(writer, "a/long@0-0100.wav", b"7", **long),
        row(writer, "b/long@0-100.wav", b"8", **long),
        row(writer, "b/2", whole),
        row(writer, "b/3@10-20", whole, frames=300, start=10, frames_in_segment=10),
    ]
    for rows in ([*enter, *stay_out[:3]], stay_out[3:]):
        writer.commit(table(*rows))
    assert sorted(current(corpus, place)) == sorted({one["path"] for one in enter})
    # of segments that share an object, what they are cut from does not count
    shared = row(writer, "a/long@250-260.wav", b"9", **{**long, "start": 250, "frames_in_segment": 10})
    assert writer.commit(table(shared)).erased == ["a/long@250-260.wav"]


def test_a_barred_recording_does_not_come_back(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    one = row(writer, "ann/1", content("ann/1"))
    cut = row(writer, "cut/1", b"a piece", recording="long", recording_size=9, recording_sha256=b"r" * 32)
    tagger = Tagger(writer.head.secret)
    set_members(writer, barred=(tagger.recording(one["source_sha256"]), tagger.recording(b"r" * 32)))
    outcome = writer.commit(table(one, cut, row(writer, "ann/2", content("ann/2"))))
    assert (sorted(outcome.erased), outcome.added) == (["ann/1", "cut/1"], 1)
    assert sorted(current(corpus, place)) == ["ann/2"]


# ------------------------------------------------------------------------------------------------------------- selects


def test_rows_are_selected_at_every_try(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2")
    fill(writer, "bob/1", subjects=["bob"])
    changes = Changes(select=By("speaker", "ann"))
    tries: list[list[str]] = []

    def deed(attempt: Try) -> Next[Outcome]:
        plan = attempt.plan(changes)
        tries.append([path for one in plan.dropped for path in one.column("path").to_pylist()])
        members = attempt.write(plan, changes)
        if len(tries) == 1:
            fill(writer_of(corpus, place), "ann/3")
        return Next(plan.outcome, members)

    assert writer.transact(deed).removed == 3
    assert tries == [["ann/1", "ann/2"], ["ann/1", "ann/2", "ann/3"]]
    assert sorted(current(corpus, place)) == ["bob/1"]


# ---------------------------------------------------------------------------------------------------- compare and swap


def swap(writer: Writer, paths: list[str], **cells: list[Any]) -> Changes:
    """New cells for rows as they are now."""
    rows = current(writer.reference, writer.storage)
    old = [rows[path]["object_id"] for path in paths]
    kinds = {"object_id": pa.binary(16), "data_key": pa.binary(32), "subjects": pa.list_(pa.large_string())}
    columns = {name: pa.array(values, kinds.get(name)) for name, values in cells.items()}
    return Changes(rewrite=pa.table({"path": pa.array(paths, pa.large_string()), "old_id": old, **columns}))


def resealed(writer: Writer, *paths: str) -> Changes:
    puts = [writer.put_object([content(path)]).columns() for path in paths]
    names = ("object_id", "data_key", "sealed_size")
    return swap(writer, list(paths), **{name: [put[name] for put in puts] for name in names})


def test_a_row_moves_to_another_object(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2")
    fill(writer, "bob/1", subjects=["bob"])
    before = current(corpus, place)
    hold(writer, "ann")  # the recording stays, so a hold does not stop this
    changes = resealed(writer, "ann/2", "bob/1")
    outcome = change(writer, changes)
    assert (outcome.rewritten, outcome.held) == (2, [])
    after = current(corpus, place)
    assert outcome.committed == {after[path]["object_id"] for path in ("ann/2", "bob/1")}
    assert after["ann/1"] == before["ann/1"]
    left = {key for one in look(corpus, place).head.retired for key in listed(place, look(corpus, place).head, one)}
    assert {before[path]["object_id"].hex() for path in ("ann/2", "bob/1")} <= {key[-32:] for key in left}
    opened = open_quietly(corpus, place)
    assert [opened.read(path) for path in sorted(after)] == [content(path) for path in sorted(after)]
    assert change(writer, changes).changes is False  # the rows name other objects now


def test_a_row_that_was_replaced_or_removed_is_left(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2", "ann/3")
    changes = resealed(writer, "ann/1", "ann/2", "ann/3")
    other = writer_of(corpus, place)
    other.commit(table(row(other, "ann/2", content("ann/2", 1))), remove=["ann/1"], replace=True)
    before = current(corpus, place)
    outcome = change(writer, changes)
    assert outcome.rewritten == 1
    after = current(corpus, place)
    assert sorted(after) == ["ann/2", "ann/3"]
    assert after["ann/2"] == before["ann/2"]


def test_people_of_an_object_change_together(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    put = writer.put_object([content("both")]).columns()
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1, "frames": 9, **put}
    writer.commit(table(*({"path": f"both/{at}", **one, "start": at, "frames_in_segment": 1} for at in range(2))))
    with pytest.raises(InvalidArgument, match="would name different people"):
        change(writer, swap(writer, ["both/0"], subjects=[["bob"]]))
    outcome = change(writer, swap(writer, ["both/0", "both/1"], subjects=[["bob"], ["bob"]]))
    assert outcome.rewritten == 2
    assert {tuple(one["subjects"]) for one in current(corpus, place).values()} == {("bob",)}


def test_nobody_is_renamed_past_an_erasure_or_a_hold(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2")
    tagger = Tagger(writer.head.secret)
    set_members(writer, barred=(tagger.consent("bob", None),))
    outcome = change(writer, swap(writer, ["ann/1", "ann/2"], subjects=[["bob"], ["cid"]]))
    assert (outcome.rewritten, outcome.erased) == (1, ["ann/1"])
    hold(writer, "cid")
    outcome = change(writer, swap(writer, ["ann/2"], subjects=[["dan"]]))
    assert (outcome.rewritten, outcome.held) == (0, ["ann/2"])


# ------------------------------------------------------------------------------------------------------------- journal


def test_a_list_of_an_open_erasure_stays(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2", "ann/3")
    writer.commit(remove=["ann/1"])
    [one] = look(corpus, place).head.retired
    set_members(writer, erasures=({"id": "ab" * 16, "list": one.table.id.hex()},))
    place.clock += 3 * DAY
    writer.commit(remove=["ann/2"])
    assert one in look(corpus, place).head.retired
    set_members(writer, erasures=())
    fill(writer, "ann/4")
    assert one not in look(corpus, place).head.retired


# ----------------------------------------------------------------------------------------------------------- fresh key


def test_a_commit_under_a_fresh_key(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1")
    before = look(corpus, place)
    fresh = FreshKey(corpus.root, open_all(corpus.kms))
    writer.transact(lambda attempt: Next(None, fresh.members(attempt.opened), fresh.key))
    after = look(corpus, place)
    assert after.key == fresh.key != before.key
    assert after.head.superseded == (*before.head.superseded, before.head.key_id)
    assert len(after.head.wraps) == 1
    fill(writer, "ann/2")
    assert open_quietly(corpus, place).read("ann/2") == content("ann/2")


def test_a_wrap_that_cannot_be_made_stops_it(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    other = make(MemoryStorage("memory://other"), "memory://other", "other")
    opened = writer.transact(lambda attempt: Next(attempt.opened, None))
    for trusted in ((), open_all(other.kms)):
        with pytest.raises(NoTrustedKey, match="--drop-wrap local:"):
            FreshKey(corpus.root, trusted).members(opened)
    for drop, text in ((corpus.kms, "no key would be left"), (other.kms, "has no wrap by")):
        fresh = FreshKey(corpus.root, open_all(corpus.kms), drop)
        with pytest.raises(InvalidArgument, match=text):
            fresh.members(opened)
