"""Which new rows are taken: content that has another path already is treated as `if_duplicate` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from securedata.corpus.rows.checks import refused
from securedata.corpus.rows.plan import CHECK
from securedata.corpus.schema import rows_table
from securedata.corpus.segments import recording_path
from securedata.corpus.writer import Writer
from securedata.ingest.copies.duplicates import Duplicates, other_people
from securedata.ingest.report import LEFT_OUT, NOT_TAKEN, IngestReport
from securedata.ingest.sources.walk.tree import Problem


class New(NamedTuple):
    """A new row of the manifest, and the source row that it is made of, by number."""

    i: int
    row: dict[str, Any]


class Compared(NamedTuple):
    """The rows that go on, those of people who were erased, and the ids of objects that no row needs."""

    kept: list[New]
    erased: list[New]
    dropped: set[bytes]


class Comparing:
    """Looks for the content of new rows in the corpus and among the rows of the run."""

    def __init__(
        self,
        writer: Writer,
        cells: Mapping[str, Callable[[int], Any]],
        if_duplicate: str,
        report: IngestReport,
        fates: np.ndarray[tuple[int], np.dtype[np.int8]],
    ) -> None:
        """`cells`: of the sources, by column; what is left out is noted in `report` and `fates`."""
        self.duplicates = Duplicates()
        self._writer, self._cells, self._if_duplicate = writer, cells, if_duplicate
        self._report, self._fates = report, fates
        self._there: set[str] = set()
        self._told: set[str] = set()  # a row that is sealed again is told of once
        self._left_out: dict[str, list[int]] = {}  # by recording of the run, copies that were left out for it

    def there(self, files: Sequence[str], there: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Note the files that have a row in the corpus; by source row, its file and whether it has one."""
        self._there = {files[i] for i in np.flatnonzero(there).tolist()}
        self._files = files

    def take(self, new: Sequence[New]) -> Compared:
        """Compare rows with the newest corpus, and with those that were taken before."""
        twins = self.duplicates
        head = self._writer.refresh()
        twins.look(map(_digest, new), (self._writer.read_table(part, CHECK) for part in head.parts))
        refusals = {new[at].i for at in refused(head, rows_table(one.row for one in new))}
        found = Compared([], [one for one in new if one.i in refusals], set())
        # Recordings in the corpus go first: they are taken whatever else has their content. By file, not by row: new
        # segments of a recording share the object of those in the corpus, which must stay.
        for one in sorted(new, key=lambda one: (self._files[one.i] not in self._there, one.i)):
            if one.i in refusals:
                continue
            if self._goes_on(one):
                found.kept.append(one)
            else:
                found.dropped.add(one.row["object_id"])
        return found

    def _goes_on(self, one: New) -> bool:
        row, path, twins, digest = one.row, self.recording(one.i), self.duplicates, _digest(one)
        other = None if self._files[one.i] in self._there else twins.other(digest, path)
        lost = self._if_duplicate == "skip" and other is not None and twins.lacks(other, row["subjects"])
        if other is not None and (lost or self._if_duplicate == "fail"):
            reason = other_people(other) if lost else f"has the content of {other}, which is taken"
            self._report.problems.append(Problem(row["path"], reason))
        elif other is not None and row["path"] not in self._told:
            self._told.add(row["path"])
            self._report.duplicates.append((row["path"], other))
        if other is None or self._if_duplicate == "take":
            twins.take(digest, path, row["subjects"])
            return True
        self._fates[one.i] = LEFT_OUT if self._if_duplicate == "skip" and not lost else NOT_TAKEN
        if self._fates[one.i] == LEFT_OUT:
            self._left_out.setdefault(other, []).append(one.i)
        return False

    def not_taken(self, new: Iterable[New]) -> list[int]:
        """Forget rows that are not in the corpus after all; returns the copies that were left out for them.

        One of these is needed now, and nothing says of them any more that another has their content.
        """
        again: list[int] = []
        for one in new:
            recording = self.recording(one.i)
            self.duplicates.give_up(_digest(one), recording)
            again += self._left_out.pop(recording, [])
        paths = {self._cells["path"](i) for i in again}
        self._told -= paths
        self._report.duplicates = [one for one in self._report.duplicates if one[0] not in paths]
        self._fates[again] = NOT_TAKEN
        return again

    def recording(self, i: int) -> str:
        """The recording that a source row is of, all of it or a segment."""
        read = self._cells
        return recording_path(read["path"](i), read["start"](i), read["frames_in_segment"](i))


def _digest(one: New) -> bytes:
    """Of the file that a row was made from."""
    found: bytes = one.row.get("recording_sha256", one.row["source_sha256"])
    return found
