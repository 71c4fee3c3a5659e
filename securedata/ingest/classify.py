"""Decides what to do with each source row, by comparing columns with the corpus, without reading a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.inherit import CLEARABLE, Clear, changed_columns, inherit, unequal
from securedata.corpus.schema import CUT, SCHEMA
from securedata.corpus.segments import recording_path
from securedata.corpus.state.head import Head, TableRef

FROM_SOURCE = ("speaker", "utterance", "transcript", "split", "language", "extra")
"""Columns of a source list that are corrected without sealing anything. Empty cells change nothing."""

_COLUMNS = ("path", "size", "source_mtime_ns", "subjects", "start", *CUT.names)

_Mask = np.ndarray[Any, np.dtype[np.bool_]]

ReadTable = Callable[[TableRef, Sequence[str] | None], pa.Table]


class Todo(IntEnum):
    """What to do with a source row."""

    SEAL = 0
    SKIP = 1  # same size, mtime and words
    UPDATE = 2  # same size and mtime, other words
    HASH = 3  # same size, another mtime: the digest decides
    CONFLICT = 4  # other content or people under a path of the corpus
    LEAVE = 5  # should be an object of its own, but shares one with everyone in its recording


class Known:
    """For each source row: what to do, and where its row is in the corpus.

    Attributes:
        todo: a `Todo` for each.
        part: the index of its part in `parts`; -1 if it has no row.
        row: the index of its row in that part.
        differs: whether its words or mtime differ from the row's, whatever the content.
        cut: whether it is a segment whose row holds that segment only, cut from the recording that the row's
            `recording_size` and `recording_sha256` describe.
        apart: whether it must be an object of its own although the sources do not ask for it: other segments of its
            recording are, since different people speak in it.
        parts: those of the head that was compared. The writer's head can change at any time, when a thread renews the
            keys and reads it again, and then the indices would mean other rows.
    """

    def __init__(self, rows: int, parts: tuple[TableRef, ...]) -> None:
        self.parts = parts
        self.todo = np.zeros(rows, dtype=np.int8)
        self.part = np.full(rows, -1, dtype=np.int32)
        self.row = np.zeros(rows, dtype=np.int64)
        self.differs = np.zeros(rows, dtype=bool)
        self.cut = np.zeros(rows, dtype=bool)
        self.apart = np.zeros(rows, dtype=bool)


def classify(
    sources: pa.Table,
    head: Head,
    read_table: ReadTable,
    *,
    replace: bool,
    checksum: bool,
    reseal: bool = False,
    clear: Clear | None = None,
) -> Known:
    """Compare source rows with a corpus.

    Args:
        sources: columns of a SourceList.
        read_table: reads a live part.
        replace: seal what differs again, instead of reporting a conflict.
        checksum: compare digests even if size and mtime are the same.
        reseal: seal again what the corpus has already.
        clear: columns to empty where the sources leave them out.
    """
    columns = (*_COLUMNS, *(CLEARABLE if clear else FROM_SOURCE))
    known = Known(sources.num_rows, head.parts)
    for number, part in enumerate(head.parts):
        table = read_table(part, columns)
        classify_part(known, number, table, sources, replace=replace, checksum=checksum, reseal=reseal, clear=clear)
    return known


def classify_part(
    known: Known,
    number: int,
    table: pa.Table,
    sources: pa.Table,
    *,
    replace: bool,
    checksum: bool,
    reseal: bool = False,
    clear: Clear | None = None,
) -> None:
    """As `classify`, for the rows of one part, or of a corpus that is open for reading."""
    known.apart |= _cut_before(table, sources)
    found = pc.index_in(table.column("path"), value_set=sources.column("path").combine_chunks())
    rows = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False))
    if not len(rows):
        return
    at = pc.drop_null(found).to_numpy().astype(np.int64)
    old, new = table.take(pa.array(rows)), sources.take(pa.array(at))
    known.part[at], known.row[at] = number, rows
    known.cut[at] = _is_cut(old) & pc.is_valid(new["start"]).to_numpy(zero_copy_only=False)
    if reseal:
        known.todo[at] = Todo.SEAL
    else:
        known.todo[at], known.differs[at] = _compare(old, new, known.cut[at], replace, checksum, clear)


def mentioned_by(sources: pa.Table) -> pa.Table:
    """The source rows in the columns of the corpus; null in columns that sources do not have."""
    others = [SCHEMA.field(name) for name in CLEARABLE if name not in sources.schema.names]
    table = sources.select(["path", "subjects", *FROM_SOURCE])
    at = table.schema.get_field_index("utterance")
    given = pc.if_else(sources.column("utterance_given"), table.column("utterance"), "")
    table = table.set_column(at, table.schema.field(at), given)
    for field in others:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.append_column(SCHEMA.field("source_mtime_ns"), sources.column("mtime_ns"))


def of_recordings(rows: pa.Table, name: str, otherwise: str, which: _Mask | None = None) -> pa.ChunkedArray:
    """Column `name` of CUT for rows that were cut from a recording (`which` of them), `otherwise` for the rest."""
    cut = _is_cut(rows)
    cut = cut if which is None else cut & which
    return pc.if_else(pa.array(cut), rows.column(name), rows.column(otherwise)) if cut.any() else rows.column(otherwise)


def _is_cut(rows: pa.Table) -> _Mask:
    """Which rows hold a segment that was cut from a recording: those with null in `start`, see CUT."""
    if any(name not in rows.schema.names or rows.schema.field(name).type != CUT.field(name).type for name in CUT.names):
        return np.zeros(rows.num_rows, dtype=bool)
    valid = [pc.is_valid(rows.column(name)).to_numpy(zero_copy_only=False) for name in ("start", *CUT.names)]
    mask: _Mask = ~valid[0] & valid[1] & valid[2] & valid[3]
    return mask


def _cut_before(table: pa.Table, sources: pa.Table) -> _Mask:
    """Source rows that are segments of a recording of which the corpus has segments as objects of their own."""
    mask, cut = np.zeros(sources.num_rows, dtype=bool), _is_cut(table)
    if not cut.any():
        return mask
    recordings = set(table.column("recording").filter(pa.array(cut)).to_pylist())
    columns = [sources.column(name).to_pylist() for name in ("path", "start", "frames_in_segment")]
    for i, (path, start, frames) in enumerate(zip(*columns, strict=True)):
        mask[i] = start is not None and recording_path(path, start, frames) in recordings
    return mask


def _compare(
    old: pa.Table, new: pa.Table, cut: _Mask, replace: bool, checksum: bool, clear: Clear | None
) -> tuple[np.ndarray[Any, np.dtype[np.int8]], np.ndarray[Any, np.dtype[np.bool_]]]:
    # the listing has no size of a recording in Parquet, but an mtime
    same_size = _equal(of_recordings(old, "recording_size", "size", cut), new["size"]) | (new["size"].to_numpy() < 0)
    same_time = _equal(old["source_mtime_ns"], new["mtime_ns"])
    same_people = ~unequal(old["subjects"], new["subjects"])
    shares = pc.and_(pc.is_valid(old["start"]), new["apart"]).to_numpy(zero_copy_only=False)
    before = old.drop_columns(["source_mtime_ns"])  # which is compared separately
    kept = inherit(before, mentioned_by(new), clear)
    same_words = ~changed_columns(before.drop_columns(["subjects"]), kept)[0]
    other = Todo.SEAL if replace else Todo.CONFLICT
    todo = np.where(same_words, Todo.SKIP, Todo.UPDATE)
    timed = ~_equal(new["mtime_ns"], pa.scalar(0, pa.int64()))  # some storage has no time for a file
    todo = np.where(same_time & timed & (not checksum), todo, Todo.HASH)
    todo = np.where(same_size & same_people & ~shares, todo, other)
    todo = np.where(same_size & shares & (not replace), Todo.LEAVE, todo)
    return todo.astype(np.int8), ~same_words | (timed & ~same_time)


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray | pa.Scalar) -> np.ndarray[Any, np.dtype[np.bool_]]:
    same: np.ndarray[Any, np.dtype[np.bool_]] = pc.equal(left, right).to_numpy(zero_copy_only=False)
    return same
