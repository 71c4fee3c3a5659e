"""Columns of the manifest that this version does not know: kept, widened, or refused before anything is written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows import plan
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, MalformedManifest
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import content, fill, row, table


def test_columns_that_this_version_does_not_know_are_kept(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    rows = table(*(row(writer, path, content(path)) for path in "abc"))
    writer.commit(rows.append_column("from_the_future", pa.array([1, 2, 3])))
    fill(writer, "d")
    writer.commit(remove=["a"])
    writer.commit(table(row(writer, "b", content("b"), transcript="new")))
    for number in range(plan.MERGE_AT):
        fill(writer, f"more/{number}")
    after = current(corpus, place)
    assert {path: after[path]["from_the_future"] for path in "bcd"} == {"b": 2, "c": 3, "d": None}
    assert after["b"]["transcript"] == "new"


def with_column(writer: Writer, path: str, values: pa.Array) -> pa.Table:
    return table(row(writer, path, content(path))).append_column("x", values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([pa.array([1], pa.int8()), pa.array([2], pa.uint32()), pa.array([-3])], pa.int64()),
        ([pa.array([1.5], pa.float32()), pa.array([2.25]), pa.nulls(1)], pa.float64()),
        ([pa.array(["a"]), pa.array(["b"], pa.large_string())], pa.large_string()),
        ([pa.array([b"a"], pa.binary(1)), pa.array([b"bb"], pa.binary(2))], pa.binary()),
        ([pa.nulls(1), pa.array([[1, 2]])], pa.list_(pa.int64())),
    ],
)
def test_unknown_columns_widen_to_hold_all_values(
    corpus: Reference, place: MemoryStorage, writer: Writer, values: list[pa.Array], kind: pa.DataType
) -> None:
    expected = {f"p/{number}": value[0].as_py() for number, value in enumerate(values)}
    for path, value in zip(expected, values, strict=True):
        writer.commit(with_column(writer, path, value))

    def check() -> None:
        opened = open_quietly(corpus, place, columns=["x"])
        assert opened.table.schema.field("x").type == kind
        found = dict(zip(opened.table.column("path").to_pylist(), opened.table.column("x").to_pylist(), strict=True))
        assert {path: found[path] for path in expected} == expected
        assert {path: current(corpus, place)[path].get("x") for path in expected} == expected

    check()
    before = len(look(corpus, place).head.parts)
    for number in range(plan.MERGE_AT):
        fill(writer, f"more/{number}")
    assert len(look(corpus, place).head.parts) < before + plan.MERGE_AT, "merged"
    check()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1]), pa.array(["text"])),
        (pa.array([1]), pa.array([1.5])),
        (pa.array([-1]), pa.array([2**63 + 1], pa.uint64())),
        (pa.array([[1]]), pa.array([[1.5]])),
        (pa.array([True]), pa.array([1])),
    ],
)
def test_unknown_columns_that_no_type_holds_are_refused_at_once(
    corpus: Reference, place: MemoryStorage, writer: Writer, first: pa.Array, second: pa.Array
) -> None:
    writer.commit(with_column(writer, "a", first))
    fill(writer, "between")
    rows = with_column(writer, "b", second)
    with pytest.raises(InvalidArgument, match=r"column x is .* in existing rows"):
        writer.commit(rows)
    with pytest.raises(InvalidArgument, match="column x is"):
        writer.commit(with_column(writer, "c", first), update=rows)
    fill(writer, *(f"more/{number}" for number in range(2 * plan.MERGE_AT)), commits=2 * plan.MERGE_AT)
    assert sorted(path for path, one in current(corpus, place).items() if one.get("x") is not None) == ["a"]
    assert len(look(corpus, place).head.parts) <= plan.MERGE_AT, "and nothing that was there stops a merge"


def test_parts_of_another_writer_that_no_part_can_join_are_an_error_of_ours(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.commit(with_column(writer, "a", pa.array([1])))
    with monkeypatch.context() as patch:
        patch.setattr(plan, "check_types", lambda *_: None)  # as a writer that knows better
        writer.commit(with_column(writer, "b", pa.array(["text"])))
    with pytest.raises(InvalidArgument, match="no common type holds"):
        open_quietly(corpus, place, columns=["x"])
    with pytest.raises(MalformedManifest, match="newer securedata"):
        fill(writer, *(f"more/{number}" for number in range(plan.MERGE_AT)), commits=plan.MERGE_AT)


def test_a_column_that_no_part_has_is_named(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    with pytest.raises(InvalidArgument, match="no column x; it has: object_id"):
        open_quietly(corpus, place, columns=["x"])
