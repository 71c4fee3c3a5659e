"""Which recordings are handed on: by path, person and split, as far as all of an object's rows are chosen."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Mask
from securedata.errors import InvalidArgument, NoSuchPath, NoSuchSubject
from securedata.lifecycle.select import ByPath, mask_of

COLUMNS = ("path", "object_id", "subjects", "split")


class Selection:
    """Rows that match all of what is given; nothing given: all rows."""

    def __init__(self, paths: Sequence[str], subjects: Sequence[str], splits: Sequence[str]) -> None:
        """
        Args:
            paths: logical paths, folders or globs, as `ByPath` takes them.
            subjects: a row is chosen if it names nobody else.
            splits: names of splits.

        Raises:
            InvalidArgument: one of them is empty.
        """
        if not all((*paths, *subjects)):
            raise InvalidArgument("a path or person is empty; for all recordings, leave the option out")
        self.paths = tuple(dict.fromkeys(unicodedata.normalize("NFC", one.strip("/")) for one in paths))
        self.subjects, self.splits = tuple(dict.fromkeys(subjects)), tuple(dict.fromkeys(splits))
        self._by_path = ByPath(self.paths)

    def mask(self, rows: pa.Table) -> tuple[Mask, Mask]:
        """Which rows are chosen, and which would be if they did not name other people, too. `rows` has COLUMNS."""
        found = np.ones(rows.num_rows, dtype=bool)
        if self.paths:
            found &= self._by_path.matches(rows)
        if self.splits:
            column = rows.column("split")
            found &= mask_of(pc.is_in(column, value_set=pa.array(self.splits, column.type)))
        if not self.subjects:
            return found, np.zeros(rows.num_rows, dtype=bool)
        named = self._named(rows)
        people = pc.list_value_length(rows.column("subjects")).to_numpy(zero_copy_only=False)
        alone = (named == people) & (people > 0)
        return found & alone, found & (named > 0) & ~alone

    def _named(self, rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """By row, how many of its people are given."""
        column = rows.column("subjects").combine_chunks()
        names = column.flatten()
        hit = pc.is_in(names, value_set=pa.array(self.subjects, names.type))
        parents = pc.list_parent_indices(column).filter(hit).to_numpy(zero_copy_only=False)
        return np.bincount(parents, minlength=rows.num_rows).astype(np.int64)


class Seen:
    """What all rows of the source say, whatever their consent, looked at while it is opened: a `Look`.

    Attributes:
        others: paths of rows that would be chosen if they did not name other people, too.
        shared: by id, how many rows each object has that several rows name.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._unmatched = selection.paths
        self._people, self._splits = set(selection.subjects), set(selection.splits)
        self._chosen: list[pa.ChunkedArray] = []
        self.others: dict[str, None] = {}
        self.shared: dict[bytes, int] = {}

    def __call__(self, rows: pa.Table) -> None:
        chosen, others = self._selection.mask(rows)
        paths = rows.column("path")
        if self._unmatched:
            self._unmatched = tuple(ByPath(self._unmatched).unmatched(paths.to_pylist()))
        if self._people:
            self._people.difference_update(pc.unique(rows.column("subjects").combine_chunks().flatten()).to_pylist())
        if self._splits:
            self._splits.difference_update(pc.unique(rows.column("split")).to_pylist())
        self._chosen.append(paths.filter(pa.array(chosen)))
        self.others.update(dict.fromkeys(paths.filter(pa.array(others)).to_pylist()))
        counts = pc.value_counts(rows.column("object_id"))  # all rows of an object are in one part
        several = counts.filter(pc.greater(counts.field("counts"), 1))
        self.shared.update(zip(several.field("values").to_pylist(), several.field("counts").to_pylist(), strict=True))

    def check(self, root: str) -> None:
        """Check that each path, person and split is there.

        Raises:
            NoSuchPath, NoSuchSubject, InvalidArgument
        """
        if self._unmatched:
            count = len(self._unmatched)
            what = "one path matches" if count == 1 else f"{count:,} paths match"
            raise NoSuchPath(
                f"{what} nothing in {root}; nothing was exported: 'securedata ls -R' lists all paths",
                path=self._unmatched[0],
            )
        if self._people:
            raise NoSuchSubject(
                f"{len(self._people):,} of the people are named by no row of {root}; nothing was exported", root=root
            )
        if self._splits:
            raise InvalidArgument(f"no row of {root} has the split {min(self._splits)!r}; nothing was exported")

    def left_out(self, opened: pa.ChunkedArray) -> list[str]:
        """Paths of the rows that were chosen and are not among those that were opened."""
        left: dict[str, None] = {}
        for paths in self._chosen:
            missing = pc.invert(pc.is_in(paths, value_set=opened.combine_chunks()))
            left.update(dict.fromkeys(paths.filter(missing).to_pylist()))
        return list(left)
