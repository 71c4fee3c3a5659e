"""Decides what to do with each source row, by comparing columns with the corpus, without reading a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.inherit import CLEARABLE, Clear, changed_columns, inherit, unequal
from securedata.corpus.schema import CUT, OPTIONAL, SCHEMA
from securedata.corpus.segments import SEGMENT_SUFFIX, recording_path
from securedata.corpus.state.consent import Consent
from securedata.corpus.state.head import Head, TableRef

FROM_SOURCE = ("speaker", "utterance", "transcript", "split", "language", *Consent._fields, "extra")
"""Columns of a source list that are corrected without sealing anything. Empty cells change nothing."""

_COLUMNS = ("path", "size", "source_mtime_ns", "subjects", "start", "frames_in_segment", *CUT.names)

_FIELDS = pa.schema([*SCHEMA, *OPTIONAL])

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


class _Row(NamedTuple):
    path: str
    people: frozenset[str]
    whole: bool  # whether its object holds all of the recording

    def __repr__(self) -> str:  # names of people
        return f"_Row(whole={self.whole})"


class SameRecording:
    """What a corpus has of the recordings of a list of sources, besides the rows of the list itself.

    An object with all of a recording must name everyone who is heard in it. What one run cannot see is what an earlier
    one sealed: all of a recording as Ann's, from a table of her segments, before another table names Bob in it.
    """

    def __init__(self, sources: pa.Table) -> None:
        self._sources = sources
        self._listed = sources.column("path").combine_chunks()
        self._rows: dict[str, list[_Row]] = {}
        self._recordings: list[str] = []
        self._everybody: dict[str, set[str]] = {}
        self._sizes: dict[str, set[int]] = {}

    def look(self, table: pa.Table, cut: _Mask, sizes: pa.ChunkedArray) -> None:
        """See rows of the corpus: which of them are `cut` out of a recording, and the sizes of their recordings."""
        paths = table.column("path")
        segment = cut | pc.is_valid(table.column("start")).to_numpy(zero_copy_only=False)
        if not segment.any() and not self._has_segments():
            return
        rest = np.flatnonzero(~pc.is_in(paths, value_set=self._listed).to_numpy(zero_copy_only=False))
        if not len(rest):  # nearly always
            return
        bases = pc.replace_substring_regex(paths.take(pa.array(rest)), SEGMENT_SUFFIX, r"\1")
        near = pc.is_in(bases, value_set=pa.array(set(self.recordings()), paths.type))
        # what has a path of its own is another file, unless the sources have segments of that file
        for at in rest[near.to_numpy(zero_copy_only=False)].tolist():
            path, start, frames = (table.column(name)[at].as_py() for name in ("path", "start", "frames_in_segment"))
            recording = table.column("recording")[at].as_py() if cut[at] else recording_path(path, start, frames)
            if not self._sizes_of(recording).isdisjoint((sizes[at].as_py(), -1)):  # of a row in Parquet nobody knows it
                people = frozenset(table.column("subjects")[at].as_py())
                self._rows.setdefault(recording, []).append(_Row(path, people, not cut[at]))

    def recordings(self) -> list[str]:
        """Of each source row, its recording."""
        if not self._recordings:
            columns = (self._sources.column(name).to_pylist() for name in ("path", "start", "frames_in_segment"))
            self._recordings = [recording_path(*row) for row in zip(*columns, strict=True)]
        return self._recordings

    def everybody(self, i: int) -> set[str]:
        """All people whom the sources name in the recording of a row."""
        if not self._everybody:
            people = self._sources.column("subjects").to_pylist()
            for recording, names in zip(self.recordings(), people, strict=True):
                self._everybody.setdefault(recording, set()).update(names)
        return self._everybody[self.recordings()[i]]

    def others(self) -> Iterator[tuple[int, set[str], str]]:
        """Source rows of whose recordings the corpus has more: the people in that, and why they cannot be taken."""
        if not self._rows:
            return
        starts = self._sources.column("start")
        people = self._sources.column("subjects")
        for i, recording in enumerate(self.recordings()):
            rows = self._rows.get(recording)
            if rows is None:
                continue
            own = set(people[i].as_py())
            more = {name for row in rows for name in row.people}
            lacking = next((row.path for row in rows if row.whole and not own <= row.people), "")
            if lacking:
                reason = (
                    f"the corpus has all of its recording as {lacking}, whose row does not name these people: "
                    "name them in that row, too, or all segments in one run, and --replace"
                )
            elif not starts[i].is_valid and not more <= own:
                path = next(row.path for row in rows if not row.people <= own)
                reason = (
                    f"the corpus has a segment of it, {path}, of people whom this row does not name: name them, too"
                )
            else:
                reason = ""
            yield i, more - own, reason

    def _has_segments(self) -> bool:
        starts = self._sources.column("start")
        return bool(starts.null_count < len(starts))

    def _sizes_of(self, recording: str) -> set[int]:
        if not self._sizes:
            for name, size in zip(self.recordings(), self._sources.column("size").to_pylist(), strict=True):
                self._sizes.setdefault(name, set()).add(size)
        return self._sizes.get(recording, set())


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
    others = [_FIELDS.field(name) for name in CLEARABLE if name not in sources.schema.names]
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
