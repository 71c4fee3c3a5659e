"""Plan what a commit does to a given head; nothing is written.

Each try of a commit, the first included, is planned against the head that it is about to replace, so rows are always
checked against the current ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.inherit import Clear, changed_columns, inherit, with_defaults
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import CUT, DESCRIPTIVE, MAX_ROWS, check_types, unknown
from securedata.corpus.state.head import Head, TableRef
from securedata.errors import InvalidArgument, MalformedManifest
from securedata.foreign.describe import describe
from securedata.keys.tags import Tagger

CHECK = ("path", "object_id", "pack", "source_sha256", "start", "frames_in_segment", "subjects", *CUT.names)
DESCRIBED = ("path", "subjects", *DESCRIPTIVE)
_IDENTITY = ("source_sha256", "start", "frames_in_segment", "subjects")
SMALL = MAX_ROWS // 2
MERGED_BYTES = 64 * 1024 * 1024  # of joined parts, sealed: far below the limit of a part in memory
MERGE_AT = 8

ReadTable = Callable[[TableRef, Sequence[str] | None], pa.Table]
"""Reads a live part: all columns (None), or those named."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one logical commit.

    Attributes:
        add: new rows, followed by rows that may only update existing ones.
        updates: how many rows of `add` are of the second kind.
        remove: logical paths.
        replace: a new row replaces one that has other content or people.
        reseal: a new row also replaces one of the same recording.
        put_times: storage's time of each new object, by object id.
        clear: cells of existing rows that are emptied, rather than kept, where `add` leaves them empty.
    """

    add: pa.Table = field(repr=False)
    updates: int = 0
    remove: tuple[str, ...] = field(default=(), repr=False)
    replace: bool = False
    reseal: bool = False
    put_times: Mapping[bytes, float] = field(default_factory=dict)
    clear: Clear = field(default_factory=dict, repr=False)

    def only_updates(self, i: int) -> bool:
        """May this row of `add` only update an existing one? It brings no object of its own."""
        return i >= int(self.add.num_rows) - self.updates


@dataclass(frozen=True, slots=True)
class Edit:
    """A live part as a new part takes it over: rows to drop, and rows to update from rows of `add`."""

    part: TableRef
    drop: frozenset[int] = frozenset()
    update: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> int:
        return self.part.rows - len(self.drop)

    @property
    def changed(self) -> bool:
        return bool(self.drop or self.update)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A row of `add` that is added with its object; it inherits from row `row` of the live part `part`, if any."""

    i: int
    part: TableRef | None = None
    row: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One part of the next head: a live part kept as it is, or a new one made of edits and added rows.

    Within one logical commit, equal slots hold equal rows, so a part made for one try can be used by the next.
    """

    edits: tuple[Edit, ...]
    fresh: tuple[Fresh, ...] = ()

    @property
    def kept(self) -> TableRef | None:
        return self.edits[0].part if len(self.edits) == 1 and not self.fresh and not self.edits[0].changed else None

    @property
    def rows(self) -> int:
        return sum(edit.rows for edit in self.edits) + len(self.fresh)

    @property
    def size(self) -> int:
        """Total size of the sealed parts that it is made of."""
        return sum(edit.part.size for edit in self.edits)


@dataclass(frozen=True, slots=True)
class Plan:
    """The next head's parts in order, what the commit takes out, and its outcome."""

    slots: tuple[Slot, ...]
    retired_parts: tuple[bytes, ...]
    retired_objects: tuple[bytes, ...]
    outcome: Outcome


def make_plan(head: Head, changes: Changes, read_table: ReadTable) -> Plan:
    """Plan a commit against `head`."""
    add, outcome = changes.add, Outcome()
    paths = add.column("path").to_pylist()
    if len(set(paths)) != len(paths):
        raise InvalidArgument("a commit adds the same path twice")
    fresh = {i: Fresh(i) for i in range(len(paths))}
    for i in tombstoned(head, add):
        outcome.erased.append(paths[i])
        del fresh[i]
    ids = add.column("object_id").to_pylist()
    for i in [i for i in fresh if changes.put_times.get(ids[i], head.horizon) < head.horizon]:
        # before matching: a row must not replace another and then be left out itself
        outcome.stale.append(paths[i])
        del fresh[i]
    wanted = (*CHECK, *(one.name for one in unknown(add.schema) if one.name not in CHECK))
    removed = pa.array(changes.remove, pa.large_string())
    gone: set[str] = set()
    edits: list[Edit] = []
    retired: list[bytes] = []
    views: list[tuple[pa.Table, frozenset[int]]] = []
    for part in head.parts:
        edit = Edit(part)
        if fresh or len(removed):
            view = read_table(part, wanted)
            check_types(add.schema, view.schema)
            drop = set(_hits(view, removed))
            gone.update(view.column("path").take(pa.array(sorted(drop), pa.int64())).to_pylist())
            outcome.removed += len(drop)
            update = _match(part, view, changes, fresh, drop, outcome, partial(read_table, part, DESCRIBED))
            edit = Edit(part, frozenset(drop), tuple(update))
            views.append((view, edit.drop))
            retired += _retired_objects(view, edit.drop)
        edits.append(edit)
    outcome.missing = [path for path in changes.remove if path not in gone]
    for i in [i for i in fresh if changes.only_updates(i)]:  # the row to update is gone
        outcome.stale.append(paths[i])
        del fresh[i]
    outcome.committed = {ids[i] for i in fresh}
    outcome.added = len(fresh)
    retired = _unneeded(retired, views, outcome.committed)
    slots = [Slot((edit,)) for edit in edits if edit.rows] + _fresh_slots(fresh, ids)
    if outcome.changes:
        slots = _merged(slots)
    kept = {slot.kept.id for slot in slots if slot.kept}
    return Plan(tuple(slots), tuple(part.id for part in head.parts if part.id not in kept), tuple(retired), outcome)


