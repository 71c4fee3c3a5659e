"""What a commit does with rows: added, left, updated, replaced, conflicting, removed, erased, stale."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import listed
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, PinRequired, RowReplaced
from securedata.keys.tags import Tagger
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
