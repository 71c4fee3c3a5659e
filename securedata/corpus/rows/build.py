"""Build the rows of a new part from live parts and added rows; no row of a live part is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from securedata.corpus.packs.moves import moved_rows, order_of
from securedata.corpus.rows.changes import Changes, Edit, Fresh, ReadTable, Slot
from securedata.corpus.rows.inherit import inherit, with_defaults
from securedata.corpus.rows.origin import carried, stamped
from securedata.corpus.rows.rewrite import rewritten
from securedata.corpus.schema import DESCRIPTIVE, OPTIONAL, with_optional, without_empty
from securedata.corpus.state.head import TableRef
from securedata.errors import MalformedManifest
from securedata.foreign.describe import describe


def join(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several tables, with unknown columns widened to a type that holds all values.

    Raises:
        MalformedManifest: there is no such type.
    """
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise MalformedManifest(
            f"rows cannot be joined into one part (a newer securedata might): {describe(error)}"
        ) from None


def build(slot: Slot, changes: Changes, read_table: ReadTable) -> pa.Table:
    """The rows of a new part.

    Raises:
        MalformedManifest: it would lose rows of the parts that it replaces.
    """
    pieces = [_edited(edit, changes, read_table) for edit in slot.edits]
    if slot.moved and changes.moves is not None:
        pieces.append(join(moved_rows(slot, changes.moves, read_table)).take(order_of(slot)))
    if slot.fresh:
        pieces.append(_fresh_rows(slot, changes, read_table))
    table = without_empty(join(pieces))
    have = set(table.column("path").to_pylist())
    for edit in slot.edits:
        before = read_table(edit.part, ("path",)).column("path").to_pylist()
        leave = edit.drop | edit.moved
        lost = [path for i, path in enumerate(before) if i not in leave and path not in have]
        if lost or table.num_rows != slot.rows:
            raise MalformedManifest(
                f"a new part would lose {max(len(lost), slot.rows - table.num_rows)} rows of part "
                f"{edit.part.id.hex()}; nothing was committed, please report this",
                object_id=edit.part.id,
            )
    if table.num_rows != slot.rows:
        raise MalformedManifest(
            f"a new part would have {table.num_rows} rows, not {slot.rows}; nothing was committed, please report this"
        )
    return table


def _fresh_rows(slot: Slot, changes: Changes, read_table: ReadTable) -> pa.Table:
    """The added rows of a part, in their order, with what they inherit from the rows that they replace."""
    groups: dict[TableRef | None, list[Fresh]] = {}
    places: dict[TableRef | None, list[int]] = {}
    for at, one in enumerate(slot.fresh):
        groups.setdefault(one.part, []).append(one)
        places.setdefault(one.part, []).append(at)
    tables = []
    for part, group in groups.items():
        new = changes.add.take(pa.array([one.i for one in group], pa.int64()))
        if part is None:
            tables.append(stamped(with_defaults(new), changes.put_times))
        else:
            old = read_table(part, None).take(pa.array([one.row for one in group], pa.int64()))
            tables.append(inherit(old, carried(old, new), changes.clear))
    return join(tables).take(pa.array(np.argsort([at for group in places.values() for at in group])))


def _edited(edit: Edit, changes: Changes, read_table: ReadTable) -> pa.Table:
    table = read_table(edit.part, None)
    if edit.update:
        old = table.take(pa.array([row for row, _ in edit.update], pa.int64()))
        new = changes.add.take(pa.array([i for _, i in edit.update], pa.int64()))
        updated = inherit(old, new, changes.clear)
        take = np.arange(table.num_rows)
        take[[row for row, _ in edit.update]] = table.num_rows + np.arange(len(edit.update))
        for name in DESCRIPTIVE:
            if name in OPTIONAL.names and name in updated.schema.names:
                table = with_optional(table, name)
            if name in table.schema.names:
                column = table.column(name)
                both = pa.chunked_array([*column.chunks, *updated.column(name).chunks], column.type)
                at = table.schema.get_field_index(name)
                table = table.set_column(at, table.schema.field(at), both.take(pa.array(take)))
    if edit.rewrite and changes.rewrite is not None:
        table = rewritten(table, changes.rewrite, edit.rewrite)
    if edit.drop or edit.moved:
        keep = np.ones(table.num_rows, dtype=bool)
        keep[sorted(edit.drop | edit.moved)] = False
        table = table.filter(pa.array(keep))
    return table
