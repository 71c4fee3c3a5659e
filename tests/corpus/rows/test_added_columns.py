"""Columns that parts may lack: `origin` and `ingested`, which a row keeps, and `last_contact`, which is corrected."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows import build, plan
from securedata.corpus.schema import ADDED, SCHEMA, fit
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, row, table

CONTACT = datetime.datetime(2025, 3, 4, 12, tzinfo=datetime.UTC)
LATER = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
ID = bytes(range(16))


def at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def old_part(writer: Writer, monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Commit a part as earlier versions wrote it."""
    with monkeypatch.context() as patch:
        patch.setattr(build, "stamped", lambda new, put_times: new)
        fill(writer, *paths)


def test_a_row_has_the_time_of_its_first_commit(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    place.clock = 1_900_000_000.75
    fill(writer, "a", "b")
    first = at(place.clock)
    place.clock += 2 * DAY
    writer.commit(table(row(writer, "a", content("a"), transcript="corrected")))
    writer.commit(table(row(writer, "b", b"other")), replace=True)
    writer.commit(table(row(writer, "a", content("a"))), reseal=True)
    fill(writer, "c")
    found = current(corpus, place)
    assert {path: found[path]["ingested"] for path in "abc"} == {"a": first, "b": first, "c": at(place.clock)}
    assert found["a"]["transcript"] == "corrected"


def test_a_resealed_recording_keeps_its_first_object_id(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a", "b", "c")
    before = current(corpus, place)
    assert "origin" not in before["a"], "no row of the part needs the column"
    for _ in range(2):
        writer.commit(table(row(writer, "a", content("a"))), reseal=True)
    writer.commit(table(row(writer, "b", b"another recording")), replace=True)
    writer.commit(table(row(writer, "c", content("c"), ["bob"])), replace=True)
    after = current(corpus, place)
    assert {path: after[path].get("origin") for path in "abc"} == {
        "a": before["a"]["object_id"],
        "b": None,
        "c": before["c"]["object_id"],
    }
    assert after["a"]["object_id"] != before["a"]["object_id"]


def test_what_a_writer_gives_is_kept(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    given = {"origin": ID, "ingested": CONTACT}
    fill(writer, "b")
    writer.commit(table(row(writer, "a", content("a"), **given), row(writer, "b", b"cut", **given)), replace=True)
    found = current(corpus, place)
    assert [{name: found[path][name] for name in given} for path in "ab"] == [given, given]


def test_a_renamed_row_is_not_stamped_again(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    before = current(corpus, place)["a"]
    place.clock += DAY
    writer.commit(table({**before, "path": "b"}), remove=["a"])
    assert current(corpus, place)["b"]["ingested"] == before["ingested"]


def test_parts_without_them_are_read_as_null_and_merged(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_part(writer, monkeypatch, "old/0", "old/1")
    assert not set(ADDED.names) & set(current(corpus, place)["old/0"])
    fill(writer, "new")
    opened = open_quietly(corpus, place, columns=ADDED.names)
    assert [opened.table.schema.field(name).type for name in ADDED.names] == [one.type for one in ADDED]
    by_path = {one["path"]: one for one in opened.table.to_pylist()}
    assert [by_path["old/0"][name] for name in ADDED.names] == [None] * len(ADDED.names)
    assert by_path["new"]["ingested"] == at(place.clock)
    told = open_quietly(corpus, place, filter=pc.is_valid(pc.field("ingested")))
    assert told.table.column("path").to_pylist() == ["new"]
    never = open_quietly(corpus, place, filter=pc.is_null(pc.field("last_contact")) & pc.is_null(pc.field("origin")))
    assert len(never) == 3
    fill(writer, *(f"more/{number}" for number in range(plan.MERGE_AT)), commits=plan.MERGE_AT)
    assert len(look(corpus, place).head.parts) < plan.MERGE_AT, "merged"
    found = current(corpus, place)
    assert (found["old/1"]["ingested"], found["new"]["ingested"]) == (None, at(place.clock))
    assert not {"origin", "last_contact"} & set(found["new"])


def test_the_last_contact_is_corrected_in_parts_that_lack_it(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_part(writer, monkeypatch, "a", "b")
    outcome = writer.commit(table(row(writer, "a", content("a"), last_contact=CONTACT)))
    assert (outcome.updated, dict(outcome.columns)) == (1, {"last_contact": 1})

    def contacts() -> dict[str, Any]:
        return {path: one.get("last_contact", "no column") for path, one in current(corpus, place).items()}

    assert contacts() == {"a": CONTACT, "b": None}
    assert writer.commit(table(row(writer, "a", content("a")))).unchanged == 1
    assert writer.commit(table(row(writer, "a", content("a"), last_contact=CONTACT))).unchanged == 1
    assert writer.commit(table(row(writer, "a", content("a"), last_contact=LATER))).updated == 1
    assert contacts() == {"a": LATER, "b": None}
    assert writer.commit(table(row(writer, "a", content("a"))), clear={"a": ["last_contact"]}).updated == 1
    assert contacts() == {"a": "no column", "b": "no column"}, "no row needs it any more"


def test_no_purpose_is_not_the_same_as_none_recorded(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "a", content("a"), purposes=["asr"])))

    def said(**columns: Any) -> Any:
        writer.commit(table(row(writer, "a", content("a"), **columns)))
        return current(corpus, place)["a"]["purposes"]

    assert said() == ["asr"]
    assert said(purposes=[]) == []
    assert said() == []
    assert said(purposes=["tts"]) == ["tts"]


def test_columns_of_theirs_under_these_names_are_left_alone(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("securedata.corpus.writer.fit", lambda rows: rows)
        patch.setattr(build, "stamped", lambda new, put_times: new)
        rows = table(row(writer, "a", content("a")))
        writer.commit(rows.append_column("last_contact", pa.array(["by phone"])))
    writer.commit(table(row(writer, "a", content("a"), transcript="corrected")))
    found = current(corpus, place)["a"]
    assert (found["last_contact"], found["transcript"]) == ("by phone", "corrected")
    with pytest.raises(InvalidArgument, match="column last_contact is"):
        writer.commit(table(row(writer, "b", content("b"), last_contact=CONTACT)))


def test_rows_to_add_are_fitted(writer: Writer) -> None:
    rows = table(row(writer, "a", content("a")))
    assert fit(rows.append_column("origin", pa.array([None], pa.binary(16)))).schema.names == SCHEMA.names
    fitted = fit(rows.append_column("last_contact", pa.array([CONTACT], pa.timestamp("ms", tz="Europe/Berlin"))))
    assert fitted.schema.field("last_contact").equals(ADDED.field("last_contact"))
    assert fitted.column("last_contact").to_pylist() == [CONTACT]
    with pytest.raises(InvalidArgument, match=r"column origin is string, not fixed_size_binary\[16\]"):
        fit(rows.append_column("origin", pa.array(["an id"])))
