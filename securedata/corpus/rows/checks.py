"""Checks of people's rights, by a head: those that every try of every commit makes, against the head that it is about
to replace, and those of readers.

    rows to add                         of an erased person, a barred consent or a barred recording: left out (`erased`)
    rows to take out, replace, change   of a held person: left as they are (`held`), unless only their place changes

A reader opens no row of a person whose erasure waits for the end of a hold, except for those who work on the case.
Conflicts, staleness and compare and swap are checked where rows are matched: see `plan` and `match`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Mask
from securedata.corpus.state.head import Head
from securedata.errors import NoSuchHold
from securedata.keys.tags import Tagger

RECORDINGS = ("source_sha256", "recording_sha256")


def refused(head: Head, rows: pa.Table) -> list[int]:
    """Rows that must not enter: their person was erased, or their consent or recording is barred.

    `rows` has the column `subjects`, and where it has them `consent_id` and the digests of recordings.
    """
    if not (head.tombstones or head.barred) or not rows.num_rows:
        return []
    tagger = Tagger(head.secret)
    dead = {one.tag for one in head.tombstones}
    barred = frozenset(head.barred)
    people = _column(rows, "subjects")
    consents = _column(rows, "consent_id")
    digests = list(zip(*(_column(rows, name) for name in RECORDINGS), strict=True))

    def enters(i: int) -> bool:
        if any(tagger.tag(name) in dead for name in people[i]):
            return False
        if not barred:
            return True
        if any(digest is not None and tagger.recording(digest) in barred for digest in digests[i]):
            return False
        return not any(tagger.consent(name, consents[i]) in barred for name in people[i])

    return [i for i in range(rows.num_rows) if not enters(i)]


def held(head: Head, rows: pa.Table) -> frozenset[int]:
    """Rows of held people; `rows` has the column `subjects`."""
    if not head.holds or not rows.num_rows:
        return frozenset()
    return rows_of(rows, Tagger(head.secret), {one.tag for one in head.holds})


def rows_of(rows: pa.Table, tagger: Tagger, tags: set[bytes]) -> frozenset[int]:
    """Rows that name a person with one of these subject tags. Every name is tagged once."""
    column = rows.column("subjects").combine_chunks()
    names = column.flatten()
    found = [name for name in pc.unique(names).to_pylist() if tagger.tag(name) in tags]
    if not found:
        return frozenset()
    named = pc.is_in(names, value_set=pa.array(found, names.type))
    return frozenset(pc.list_parent_indices(column).filter(named).to_pylist())


def restricted_rows(head: Head) -> Callable[[pa.Table], Mask] | None:
    """Tells which rows of a table with the column `subjects` a restriction closes; None if there is no restriction."""
    if not head.restricted:
        return None
    return _named_by(head, (one.tag for one in head.restricted))


def rows_for_case(head: Head, case: str, root: str) -> Callable[[pa.Table], Mask]:
    """Tells which rows of a table with the column `subjects` name a person whom a case holds.

    Raises:
        NoSuchHold: the case holds nobody.
    """
    tags = [one.tag for one in head.holds if one.case == case]
    if not tags:
        raise NoSuchHold(f"case {case} holds nobody in {root}: 'securedata hold list' shows the cases", root=root)
    return _named_by(head, tags)


def closed_since(head: Head, rows: pa.Table, for_case: bool) -> tuple[frozenset[int], frozenset[int]]:
    """The rows, of those that were opened earlier, of people whom a newer head shows as erased, and as restricted.

    Args:
        for_case: they were opened for a case, so no restriction closes them.
    """
    tagger = Tagger(head.secret)
    erased = {one.tag for one in head.tombstones}
    restricted = set() if for_case else {one.tag for one in head.restricted}
    nothing = frozenset[int]()
    if not rows.num_rows:
        return nothing, nothing
    return (
        rows_of(rows, tagger, erased) if erased else nothing,
        rows_of(rows, tagger, restricted) if restricted else nothing,
    )


def _named_by(head: Head, tags: Iterable[bytes]) -> Callable[[pa.Table], Mask]:
    tagger, wanted = Tagger(head.secret), set(tags)

    def named(rows: pa.Table) -> Mask:
        found = np.zeros(rows.num_rows, dtype=bool)
        if rows.num_rows:
            found[sorted(rows_of(rows, tagger, wanted))] = True
        return found

    return named


def _column(rows: pa.Table, name: str) -> Sequence[Any]:
    if name not in rows.schema.names:
        return [None] * rows.num_rows
    values: list[Any] = rows.column(name).to_pylist()
    return values
