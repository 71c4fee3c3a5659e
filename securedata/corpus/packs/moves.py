"""Give objects another place, in packs, by compare and swap: an object moves only if it still is where it was.

A pack is named whole or not at all: if the row of one member was removed, replaced or moved meanwhile, the commit does
not name the pack, so no new pack holds bytes of a person who was erased while it was written. All rows that move are
taken out of their parts and put into new ones in the order of the moves: the rows of a pack stand together, in the
order of their offsets, and a run of rows is a run of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Edit, Moved, ReadTable, Slot
from securedata.corpus.schema import MAX_ROWS, optional
from securedata.corpus.state.head import TableRef
from securedata.errors import InvalidArgument, MalformedManifest

MOVES = pa.schema(
    [
        pa.field("object_id", pa.binary(16), nullable=False),
        pa.field("old_pack", pa.binary(16)),
        pa.field("old_offset", pa.int64()),
        pa.field("pack", pa.binary(16), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)
"""An object, where it is (null: it has a storage key of its own), and where it will be; in the order of the rows."""

LOOKED_AT = ("offset", "origin")
"""Columns of the live parts that matching moves looks at, besides those of every commit."""

Views = Sequence[tuple[pa.Table, frozenset[int]]]
"""Each live part, and its rows that leave their place."""


@dataclass(slots=True)
class Matched:
    """Rows of one live part whose objects move, and their places in the table of moves."""

    part: TableRef
    rows: list[int]
    js: list[int]


def match_moves(part: TableRef, view: pa.Table, moves: pa.Table, drop: Iterable[int]) -> Matched:
    """The rows of a part that name an object to move, at the place where the move found it, and are not taken out."""
    out = frozenset(drop)
    ids = moves.column("object_id").combine_chunks()
    found = pc.index_in(view.column("object_id"), value_set=ids)
    rows = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False))
    js = found.drop_null().to_numpy(zero_copy_only=False)
    same = np.ones(len(rows), dtype=bool)
    for new, old in (("pack", "old_pack"), ("offset", "old_offset")):
        mine, theirs = view.column(new).take(pa.array(rows)), moves.column(old).take(pa.array(js))
        both = pc.and_(pc.is_null(mine), pc.is_null(theirs))
        same &= pc.or_(pc.fill_null(pc.equal(mine, theirs), False), both).to_numpy(zero_copy_only=False)
    pairs = [(int(row), int(j)) for row, j in zip(rows[same], js[same], strict=True) if int(row) not in out]
    return Matched(part, [row for row, _ in pairs], [j for _, j in pairs])


def whole_packs(moves: pa.Table, found: Sequence[Matched], times: Mapping[bytes, float], horizon: float) -> set[bytes]:
    """The new packs whose members were all found, and that are not older than the horizon."""
    there = np.zeros(moves.num_rows, dtype=bool)
    for one in found:
        there[one.js] = True
    packs = moves.column("pack")
    lacking = set(packs.filter(pa.array(~there)).to_pylist())
    return {id for id in pc.unique(packs).to_pylist() if id not in lacking and times.get(id, horizon) >= horizon}


def only(found: Matched, moves: pa.Table, packs: set[bytes]) -> Matched:
    """Those of the rows that move into these packs."""
    into = moves.column("pack").take(pa.array(found.js, pa.int64())).to_pylist()
    kept = [at for at, pack in enumerate(into) if pack in packs]
    return Matched(found.part, [found.rows[at] for at in kept], [found.js[at] for at in kept])


def left_alone(view: pa.Table, rows: Sequence[int]) -> dict[bytes, bytes]:
    """Of rows that move, the objects with storage keys of their own, each with the id of its recording's first."""
    some = view.take(pa.array(rows, pa.int64()))
    some = some.filter(pc.is_null(some.column("pack")))
    ids = some.column("object_id")
    return dict(zip(ids.to_pylist(), pc.coalesce(optional(some, "origin"), ids).to_pylist(), strict=True))


def retired_packs(views: Views, added: Iterable[bytes | None]) -> tuple[bytes, ...]:
    """Packs that no row names any more once these rows have left their place, and `added` name packs again."""
    gone: set[bytes] = set()
    for view, rows in views:
        if rows:
            gone.update(pc.unique(view.column("pack").take(pa.array(sorted(rows), pa.int64()))).drop_null().to_pylist())
    if not gone:
        return ()
    gone.difference_update(one for one in added if one is not None)
    wanted = pa.array(sorted(gone), pa.binary(16))
    for view, rows in views:
        packs = view.column("pack")
        mask = pc.is_in(packs, value_set=wanted).to_numpy(zero_copy_only=False).copy()
        mask[sorted(rows)] = False
        gone.difference_update(packs.filter(pa.array(mask)).to_pylist())
    return tuple(sorted(gone))


def moved_slots(edits: Sequence[Edit], found: Sequence[Matched], moves: pa.Table) -> list[Slot]:
    """New parts for the rows that move, in the order of the moves; a pack is not split between two if it fits in one.

    Raises:
        InvalidArgument: an object has more rows than a part.
        MalformedManifest: a row would be lost.
    """
    rows = [Moved(one.part, row, j) for one in found for row, j in zip(one.rows, one.js, strict=True)]
    rows.sort(key=lambda one: one.j)  # stable: the rows of an object keep their order
    packs = moves.column("pack").to_pylist()
    slots: list[list[Moved]] = []
    for pack in _runs(rows, lambda one: packs[one.j]):
        for piece in [pack] if len(pack) <= MAX_ROWS else _runs(pack, lambda one: one.j):
            if len(piece) > MAX_ROWS:
                raise InvalidArgument(f"an object has {len(piece)} rows, more than the {MAX_ROWS} of a part")
            if not slots or len(slots[-1]) + len(piece) > MAX_ROWS:
                slots.append([])
            slots[-1] += piece
    if sum(map(len, slots)) != sum(len(edit.moved) for edit in edits):
        raise MalformedManifest("rows that move would be lost; nothing was committed, please report this")
    return [Slot((), moved=tuple(slot)) for slot in slots]


def _runs(rows: Sequence[Moved], key: Callable[[Moved], object]) -> list[list[Moved]]:
    runs: list[list[Moved]] = []
    last: object = None
    for one in rows:
        if not runs or key(one) != last:
            runs.append([])
            last = key(one)
        runs[-1].append(one)
    return runs


def moved_rows(slot: Slot, moves: pa.Table, read_table: ReadTable) -> list[pa.Table]:
    """The rows of a new part that move, from the parts that they were in, at their new places; unordered."""
    groups: dict[TableRef, list[Moved]] = {}
    for one in slot.moved:
        groups.setdefault(one.part, []).append(one)
    tables = []
    for part, group in groups.items():
        table = read_table(part, None).take(pa.array([one.row for one in group], pa.int64()))
        places = moves.take(pa.array([one.j for one in group], pa.int64()))
        for name in ("pack", "offset"):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), places.column(name))
        tables.append(table)
    return tables


def order_of(slot: Slot) -> pa.Array:
    """Takes the rows of `moved_rows`, joined, into the order of the moves."""
    groups: dict[TableRef, list[int]] = {}
    for one in slot.moved:
        groups.setdefault(one.part, []).append(one.j)
    return pa.array(np.argsort([j for js in groups.values() for j in js], kind="stable"))
