"""Match the rows of a live part with rows to add, by path: the same recording, one that is replaced, or a conflict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Changes, Fresh
from securedata.corpus.rows.inherit import changed_columns, inherit
from securedata.corpus.rows.origin import first_objects
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.head import TableRef

_IDENTITY = ("source_sha256", "start", "frames_in_segment", "subjects")


def match(
    part: TableRef,
    view: pa.Table,
    changes: Changes,
    fresh: dict[int, Fresh],
    drop: set[int],
    kept: frozenset[int],
    outcome: Outcome,
    describe: Callable[[], pa.Table],
    firsts: dict[bytes, bytes],
) -> list[tuple[int, int]]:
    """Match rows of a part with rows to add.

    Args:
        fresh: the rows to add; only those that are added or replace a row stay in it.
        drop: rows of the part that are taken out; those that are replaced are added to it.
        kept: rows that must stay as they are.
        describe: reads the descriptive columns of the part, and `origin`.
        firsts: for each object of a row that is replaced by the same recording, the recording's first is added.

    Returns:
        The pairs of rows to update.
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
        elif (changes.replace or changes.reseal) and row in kept:
            outcome.held.append(_cell(add, "path", i))
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
    at = pa.array([row for row, _ in replaced], pa.int64())
    firsts.update(first_objects(view.take(at), old.slice(len(same)), new.slice(len(same))))
    update = [pair for pair, differs_here in zip(same, differs, strict=False) if differs_here]  # the first are `same`
    left = set(same).difference(update)
    outcome.held += [_cell(add, "path", i) for row, i in update if row in kept]
    update = [pair for pair in update if pair[0] not in kept]
    outcome.same += [_cell(add, "path", i) for _, i in left]
    outcome.updated += len(update)
    outcome.unchanged += len(left)
    return update


def _same(one: Any, other: Any) -> bool:
    """Are two cells equal, lists in any order?"""
    return bool(set(one) == set(other) if isinstance(one, list) and isinstance(other, list) else one == other)


def _cell(table: pa.Table, column: str, row: int) -> Any:
    return table.column(column)[row].as_py()
