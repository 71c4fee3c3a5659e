"""What a commit does with rows: added, left, updated, replaced, conflicting, removed, erased, stale."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows import plan
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import listed
from securedata.corpus.state.tables import read_table, seal_table
from securedata.corpus.writer import Writer
from securedata.errors import (
    AuthenticationFailed,
    InvalidArgument,
    MalformedManifest,
    PinRequired,
    RowReplaced,
    StorageUnreachable,
)
from securedata.keys.kms import open_all
from securedata.keys.tags import Tagger
from securedata.keys.wraps import wrap_key
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, row, table, writer_of
from tests.kit.hooked import Hooked


def tidy(corpus: Reference, place: MemoryStorage) -> None:
    """All that is named is there, and all that is there is named or waits on a list for its day to end."""
    head = look(corpus, place).head
    named = named_keys(head, place)
    assert named <= keys_of(place)
    waiting = {key for one in head.retired for key in listed(place, head, one)}
    assert not waiting & named
    assert keys_of(place) - named <= waiting


# ---------------------------------------------------------------------------------------------------------------- rows


def test_rows_are_added_and_read_back(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    outcome = writer.commit(table(*(row(writer, path, content(path)) for path in ("b", "a", "c/d"))))
    assert (outcome.added, outcome.changes) == (3, True)
    opened = open_quietly(corpus, place)
    assert sorted(opened.table.column("path").to_pylist()) == ["a", "b", "c/d"]
    for path in ("a", "b", "c/d"):
        assert opened.read(path) == content(path)
    tidy(corpus, place)


def test_nothing_to_do_is_no_commit(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    before = dict(place.objects)
    writer.commit()
    writer.commit(table())
    writer.commit(remove=["not there"])
    writer.commit(settings={})
    assert place.objects == before


def test_the_same_recording_again_is_left(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    before = dict(place.objects)
    outcome = writer.commit(table(row(writer, "a", content("a"))))
    assert (outcome.added, outcome.unchanged, outcome.changes) == (0, 1, False)
    assert place.objects == before, "its new object is deleted again, and the head is the same"


def test_people_in_another_order_are_the_same_people(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "a", content("a"), subjects=["ann", "bob"])))
    outcome = writer.commit(table(row(writer, "a", content("a"), subjects=["bob", "ann"])))
    assert (outcome.unchanged, outcome.conflicts) == (1, [])


@pytest.mark.parametrize(
    "columns",
    [
        {"transcript": "new words"},
        {"speaker": "A. Nother"},
        {"source_mtime_ns": 2},
        {"purposes": ["asr"], "consent_id": "c-1"},
        {"extra": '{"mood": "good"}'},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_other_descriptions_are_updated(
    columns: dict[str, Any], corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a", "b", "c")
    before = current(corpus, place)
    outcome = writer.commit(table(row(writer, "b", content("b"), **columns)))
    assert (outcome.added, outcome.updated, outcome.unchanged) == (0, 1, 0)
    after = current(corpus, place)
    assert after == {**before, "b": {**before["b"], **columns}}, "and nothing else, its object neither"
    tidy(corpus, place)


def test_an_update_brings_no_object(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a", "b")
    known = current(corpus, place)
    outcome = writer.commit(update=table({**known["a"], "transcript": "new"}))
    assert outcome.updated == 1
    assert current(corpus, place)["a"] == {**known["a"], "transcript": "new"}
    gone = {**known["a"], "path": "never there"}
    outcome = writer.commit(update=table(gone, {**known["b"], "source_sha256": bytes(32)}))
    assert sorted(outcome.stale) == ["b", "never there"]
    assert not outcome.changes
    tidy(corpus, place)


@pytest.mark.parametrize(
    "columns",
    [{}, {"subjects": ["bob"]}, {"subjects": ["ann", "bob"]}, {"start": 0}, {"start": 0, "frames_in_segment": 5}],
    ids=["content", "another person", "one more person", "start", "segment"],
)
def test_another_recording_under_a_path_is_a_conflict(
    columns: dict[str, Any], corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a", "b")
    before = current(corpus, place)
    data = content("a") if columns else content("a", 2)
    rows = table(row(writer, "a", data, **columns), row(writer, "new", content("new")))
    outcome = writer.commit(rows)
    assert (outcome.conflicts, outcome.added) == (["a"], 1)
    after = current(corpus, place)
    assert {path: after[path] for path in before} == before
    tidy(corpus, place)


def test_replace_takes_the_new_recording(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a", "b")
    reader = open_quietly(corpus, place)
    old = current(corpus, place)["a"]["object_id"]
    outcome = writer.commit(table(row(writer, "a", content("a", 2), subjects=["bob"])), replace=True)
    assert (outcome.replaced, outcome.added, outcome.conflicts) == (1, 1, [])
    assert open_quietly(corpus, place).read("a") == content("a", 2)
    assert reader.read("a") == content("a"), "a reader in flight has what it opened"
    head = look(corpus, place).head
    assert object_key(old) in {key for one in head.retired for key in listed(place, head, one)}
    tidy(corpus, place)
    place.clock += DAY
    writer.commit(settings={"any": "commit"})
    assert object_key(old) not in place.objects
    with pytest.raises(RowReplaced, match=old.hex()):
        reader.read("a")
    tidy(corpus, place)


def test_removing(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a", "b", "c", commits=2)
    outcome = writer.commit(remove=["a", "c", "not there"])
    assert (outcome.removed, outcome.missing) == (2, ["not there"])
    assert sorted(current(corpus, place)) == ["b"]
    assert writer.commit(remove=["b"]).removed == 1
    assert look(corpus, place).head.parts == ()
    assert len(open_quietly(corpus, place)) == 0
    tidy(corpus, place)


def test_a_path_removed_and_added_in_one_step_is_the_new_row(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a", "b")
    outcome = writer.commit(table(row(writer, "a", content("a", 2))), remove=["a"])
    assert (outcome.removed, outcome.added, outcome.conflicts) == (1, 1, [])
    assert open_quietly(corpus, place).read("a") == content("a", 2)


def test_a_removed_path_may_be_recorded_again(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    writer.commit(remove=["a"])
    fill(writer, "a")
    place.clock += 2 * DAY
    writer.commit_horizon()
    assert open_quietly(corpus, place).read("a") == content("a")
    tidy(corpus, place)


def test_settings_are_merged(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(settings={"a": 1, "b": {"deep": [1, None, "ü"]}})
    writer_of(corpus, place).commit(settings={"a": 2})
    assert look(corpus, place).head.settings == {"a": 2, "b": {"deep": [1, None, "ü"]}}


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800", b"bytes"])
def test_settings_that_are_no_json_are_refused(value: object, place: MemoryStorage, writer: Writer) -> None:
    before = dict(place.objects)
    with pytest.raises(InvalidArgument, match="not JSON"):
        writer.commit(settings={"a": value})
    assert place.objects == before


# ----------------------------------------------------------------------------------------------------- what is refused


def test_writing_needs_the_pin_before_any_call(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    with pytest.raises(PinRequired, match="securedata info"):
        Writer(Reference(corpus.root, kms=corpus.kms), storage=storage)
    assert storage.calls == []


def test_the_same_path_twice_is_refused(writer: Writer) -> None:
    with pytest.raises(InvalidArgument, match="same path twice"):
        writer.commit(table(row(writer, "a", content("a")), row(writer, "a", content("a"))))


def test_rows_without_a_column_are_refused(writer: Writer) -> None:
    with pytest.raises(InvalidArgument, match="lack column transcript"):
        writer.commit(table(row(writer, "a", content("a"))).drop_columns("transcript"))


@pytest.mark.parametrize(
    ("column", "kind"),
    [("path", pa.string()), ("subjects", pa.list_(pa.string())), ("size", pa.int32()), ("object_id", pa.binary())],
)
def test_rows_of_other_types_are_made_to_fit(
    column: str, kind: pa.DataType, corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "b")
    rows = table(row(writer, "a", content("a")))
    at = rows.schema.get_field_index(column)
    assert writer.commit(rows.set_column(at, column, rows.column(column).cast(kind))).added == 1
    fill(writer, "c")
    assert open_quietly(corpus, place).read("a") == content("a")


@pytest.mark.parametrize(
    ("column", "value"), [("path", None), ("size", "large"), ("data_key", b"short"), ("subjects", None)]
)
def test_rows_that_do_not_fit_are_refused(column: str, value: object, writer: Writer) -> None:
    rows = table(row(writer, "a", content("a")))
    at = rows.schema.get_field_index(column)
    with pytest.raises(InvalidArgument, match=column):
        writer.commit(rows.set_column(at, column, pa.array([value])))


def test_rows_whose_columns_may_be_null_do_not_spoil_the_corpus_for_readers(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    # whoever builds a table without a schema gets nullable columns and, from pandas, metadata
    fill(writer, "a")
    rows = table(row(writer, "b", content("b")))
    loose = pa.table({name: rows.column(name) for name in reversed(rows.schema.names)}).replace_schema_metadata(
        {"x": "y"}
    )
    assert not loose.schema.equals(SCHEMA)
    assert writer.commit(loose).added == 1
    assert sorted(open_quietly(corpus, place).table.column("path").to_pylist()) == ["a", "b"]


def test_rows_of_one_object_name_the_same_people(writer: Writer) -> None:
    one = row(writer, "a", content("a"), start=0, frames_in_segment=5)
    with pytest.raises(InvalidArgument, match="people"):
        writer.commit(table(one, {**one, "path": "b", "subjects": ["bob"], "start": 5}))


# --------------------------------------------------------------------------------------------------- erased and stale


def bury(writer: Writer, *names: str) -> None:
    """A tombstone, as an erasure will put it into the head (without the rest of what an erasure does)."""
    tagger = Tagger(writer.head.secret)

    def change(attempt: Try) -> Next[None]:
        stones = [Tombstone(tagger.tag(name), attempt.head.generation + 1) for name in names]
        return Next(None, {"tombstones": (*attempt.head.tombstones, *stones)})

    writer.transact(change)


def test_rows_of_an_erased_person_are_dropped(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = [
        row(writer, "ann/1", content("ann/1")),
        row(writer, "both", content("both"), subjects=["bob", "Zoe\N{COMBINING DIAERESIS}"]),
        row(writer, "bob/1", content("bob/1"), subjects=["bob"]),
    ]
    bury(writer_of(corpus, place), "ann", "Zoë")
    outcome = writer.commit(table(*rows))
    assert (sorted(outcome.erased), outcome.added) == (["ann/1", "both"], 1)
    assert sorted(current(corpus, place)) == ["bob/1"]
    assert not any(object_key(one["object_id"]) in place.objects for one in rows[:2]), "their objects go at once"
    tidy(corpus, place)


def test_a_person_erased_while_a_commit_is_under_way_is_dropped(
    corpus: Reference, place: MemoryStorage, no_waiting: None
) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "ann/1", content("ann/1")), row(writer, "bob/1", content("bob/1"), subjects=["bob"]))

    def erase(call: str, key: str) -> None:
        if call == "replace":
            storage.before = lambda call, key: None
            bury(writer_of(corpus, place), "ann")

    storage.before = erase
    outcome = writer.commit(rows)
    assert (outcome.erased, outcome.added) == (["ann/1"], 1)
    assert sorted(current(corpus, place)) == ["bob/1"]
    tidy(corpus, place)


def test_objects_older_than_the_horizon_are_sealed_anew(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    old = row(writer, "old", content("old"))
    place.clock += DAY
    border = row(writer, "border", content("border"))
    place.clock += DAY
    fresh = row(writer, "fresh", content("fresh"))
    assert writer_of(corpus, place).commit_horizon().horizon == place.clock - DAY
    outcome = writer.commit(table(old, border, fresh))
    assert (outcome.stale, outcome.added) == (["old"], 2)
    assert object_key(old["object_id"]) not in place.objects
    assert sorted(current(corpus, place)) == ["border", "fresh"]
    assert writer.commit(table(row(writer, "old", content("old")))).added == 1
    tidy(corpus, place)


def test_a_stale_row_replaces_nothing(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    before = current(corpus, place)
    stale = row(writer, "a", content("a", 2))
    place.clock += 2 * DAY
    writer_of(corpus, place).commit_horizon()
    assert writer.commit(table(stale), replace=True).stale == ["a"]
    assert current(corpus, place) == before


def test_a_part_older_than_the_horizon_is_written_anew(
    corpus: Reference, place: MemoryStorage, no_waiting: None
) -> None:
    # a try that lost wrote it; two days later the next try finds a horizon behind it, and a prune may have taken it
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    fill(writer, "a", "b")
    parts: list[str] = []

    def wait(call: str, key: str) -> None:
        if call == "replace":
            storage.before = lambda call, key: None
            parts.extend(key for call, key in storage.calls if call == "put_new" and key.startswith("manifest/"))
            place.clock += 2 * DAY
            other.commit_horizon()
            for key in parts[-2:]:
                place.delete(key)

    storage.before = wait
    assert writer.commit(remove=["a"]).removed == 1
    assert sorted(current(corpus, place)) == ["b"]
    tidy(corpus, place)


def test_the_horizon_never_moves_back(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    first = writer.commit_horizon().horizon
    place.clock -= 3600
    assert writer.commit_horizon().horizon == first
    place.clock += 7200
    assert writer.commit_horizon().horizon == first + 3600


# ------------------------------------------------------------------------------------------------------------- objects


def test_what_was_discarded_is_never_committed(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    one = row(writer, "ann/1.wav", b"words")
    writer.discard([one["object_id"]])
    outcome = writer.commit(table(one))
    assert (outcome.added, outcome.stale) == (0, ["ann/1.wav"])
    assert current(corpus, place) == {}


def test_discard_deletes_only_what_this_writer_put_and_nobody_committed(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    other = writer_of(corpus, place)
    mine, theirs, committed = (
        row(writer, "a", content("a")),
        row(other, "b", content("b")),
        row(writer, "c", content("c")),
    )
    writer.commit(table(committed))
    writer.discard(one["object_id"] for one in (mine, theirs, committed))
    assert [object_key(one["object_id"]) in place.objects for one in (mine, theirs, committed)] == [False, True, True]
    writer.discard([mine["object_id"]])


def test_an_object_is_read_back_before_anybody_relies_on_it(corpus: Reference, place: MemoryStorage) -> None:
    class Faulty(MemoryStorage):
        def put_new(self, key: str, pieces: Any) -> float:
            data = bytearray(b"".join(pieces))
            data[-1] ^= 1
            return super().put_new(key, [data])

    faulty = Faulty()
    faulty.objects = place.objects
    writer = writer_of(corpus, faulty)
    with pytest.raises(AuthenticationFailed):
        writer.put_object([content("a")])
    before = place.objects["head"]
    sound = writer_of(corpus, place)
    rows = table(row(sound, "a", content("a")))
    with pytest.raises(AuthenticationFailed):
        writer.commit(rows)
    assert place.objects["head"] == before, "a part is read back before a head names it"


def test_a_part_that_holds_something_else_than_was_meant_is_never_named(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, "a")
    before = place.objects["head"]
    rows = table(row(writer, "b", content("b")))
    wrong = table(row(writer, "c", content("c")))
    monkeypatch.setattr("securedata.corpus.state.commit.seal_table", lambda _, corpus_id: seal_table(wrong, corpus_id))
    with pytest.raises(MalformedManifest, match="does not read back as it was written"):
        writer.commit(rows)
    assert place.objects["head"] == before


def test_a_source_that_cannot_be_read_is_no_error_of_the_storage(place: MemoryStorage, writer: Writer) -> None:
    def pieces() -> Any:
        yield b"half"
        raise OSError("the source")

    with pytest.raises(OSError, match="the source") as caught:
        writer.put_object(pieces())
    assert type(caught.value) is OSError
    assert not [key for key in place.objects if key.startswith("objects/")]


def test_rows_that_share_an_object_leave_together(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    one = row(writer, "s1", content("long"), start=0, frames_in_segment=5)
    two = {**one, "path": "s2", "start": 5}
    writer.commit(table(one, two))
    writer.commit(remove=["s1"])
    place.clock += DAY
    writer.commit(settings={"any": "commit"})
    assert open_quietly(corpus, place).read("s2") == content("long")
    writer.commit(remove=["s2"])
    place.clock += DAY
    writer.commit(settings={"another": "commit"})
    assert object_key(one["object_id"]) not in place.objects
    tidy(corpus, place)


def test_rows_that_share_an_object_stand_in_one_part(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # else removing those in one part would list the object for deletion that those in the other still need
    monkeypatch.setattr(plan, "MAX_ROWS", 4)
    fill(writer, "before")
    rows = [row(writer, f"single/{number}", content(f"single/{number}")) for number in range(3)]
    shared = row(writer, "shared/0", content("shared"), start=0, frames_in_segment=1)
    rows += [{**shared, "path": f"shared/{number}", "start": number} for number in range(3)]
    assert writer.commit(table(*rows)).added == 6
    head = look(corpus, place).head
    assert all(part.rows <= 4 for part in head.parts)
    holding = [part for part in head.parts if shared["object_id"] in _ids(place, head, part)]
    assert len(holding) == 1
    writer.commit(remove=["shared/0"])
    place.clock += DAY
    writer.commit(settings={"any": "commit"})
    assert open_quietly(corpus, place).read("shared/2") == content("shared")


def test_an_object_has_no_more_rows_than_a_part(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_ROWS", 4)
    shared = row(writer, "shared/0", content("shared"), start=0, frames_in_segment=1)
    with pytest.raises(InvalidArgument, match="more than the 4 of a part"):
        writer.commit(table(*({**shared, "path": f"shared/{number}", "start": number} for number in range(5))))


def _ids(place: MemoryStorage, head: Any, part: Any) -> list[bytes]:
    found: list[bytes] = read_table(place, head.corpus_id, part, ["object_id"]).column("object_id").to_pylist()
    return found


# ----------------------------------------------------------------------------------------------- changes by others


def test_a_change_may_seal_the_next_head_under_a_fresh_key(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "bob/1")
    other = writer_of(corpus, place)
    id, key, old = os.urandom(16), os.urandom(32), writer.head

    def change(attempt: Try) -> Next[str]:
        known = attempt.head
        wraps = wrap_key(open_all(corpus.kms), key, known.corpus_id)
        return Next("done", {"key_id": id, "wraps": wraps, "superseded": (*known.superseded, known.key_id)}, key)

    assert writer.transact(change) == "done"
    assert (writer.head.key_id, writer.head.superseded) == (id, (old.key_id,))
    fill(writer, "ann/2")
    fill(other, "ann/3")
    assert sorted(current(corpus, place)) == ["ann/1", "ann/2", "ann/3", "bob/1"]
    assert look(corpus, place).key == key
    assert writer.unwraps == 1, "whoever made the key does not ask for it"


def test_the_outcome_is_that_of_the_try_that_landed(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    seen: list[int] = []

    def change(attempt: Try) -> Next[int]:
        seen.append(attempt.head.generation)
        return Next(attempt.head.generation, {"settings": {"seen": attempt.head.generation}})

    def lost(call: str, key: str) -> None:
        if call == "replace" and len(seen) == 2:  # the second try lands, and its answer is lost behind another commit
            storage.after = lambda call, key: None
            other.commit(settings={"other": 1})
            raise StorageUnreachable("the line is cut")

    def busy(call: str, key: str) -> None:
        if call == "replace" and len(seen) == 1:
            other.commit(settings={"other": 0})

    storage.before, storage.after = busy, lost
    assert writer.transact(change) == seen[1]
    assert len(seen) == 2
