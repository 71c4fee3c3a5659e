"""Rewrite cells of existing rows by compare and swap: a row changes only if it still names the same object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import PLACES, Changes
from securedata.corpus.rows.checks import CHECKED, refused
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.head import Head
from securedata.errors import InvalidArgument

_PEOPLE = ("subjects", "consent_id")
_KEYS = ("path", "old_id")


def needed(changes: Changes) -> tuple[str, ...]:
    """Columns of the live parts that matching the rewrite looks at, besides those of every commit."""
    return _PEOPLE if changes.rewrite is not None and set(_PEOPLE) & set(changes.rewrite.schema.names) else ()


def match_rewrite(
    head: Head, view: pa.Table, changes: Changes, drop: set[int], kept: frozenset[int], outcome: Outcome
) -> tuple[tuple[tuple[int, int], ...], frozenset[int]]:
    """Match rows of a part with rows of `changes.rewrite`, by path and object.

    Rows that must stay as they are (`kept`) are rewritten only if nothing but their place changes.

    Returns:
        The pairs of rows to rewrite, and the rows of the part that leave their object.

    Raises:
        InvalidArgument: rows of one object would name different people.
    """
    new = changes.rewrite
    if new is None or not new.num_rows:
        return (), frozenset()
    pairs = [
        (row, j)
        for row, j in _by_path(view, new)
        if row not in drop and view.column("object_id")[row].as_py() == new.column("old_id")[j].as_py()
    ]
    pairs = _fresh_enough(head, view, changes, new, pairs, outcome)
    if kept and not set(new.schema.names) - {*_KEYS} <= PLACES:
        outcome.held += [_path(view, row) for row, _ in pairs if row in kept]
        pairs = [pair for pair in pairs if pair[0] not in kept]
    if needed(changes) and pairs:
        gone = _with_others(view, pairs, {pairs[at][0] for at in refused(head, _people_after(view, new, pairs))})
        outcome.erased += [_path(view, row) for row, _ in pairs if row in gone]
        pairs = [pair for pair in pairs if pair[0] not in gone]
        _check_people(view, new, pairs, drop)
    outcome.rewritten += len(pairs)
    moved: set[int] = set()
    if "object_id" in new.schema.names:
        ids = new.column("object_id")
        moved = {row for row, j in pairs if ids[j] != new.column("old_id")[j]}
        outcome.committed |= {ids[j].as_py() for row, j in pairs if row in moved}
    return tuple(pairs), frozenset(moved)


def rewritten(table: pa.Table, new: pa.Table, pairs: tuple[tuple[int, int], ...]) -> pa.Table:
    """The rows of a part with the cells of the paired rows of `new`."""
    take = np.arange(table.num_rows)
    take[[row for row, _ in pairs]] = table.num_rows + np.arange(len(pairs))
    cells = new.take(pa.array([j for _, j in pairs], pa.int64()))
    for field in new.schema:
        if field.name in _KEYS:
            continue
        at = table.schema.get_field_index(field.name)
        if at < 0:
            table = table.append_column(field.remove_metadata(), pa.nulls(table.num_rows, field.type))
            at = table.num_columns - 1
        column, added = table.column(at), cells.column(field.name).cast(table.schema.field(at).type)
        both = pa.chunked_array([*column.chunks, *added.chunks], column.type)
        table = table.set_column(at, table.schema.field(at), both.take(pa.array(take)))
    return table


def _by_path(view: pa.Table, new: pa.Table) -> list[tuple[int, int]]:
    wanted = new.column("path").combine_chunks()
    found = pc.index_in(view.column("path"), value_set=wanted).to_numpy(zero_copy_only=False).astype(float)
    return [(int(row), int(found[row])) for row in np.flatnonzero(~np.isnan(found))]


def _fresh_enough(
    head: Head, view: pa.Table, changes: Changes, new: pa.Table, pairs: list[tuple[int, int]], outcome: Outcome
) -> list[tuple[int, int]]:
    """The pairs whose new object is not older than the horizon: a prune might have deleted it."""
    if "object_id" not in new.schema.names:
        return pairs
    ids = new.column("object_id")
    stale = {row for row, j in pairs if changes.put_times.get(ids[j].as_py(), head.horizon) < head.horizon}
    stale = _with_others(view, pairs, stale)
    outcome.stale += [_path(view, row) for row, _ in pairs if row in stale]
    return [pair for pair in pairs if pair[0] not in stale]


def _with_others(view: pa.Table, pairs: list[tuple[int, int]], rows: set[int]) -> set[int]:
    """These rows, and the others of the same objects that are to be rewritten: they change together or not at all."""
    if not rows:
        return rows
    ids = view.column("object_id")
    objects = {ids[row].as_py() for row in rows}
    return {row for row, _ in pairs if ids[row].as_py() in objects}


def _people_after(view: pa.Table, new: pa.Table, pairs: list[tuple[int, int]]) -> pa.Table:
    """The columns that decide whether rows may enter, as they are after the rewrite."""
    old = view.take(pa.array([row for row, _ in pairs], pa.int64()))
    cells = new.take(pa.array([j for _, j in pairs], pa.int64()))
    there = {*old.schema.names, *cells.schema.names}
    names = [name for name in CHECKED if name in there]
    columns = [(cells if name in cells.schema.names else old).column(name) for name in names]
    return pa.table(columns, names=names)


def _check_people(view: pa.Table, new: pa.Table, pairs: list[tuple[int, int]], drop: set[int]) -> None:
    """All rows of an object name the same people, so that erasing one of them takes the whole object out."""
    if "subjects" not in new.schema.names:
        return
    after: dict[int, Any] = {row: new.column("subjects")[j].as_py() for row, j in pairs}
    ids = view.column("object_id")
    moved = {row: new.column("object_id")[j].as_py() for row, j in pairs} if "object_id" in new.schema.names else {}
    touched = pc.unique(ids.take(pa.array(sorted(after), pa.int64())))
    people: dict[bytes, set[str]] = {}
    for row in np.flatnonzero(pc.is_in(ids, value_set=touched).to_numpy(zero_copy_only=False)).tolist():
        if row in drop:
            continue
        names = set(after.get(row) or view.column("subjects")[row].as_py())
        object_id = moved.get(row) or ids[row].as_py()
        if people.setdefault(object_id, names) != names:
            raise InvalidArgument(
                f"rows of object {object_id.hex()} would name different people: change all of its rows, or split it "
                "into objects first"
            )


def _path(view: pa.Table, row: int) -> str:
    path: str = view.column("path")[row].as_py()
    return path
