"""Checks of people's rights, by a head: those that every try of every commit makes, against the head that it is about
to replace, and those of readers.

    rows to add                         of an erased person, a barred consent or a barred recording, or with a frame of
                                        a barred piece in their object: left out (`erased`)
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
from securedata.corpus.segments import Span, span_of_piece
from securedata.corpus.state.head import Head
from securedata.errors import NoSuchHold
from securedata.keys.tags import Tagger

RECORDINGS = ("source_sha256", "recording_sha256")
_PLACE = ("path", "recording", "start")
CHECKED = ("subjects", "consent_id", *RECORDINGS, *_PLACE)
"""Columns that decide whether a row may enter."""


def refused(head: Head, rows: pa.Table) -> list[int]:
    """Rows that must not enter: their person was erased, or their consent or recording is barred.

    `rows` has the column `subjects`, and those of CHECKED that the rows have.
    """
    if not (head.tombstones or head.barred or head.barred_pieces) or not rows.num_rows:
        return []
    tagger = Tagger(head.secret)
    dead = {one.tag for one in head.tombstones}
    barred = frozenset(head.barred)
    people = _column(rows, "subjects")
    consents = _column(rows, "consent_id")
    recordings = _Recordings(head, tagger, rows)

    def enters(i: int) -> bool:
        if any(tagger.tag(name) in dead for name in people[i]) or recordings.barred(i):
            return False
        return not (barred and any(tagger.consent(name, consents[i]) in barred for name in people[i]))

    return [i for i in range(rows.num_rows) if not enters(i)]


def piece_of(path: str, recording: str | None, start: int | None) -> Span | None:
    """What an object holds of the recording that it was cut from; None: all of it, for all that the row says."""
    return None if start is not None or recording is None else span_of_piece(path, recording)


class _Recordings:
    """Which rows hold a barred recording, or a frame of a barred piece."""

    def __init__(self, head: Head, tagger: Tagger, rows: pa.Table) -> None:
        self._tagger, self._whole = tagger, frozenset(head.barred)
        self._pieces: dict[bytes, list[Span]] = {}
        for one in head.barred_pieces:
            self._pieces.setdefault(one.tag, []).append((one.start, one.start + one.frames))
        self._digests = [_column(rows, name) for name in RECORDINGS]
        self._places = [_column(rows, name) for name in _PLACE]

    def barred(self, i: int) -> bool:
        if not (self._whole or self._pieces):
            return False
        source, recording = (column[i] for column in self._digests)
        if source is not None and self._has(source, None):
            return True
        if recording is None:
            return False
        path, name, start = (column[i] for column in self._places)
        return self._has(recording, None if path is None else piece_of(path, name, start))

    def _has(self, sha256: bytes, span: Span | None) -> bool:
        tag = self._tagger.recording(sha256)
        if tag in self._whole:
            return True
        pieces = self._pieces.get(tag, ())
        return bool(pieces) if span is None else any(span[0] < stop and start < span[1] for start, stop in pieces)


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