def check_objects(add: pa.Table) -> None:
    """Refuse rows of one object that name different people: erasing one person would take the others' object away.

    Raises:
        InvalidArgument
    """
    people: dict[bytes, set[str]] = {}
    for object_id, names in zip(add.column("object_id").to_pylist(), add.column("subjects").to_pylist(), strict=True):
        if people.setdefault(object_id, set(names)) != set(names):
            raise InvalidArgument(f"rows of object {object_id.hex()} name different people: split it into objects")


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
    if slot.fresh:
        pieces += _fresh_rows(slot, changes, read_table)
    table = join(pieces)
    have = set(table.column("path").to_pylist())
    for edit in slot.edits:
        before = read_table(edit.part, ("path",)).column("path").to_pylist()
        lost = [path for i, path in enumerate(before) if i not in edit.drop and path not in have]
        if lost or table.num_rows != slot.rows:
            raise MalformedManifest(
                f"a new part would lose {max(len(lost), slot.rows - table.num_rows)} rows of part "
                f"{edit.part.id.hex()}; nothing was committed, please report this",
                object_id=edit.part.id,
            )
    return table


def tombstoned(head: Head, add: pa.Table) -> list[int]:
    """The rows of erased people; `add` has a column `subjects`."""
    if not head.tombstones or not add.num_rows:
        return []
    dead, tagger = {one.tag for one in head.tombstones}, Tagger(head.secret)
    return [
        i
        for i, names in enumerate(add.column("subjects").to_pylist())
        if any(tagger.tag(name) in dead for name in names)
    ]


def _hits(view: pa.Table, paths: pa.Array) -> list[int]:
    if not len(paths):
        return []
    found = pc.is_in(view.column("path"), value_set=paths)
    return [int(i) for i in np.flatnonzero(found.to_numpy(zero_copy_only=False))]


def _match(
    part: TableRef,
    view: pa.Table,
    changes: Changes,
    fresh: dict[int, Fresh],
    drop: set[int],
    outcome: Outcome,
    describe: Callable[[], pa.Table],
) -> list[tuple[int, int]]:
    """Match rows of a part with rows to add, by path: the same recording, replaced, or a conflict.

    Returns the pairs of rows to update. Only rows that are added or replace one stay in `fresh`.
    """
    if not fresh:
        return []
    add = changes.add
    wanted = add.column("path").combine_chunks()
    found = pc.index_in(view.column("path"), value_set=wanted).to_numpy(zero_copy_only=False)
    hits = [(int(row), int(found[row])) for row in np.flatnonzero(~np.isnan(found.astype(float)))]
    hits = [(row, i) for row, i in hits if row not in drop and i in fresh]
    same, replaced = [], []
    for row, i in hits:
        identical = all(_same(_cell(view, column, row), _cell(add, column, i)) for column in _IDENTITY)
        if identical and not (changes.reseal and not changes.only_updates(i)):
            same.append((row, i))
        elif changes.only_updates(i):
            outcome.stale.append(_cell(add, "path", i))
        elif changes.replace or changes.reseal:
            drop.add(row)
            replaced.append((row, i))
            fresh[i] = Fresh(i, part, row)
            continue
        else:
            outcome.conflicts.append(_cell(add, "path", i))
        del fresh[i]
    outcome.replaced += len(replaced)
    if not same and not replaced:
        return []
    both = [*same, *replaced]
    old = describe().take(pa.array([row for row, _ in both], pa.int64()))
    new = add.take(pa.array([i for _, i in both], pa.int64()))
    differs, counts = changed_columns(old, inherit(old, new, changes.clear))
    outcome.columns += counts
    update = [pair for pair, differs_here in zip(same, differs, strict=False) if differs_here]  # the first are `same`
    left = set(same).difference(update)
    outcome.same += [_cell(add, "path", i) for _, i in left]
    outcome.updated += len(update)
    outcome.unchanged += len(same) - len(update)
    return update


