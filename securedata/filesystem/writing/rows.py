"""Rows of a head by their paths, and rows made of others: copied or moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.put import Put
from securedata.corpus.rows.build import join
from securedata.corpus.rows.changes import ReadTable
from securedata.corpus.rows.plan import CHECK
from securedata.corpus.schema import SCHEMA, fit
from securedata.corpus.state.head import Head, TableRef


class Found(NamedTuple):
    """A row of a head: its object, and where it is."""

    object_id: bytes
    part: TableRef
    row: int


def find_rows(head: Head, read_table: ReadTable, paths: Collection[str]) -> dict[str, Found]:
    """The rows of these paths, by path; those that do not exist are left out. Raises as `read_table`."""
    found: dict[str, Found] = {}
    wanted = pa.array(sorted(paths), pa.large_string())
    for part in head.parts if len(wanted) else ():
        view = read_table(part, CHECK)  # the columns of every commit's plan, which are cached for it
        hits = pc.is_in(view.column("path"), value_set=wanted).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(hits).tolist():
            path = view.column("path")[row].as_py()
            found[path] = Found(view.column("object_id")[row].as_py(), part, row)
    return found


def subjects_of(found: Found, read_table: ReadTable) -> set[str]:
    """The people of a row. Raises as `read_table`."""
    return set(read_table(found.part, CHECK).column("subjects")[found.row].as_py())


def rows_at(found: Iterable[Found], read_table: ReadTable) -> pa.Table:
    """These rows with all their columns, in any order. Raises as `read_table`."""
    by_part: dict[TableRef, list[int]] = {}
    for one in found:
        by_part.setdefault(one.part, []).append(one.row)
    tables = [read_table(part, None).take(pa.array(rows, pa.int64())) for part, rows in by_part.items()]
    return join([fit(table) for table in tables] or [SCHEMA.empty_table()])


def siblings(found: Collection[Found], read_table: ReadTable, leave_out: Collection[str]) -> dict[str, Found]:
    """Other rows of the same objects, by path: all rows of an object are in one part, so they move together."""
    others: dict[str, Found] = {}
    ids = {one.object_id for one in found}
    for part in dict.fromkeys(one.part for one in found):
        view = read_table(part, CHECK)
        column = view.column("object_id")
        hits = pc.is_in(column, value_set=pa.array(sorted(ids), column.type)).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(hits).tolist():
            path = view.column("path")[row].as_py()
            if path not in leave_out:
                others[path] = Found(column[row].as_py(), part, row)
    return others


def moved(rows: pa.Table, new_paths: Mapping[str, str]) -> pa.Table:
    """The same rows under new paths."""
    paths = rows.column("path").to_pylist()
    return _with(rows, "path", [new_paths[path] for path in paths])


def copied(rows: pa.Table, copies: Sequence[tuple[str, str, Put]]) -> pa.Table:
    """Copies of rows, each with an object of its own: (path of the row, path of the copy, its new object)."""
    at = {path: row for row, path in enumerate(rows.column("path").to_pylist())}
    table = rows.take(pa.array([at[source] for source, _, _ in copies], pa.int64()))
    table = _with(table, "path", [path for _, path, _ in copies])
    for name in ("object_id", "data_key", "sealed_size", "size"):
        table = _with(table, name, [put.columns()[name] for _, _, put in copies])
    # it is a recording of its own, in an object of its own, as of now
    for name in ("pack", "offset", "origin", "ingested", "keyed_since"):
        table = _with(table, name, [None] * table.num_rows)
    return table


def _with(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return (
        table if at < 0 else table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    )
