"""Rows of the corpus that the sources do not list, of recordings that they do: who else is heard in those?

An object with all of a recording must name everybody who is heard in it. What one run cannot see is what an earlier
one sealed: all of a recording as Ann's, from the table of her segments, before another table has Bob in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.segments import recording_path

_SEGMENT = r"@\d+-\d+(\.[^./]+)?$"


class _Row(NamedTuple):
    path: str
    people: frozenset[str]
    whole: bool  # whether its object holds all of the recording

    def __repr__(self) -> str:  # names of people
        return f"_Row(whole={self.whole})"


class SameRecording:
    """What a corpus has of the recordings of a list of sources, beside the rows that the list has itself."""

    def __init__(self, sources: pa.Table) -> None:
        self._sources = sources
        self._listed = sources.column("path").combine_chunks()
        self._rows: dict[str, list[_Row]] = {}
        self._recordings: list[str] = []
        self._everybody: dict[str, set[str]] = {}
        self._sizes: dict[str, set[int]] = {}

    def look(self, table: pa.Table, cut: np.ndarray[tuple[int], np.dtype[np.bool_]], sizes: pa.ChunkedArray) -> None:
        """See rows of the corpus: which of them are `cut` out of a recording, and the sizes of their recordings."""
        paths = table.column("path")
        segment = cut | pc.is_valid(table.column("start")).to_numpy(zero_copy_only=False)
        if not segment.any() and not self._has_segments():
            return
        bases = pc.replace_substring_regex(paths, _SEGMENT, r"\1")
        near = pc.is_in(bases, value_set=pa.array(set(self.recordings()), paths.type))
        near = pc.and_not(near, pc.is_in(paths, value_set=self._listed))
        # what has a path of its own is another file, unless the sources have segments of that file
        for at in np.flatnonzero(near.to_numpy(zero_copy_only=False)).tolist():
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