def _same(one: Any, other: Any) -> bool:
    """Are two cells equal, lists in any order?"""
    return bool(set(one) == set(other) if isinstance(one, list) and isinstance(other, list) else one == other)


def _cell(table: pa.Table, column: str, row: int) -> Any:
    return table.column(column)[row].as_py()


def _retired_objects(view: pa.Table, drop: frozenset[int]) -> list[bytes]:
    """Objects of dropped rows that no row of the part needs any more.

    All rows of an object are in one part: one commit writes them, and merges keep parts whole. A packed object stays in
    its pack until that is rewritten.
    """
    if not drop:
        return []
    ids = view.column("object_id").to_pylist()
    packs = view.column("pack")
    needed = {id for i, id in enumerate(ids) if i not in drop}
    return list(dict.fromkeys(ids[i] for i in sorted(drop) if ids[i] not in needed and packs[i].as_py() is None))


def _unneeded(
    retired: list[bytes], views: list[tuple[pa.Table, frozenset[int]]], committed: Iterable[bytes]
) -> list[bytes]:
    """`retired` without what the next head names: a row is renamed by adding it again with the same object."""
    if not retired:
        return retired
    wanted, needed = pa.array(retired, pa.binary(16)), set(committed)
    for view, drop in views:
        column = view.column("object_id")
        found = np.flatnonzero(pc.is_in(column, value_set=wanted).to_numpy(zero_copy_only=False)).tolist()
        needed.update(column.take(pa.array([row for row in found if row not in drop], pa.int64())).to_pylist())
    return [id for id in retired if id not in needed]


def _fresh_slots(fresh: Mapping[int, Fresh], ids: Sequence[bytes]) -> list[Slot]:
    """Added rows as parts. Rows of one object stay together: see `_retired_objects`."""
    objects: dict[bytes, list[Fresh]] = {}
    for i, one in fresh.items():
        objects.setdefault(ids[i], []).append(one)
    slots: list[list[Fresh]] = []
    for object_id, rows in objects.items():
        if len(rows) > MAX_ROWS:
            raise InvalidArgument(f"object {object_id.hex()} has {len(rows)} rows, more than the {MAX_ROWS} of a part")
        if not slots or len(slots[-1]) + len(rows) > MAX_ROWS:
            slots.append([])
        slots[-1] += rows
    return [Slot((), tuple(rows)) for rows in slots]


def _merged(slots: list[Slot]) -> list[Slot]:
    """Join neighbouring small parts once there are several, so that opening a corpus takes few requests."""
    if sum(slot.rows < SMALL for slot in slots) < MERGE_AT:
        return slots
    joined: list[Slot] = []
    for slot in slots:
        last = joined[-1] if joined else None
        fits = last and last.rows + slot.rows <= MAX_ROWS and last.size + slot.size <= MERGED_BYTES
        if last and fits and min(last.rows, slot.rows) < SMALL and not last.fresh:
            joined[-1] = Slot(last.edits + slot.edits, last.fresh + slot.fresh)
        else:
            joined.append(slot)
    return joined


def _fresh_rows(slot: Slot, changes: Changes, read_table: ReadTable) -> list[pa.Table]:
    """The added rows of a part, with what they inherit from the rows that they replace."""
    groups: dict[TableRef | None, list[Fresh]] = {}
    for one in slot.fresh:
        groups.setdefault(one.part, []).append(one)
    tables = []
    for part, group in groups.items():
        new = changes.add.take(pa.array([one.i for one in group], pa.int64()))
        if part is None:
            tables.append(with_defaults(new))
        else:
            old = read_table(part, None).take(pa.array([one.row for one in group], pa.int64()))
            tables.append(inherit(old, new, changes.clear))
    return tables


def _edited(edit: Edit, changes: Changes, read_table: ReadTable) -> pa.Table:
    table = read_table(edit.part, None)
    if edit.update:
        old = table.take(pa.array([row for row, _ in edit.update], pa.int64()))
        new = changes.add.take(pa.array([i for _, i in edit.update], pa.int64()))
        updated = inherit(old, new, changes.clear)
        take = np.arange(table.num_rows)
        take[[row for row, _ in edit.update]] = table.num_rows + np.arange(len(edit.update))
        for name in DESCRIPTIVE:
            if name in table.schema.names:
                column = table.column(name)
                both = pa.chunked_array([*column.chunks, *updated.column(name).chunks], column.type)
                at = table.schema.get_field_index(name)
                table = table.set_column(at, table.schema.field(at), both.take(pa.array(take)))
    if edit.drop:
        keep = np.ones(table.num_rows, dtype=bool)
        keep[sorted(edit.drop)] = False
        table = table.filter(pa.array(keep))
    return table
