"""Decides what to do with each source row, by comparing columns with the corpus, without reading a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.inherit import CLEARABLE, Clear, changed_columns, inherit, unequal
from securedata.corpus.schema import CUT, SCHEMA
from securedata.corpus.segments import recording_path
from securedata.corpus.state.head import Head, TableRef
from securedata.ingest.same_recording import SameRecording

FROM_SOURCE = ("speaker", "utterance", "transcript", "split", "language", "extra")
"""Columns of a source list that are corrected without sealing anything. Empty cells change nothing."""

_COLUMNS = ("path", "size", "source_mtime_ns", "subjects", "start", "frames_in_segment", *CUT.names)

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
    REFUSE = 6  # sealing it would leave an object that does not name everyone who is heard in it


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
        refused: why a row is not taken, where `todo` is `REFUSE`.
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
        self.refused: dict[int, str] = {}


def classify(
    sources: pa.Table,
    head: Head,
    read_table: ReadTable,
    *,
    replace: bool,
    checksum: bool,
    reseal: bool = False,
    clear: Clear | None = None,
    where_only: bool = False,
) -> Known:
    """Compare source rows with a corpus.

    Args:
        sources: columns of a SourceList.
        read_table: reads a live part.
        replace: seal what differs again, instead of reporting a conflict.
        checksum: compare digests even if size and mtime are the same.
        reseal: seal again what the corpus has already.
        clear: columns to empty where the sources leave them out.
        where_only: find the rows only, not what to do with them.
    """
    columns = (*_COLUMNS, *(CLEARABLE if clear else FROM_SOURCE))
    tables = (read_table(part, columns) for part in head.parts)
    return classify_tables(
        sources,
        head.parts,
        tables,
        replace=replace,
        checksum=checksum,
        reseal=reseal,
        clear=clear,
        where_only=where_only,
    )


def classify_tables(
    sources: pa.Table,
    parts: tuple[TableRef, ...],
    tables: Iterable[pa.Table],
    *,
    replace: bool,
    checksum: bool,
    reseal: bool = False,
    clear: Clear | None = None,
    where_only: bool = False,
) -> Known:
    """As `classify`, for the tables of these parts, or of a corpus that is open for reading."""
    known, same = Known(sources.num_rows, parts), SameRecording(sources)
    for number, table in enumerate(tables):
        _classify_part(known, same, number, table, sources, replace, checksum, reseal, clear)
        if not where_only:
            cut = _is_cut(table)
            same.look(table, cut, of_recordings(table, "recording_size", "size"))
    for i, more, reason in same.others():
        if reason:
            known.todo[i], known.refused[i] = Todo.REFUSE, reason
        elif more:
            known.apart[i] = True
            if known.part[i] >= 0 and not known.cut[i]:
                known.todo[i] = Todo.SEAL if replace else Todo.CONFLICT
    return known


def _classify_part(
    known: Known,
    same: SameRecording,
    number: int,
    table: pa.Table,
    sources: pa.Table,
    replace: bool,
    checksum: bool,
    reseal: bool,
    clear: Clear | None,
) -> None:
    """As `classify`, for the rows of one part."""
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
        shares = pc.and_(pc.is_valid(old["start"]), new["apart"]).to_numpy(zero_copy_only=False)
        lacks = shares.copy()
        for k in np.flatnonzero(shares).tolist():
            lacks[k] = not same.everybody(int(at[k])) <= set(old["subjects"][k].as_py())
        known.todo[at], known.differs[at] = _compare(
            old, new, known.cut[at], shares, lacks, replace=replace, checksum=checksum, clear=clear
        )


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
    old: pa.Table,
    new: pa.Table,
    cut: _Mask,
    shares: _Mask,
    lacks: _Mask,
    *,
    replace: bool,
    checksum: bool,
    clear: Clear | None,
) -> tuple[np.ndarray[Any, np.dtype[np.int8]], np.ndarray[Any, np.dtype[np.bool_]]]:
    # the listing has no size of a recording in Parquet, but an mtime
    same_size = _equal(of_recordings(old, "recording_size", "size", cut), new["size"]) | (new["size"].to_numpy() < 0)
    same_time = _equal(old["source_mtime_ns"], new["mtime_ns"])
    same_people = ~unequal(old["subjects"], new["subjects"])
    before = old.drop_columns(["source_mtime_ns"])  # which is compared separately
    kept = inherit(before, mentioned_by(new), clear)
    same_words = ~changed_columns(before.drop_columns(["subjects"]), kept)[0]
    other = Todo.SEAL if replace else Todo.CONFLICT
    todo = np.where(same_words, Todo.SKIP, Todo.UPDATE)
    timed = ~_equal(new["mtime_ns"], pa.scalar(0, pa.int64()))  # some storage has no time for a file
    todo = np.where(shares, Todo.LEAVE, todo)
    todo = np.where(same_time & timed & (not checksum), todo, Todo.HASH)
    todo = np.where(same_size & np.where(shares, ~lacks & (not replace), same_people), todo, other)
    return todo.astype(np.int8), ~same_words | (timed & ~same_time)


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray | pa.Scalar) -> np.ndarray[Any, np.dtype[np.bool_]]:
    same: np.ndarray[Any, np.dtype[np.bool_]] = pc.equal(left, right).to_numpy(zero_copy_only=False)
    return same
