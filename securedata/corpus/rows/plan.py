"""Plan what a commit does to a given head; nothing is written.

Each try of a commit, the first included, is planned against the head that it is about to replace, so rows are always
checked against the current ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.packs import moves as packing
from securedata.corpus.rows.changes import Changes, Edit, Fresh, Plan, ReadTable, Slot
from securedata.corpus.rows.checks import held, refused
from securedata.corpus.rows.match import match
from securedata.corpus.rows.origin import carriers
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.rows.rewrite import match_rewrite, needed
from securedata.corpus.schema import CUT, DESCRIPTIVE, MAX_ROWS, check_types, unknown
from securedata.corpus.state.head import Head
from securedata.errors import InvalidArgument

CHECK = ("path", "object_id", "pack", "source_sha256", "start", "frames_in_segment", "subjects", *CUT.names)
DESCRIBED = ("path", "subjects", *DESCRIPTIVE, "origin")
SMALL = MAX_ROWS // 2
MERGED_BYTES = 64 * 1024 * 1024  # of joined parts, sealed: far below the limit of a part in memory
MERGE_AT = 8


def make_plan(head: Head, changes: Changes, read_table: ReadTable) -> Plan:
    """Plan a commit against `head`. A new pack that would lose a row is left out, and its other rows are stale."""
    plan = _plan(head, changes, read_table, frozenset())
    torn = _of_torn_packs(changes, plan)
    return _plan(head, changes, read_table, torn) if torn else plan


def _of_torn_packs(changes: Changes, plan: Plan) -> frozenset[int]:
    """The rows that a plan adds, by number, from new packs of which it does not add every row."""
    if not changes.whole:
        return frozenset()
    added = sorted(one.i for slot in plan.slots for one in slot.fresh)
    packs = changes.add.column("pack").take(pa.array(added, pa.int64())).to_pylist()
    counts = Counter(packs)
    return frozenset(
        i for i, pack in zip(added, packs, strict=True) if changes.whole.get(pack, counts[pack]) != counts[pack]
    )


def _plan(head: Head, changes: Changes, read_table: ReadTable, torn: frozenset[int]) -> Plan:
    """`torn`: rows of `add`, by number, that are stale."""
    add, outcome, select = changes.add, Outcome(), changes.select
    paths = add.column("path").to_pylist()
    if len(set(paths)) != len(paths):
        raise InvalidArgument("a commit adds the same path twice")
    fresh = {i: Fresh(i) for i in range(len(paths))}
    for i in refused(head, add):
        outcome.erased.append(paths[i])
        del fresh[i]
    ids, stored_as = add.column("object_id").to_pylist(), carriers(add)
    for i in [i for i in fresh if i in torn or changes.put_times.get(stored_as[i], head.horizon) < head.horizon]:
        # before matching: a row must not replace another and then be left out itself
        outcome.stale.append(paths[i])
        del fresh[i]
    others = (*(select.columns if select else ()), *needed(changes), *(one.name for one in unknown(add.schema)))
    moves = changes.moves
    wanted = tuple(dict.fromkeys((*CHECK, *others, *(packing.LOOKED_AT if moves is not None else ()))))
    removed = pa.array(changes.remove, pa.large_string())
    gone: set[str] = set()
    edits: list[Edit] = []
    retired: list[bytes] = []
    views: list[tuple[pa.Table, frozenset[int]]] = []
    dropped: list[pa.Table] = []
    stay: list[pa.Table] = []
    firsts: dict[bytes, bytes] = {}
    found: list[packing.Matched] = []
    in_packs: dict[bytes, bytes] = {}
    for part in head.parts:
        edit = Edit(part)
        if fresh or len(removed) or select or changes.rewrite is not None or moves is not None:
            view = read_table(part, wanted)
            check_types(add.schema, view.schema)
            kept = held(head, view)
            named = _hits(view, removed)
            gone.update(view.column("path").take(pa.array(named, pa.int64())).to_pylist())
            chosen = set() if select is None else {int(i) for i in np.flatnonzero(select.hits(head, view))}
            drop = chosen.union(named)
            outcome.held += [view.column("path")[i].as_py() for i in sorted(drop & kept)]
            drop -= kept
            outcome.removed += len(drop)
            for rows, tables in ((drop & chosen, dropped), (kept & chosen, stay)):
                if rows:
                    tables.append(view.take(pa.array(sorted(rows), pa.int64())))
            describe = partial(read_table, part, DESCRIBED)
            update = match(part, view, changes, fresh, drop, kept, outcome, describe, firsts)
            rewrite, moved = match_rewrite(head, view, changes, drop, kept, outcome)
            edit = Edit(part, frozenset(drop), tuple(update), rewrite)
            views.append((view, edit.drop | moved))
            retired += _retired_objects(view, edit.drop | moved)
            in_packs |= _left_in_packs(view, edit.drop)
            if moves is not None:
                found.append(packing.match_moves(part, view, moves, edit.drop | moved))
        edits.append(edit)
    outcome.missing = [path for path in changes.remove if path not in gone]
    for i in [i for i in fresh if changes.only_updates(i)]:  # the row to update is gone
        outcome.stale.append(paths[i])
        del fresh[i]
    outcome.committed |= {ids[i] for i in fresh} | changes.whole.keys() & {stored_as[i] for i in fresh}
    outcome.added = len(fresh)
    retired = _unneeded(retired, views, outcome.committed)
    moved_slots: list[Slot] = []
    if moves is not None:
        packs = packing.whole_packs(moves, found, changes.put_times, head.horizon)
        found = [packing.only(one, moves, packs) for one in found]
        edits = [replace(edit, moved=frozenset(one.rows)) for edit, one in zip(edits, found, strict=True)]
        moved_slots = packing.moved_slots(edits, found, moves)
        alone = {
            id: first
            for one, (view, _) in zip(found, views, strict=True)
            for id, first in packing.left_alone(view, one.rows).items()
        }
        views = [(view, gone | edit.moved) for edit, (view, gone) in zip(edits, views, strict=True)]
        retired += alone
        firsts |= alone
        outcome.committed |= packs
        outcome.rewritten += sum(len(one.rows) for one in found)
    again = add.column("pack").take(pa.array(sorted(fresh), pa.int64())).to_pylist()
    retired_packs = packing.retired_packs(views, again)
    slots = [Slot((edit,)) for edit in edits if edit.rows] + moved_slots + _fresh_slots(fresh, ids, stored_as)
    if outcome.changes:
        slots = _merged(slots)
    live = {slot.kept.id for slot in slots if slot.kept}
    retired_parts = tuple(part.id for part in head.parts if part.id not in live)
    return Plan(
        tuple(slots),
        retired_parts,
        tuple(retired),
        outcome,
        tuple(dropped),
        tuple(stay),
        firsts,
        retired_packs,
        {id: pack for id, pack in in_packs.items() if id not in outcome.committed},
        any(view.column("pack").null_count < view.num_rows for view, _ in views),
    )


def _hits(view: pa.Table, paths: pa.Array) -> list[int]:
    if not len(paths):
        return []
    found = pc.is_in(view.column("path"), value_set=paths)
    return [int(i) for i in np.flatnonzero(found.to_numpy(zero_copy_only=False))]


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


def _left_in_packs(view: pa.Table, drop: frozenset[int]) -> dict[bytes, bytes]:
    """Packed objects of dropped rows that no row of the part needs any more, and their packs."""
    some = view.take(pa.array(sorted(drop), pa.int64())) if drop else view.slice(0, 0)
    some = some.filter(pc.is_valid(some.column("pack")))
    if not some.num_rows:
        return {}
    ids = view.column("object_id")
    others = {id for i, id in enumerate(ids.to_pylist()) if i not in drop}
    pairs = zip(some.column("object_id").to_pylist(), some.column("pack").to_pylist(), strict=True)
    return {id: pack for id, pack in pairs if id not in others}


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


def _fresh_slots(fresh: Mapping[int, Fresh], ids: Sequence[bytes], stored_as: Sequence[bytes]) -> list[Slot]:
    """Added rows as parts.

    Rows of one object stay together: see `_retired_objects`. So do those of a new pack, in the order in which they were
    added, unless they are more than a part takes.
    """
    together: dict[bytes, list[Fresh]] = {}
    counts = Counter(stored_as[i] for i in fresh)
    for i, one in fresh.items():
        together.setdefault(stored_as[i] if counts[stored_as[i]] <= MAX_ROWS else ids[i], []).append(one)
    slots: list[list[Fresh]] = []
    for id, rows in together.items():
        if len(rows) > MAX_ROWS:
            raise InvalidArgument(f"object {id.hex()} has {len(rows)} rows, more than the {MAX_ROWS} of a part")
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
        ends = last and (last.fresh or (last.moved and (slot.edits or slot.moved)))  # what a part is made of, in order
        if last and fits and min(last.rows, slot.rows) < SMALL and not ends:
            joined[-1] = Slot(last.edits + slot.edits, last.fresh + slot.fresh, last.moved + slot.moved)
        else:
            joined.append(slot)
    return joined
