"""Choose the rows that a commit takes out. What is chosen is chosen again at every try of the commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.utils import glob_translate

from securedata.corpus.rows.changes import Mask, Select
from securedata.corpus.rows.checks import RECORDINGS, piece_of, rows_of
from securedata.corpus.segments import Span
from securedata.corpus.state.head import Head
from securedata.keys.tags import Tagger, recording_under

_GLOB = re.compile(r"[*?]")
Piece = tuple[bytes, int, int]
"""The digest of a recording's file, and the first frame and the one after the last of a piece of it."""

Origin = tuple[bytes, str]
"""The id of a recording's first object, and its logical path."""
FEATURES_SUFFIX = ".npy"
"""What the path of a row of features adds to that of its recording, so that an export has files of their kind."""


class ByPerson:
    """Rows that name one of some people, who are given by their subject tags."""

    columns = ("subjects",)

    def __init__(self, tags: Iterable[bytes]) -> None:
        self.tags = frozenset(tags)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        found = np.zeros(view.num_rows, dtype=bool)
        found[sorted(rows_of(view, Tagger(head.secret), set(self.tags)))] = True
        return found


class ByPath:
    """Rows of these logical paths, of folders, or of globs: `*` and `?` match within a folder, `**` across folders.

    Brackets are taken as they are, since file names have them.
    """

    columns = ("path",)

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._folders = tuple(f"{one.rstrip('/')}/" for one in self.patterns)
        self._globs = [_compiled(one) for one in self.patterns if _GLOB.search(one)]

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        return self.matches(view)

    def matches(self, view: pa.Table) -> Mask:
        """Which rows have such a path; `view` has the column `path`."""
        column = view.column("path")
        found = mask_of(pc.is_in(column, value_set=pa.array(self.patterns, column.type)))
        for folder in self._folders:
            found |= mask_of(pc.starts_with(column, folder))
        if self._globs:
            found |= np.fromiter(
                (any(glob.match(path) for glob in self._globs) for path in column.to_pylist()), bool, len(column)
            )
        return found

    def unmatched(self, paths: Iterable[str]) -> list[str]:
        """The patterns that match none of these paths."""
        left = dict.fromkeys(self.patterns)
        for path in paths:
            if not left:
                break
            for pattern in [one for one in left if self._matches(one, path)]:
                del left[pattern]
        return list(left)

    @staticmethod
    def _matches(pattern: str, path: str) -> bool:
        if path == pattern or path.startswith(f"{pattern.rstrip('/')}/"):
            return True
        return bool(_GLOB.search(pattern) and _compiled(pattern).match(path))


class ByDigest:
    """Rows of recordings with one of some SHA-256 digests, whole or cut out of a longer one."""

    columns = ("source_sha256", "recording_sha256")

    def __init__(self, digests: Iterable[bytes]) -> None:
        self.digests = frozenset(digests)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        wanted = pa.array(sorted(self.digests), pa.binary(32))
        found = np.zeros(view.num_rows, dtype=bool)
        for name in self.columns:
            if name in view.schema.names:
                found |= mask_of(pc.is_in(view.column(name), value_set=wanted))
        return found


class ByConsent:
    """Rows that were recorded under one of some consents."""

    columns = ("consent_id", "subjects")

    def __init__(self, consents: Iterable[str]) -> None:
        self.consents = tuple(consents)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        column = view.column("consent_id")
        return mask_of(pc.is_in(column, value_set=pa.array(self.consents, column.type)))


class ByTag:
    """Rows with one of some consents or recordings, given by their tags under the corpus's key of subject tags."""

    def __init__(self, tags: Iterable[bytes], columns: tuple[str, ...], under: Callable[[bytes, Any], bytes]) -> None:
        """`under` makes the tag of a value in one of the columns."""
        self.tags = frozenset(tags)
        self.columns = (*columns, "subjects")
        self._tagged, self._under = columns, under

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        key = Tagger(head.secret).subject_key
        found = np.zeros(view.num_rows, dtype=bool)
        for name in self._tagged:
            if name in view.schema.names:
                column = view.column(name)
                values = [
                    one for one in pc.unique(column.drop_null()).to_pylist() if self._under(key, one) in self.tags
                ]
                found |= mask_of(pc.is_in(column, value_set=pa.array(values, column.type)))
        return found


class ByPiece:
    """Rows whose object holds a frame of one of some pieces of recordings.

    Which frames an object of a whole recording, or of something computed from one, does not hold, no row says.
    """

    columns = (*RECORDINGS, "path", "recording", "start", "subjects")

    def __init__(self, pieces: Iterable[Piece], tagged: bool) -> None:
        """`tagged`: in place of digests they have tags of recordings under the corpus's key of subject tags."""
        self._spans: dict[bytes, list[Span]] = {}
        for one, start, stop in pieces:
            self._spans.setdefault(one, []).append((start, stop))
        self._tagged = tagged

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        known = self._known(head, view)
        found = np.zeros(view.num_rows, dtype=bool)
        for name in RECORDINGS if known else ():
            if name in view.schema.names:
                column = view.column(name)
                found |= mask_of(pc.is_in(column, value_set=pa.array(list(known), column.type)))
                if name == "recording_sha256":
                    rows = np.flatnonzero(found)
                    cells = view.select([*RECORDINGS, "path", "recording", "start"]).take(pa.array(rows)).to_pylist()
                    found[rows] = [_holds(known, cell) for cell in cells]
        return found

    def pieces(self, head: Head, view: pa.Table) -> frozenset[Piece]:
        """The pieces of recordings that rows name, by digest."""
        known = self._known(head, view)
        return frozenset((sha256, *span) for sha256, spans in known.items() for span in spans)

    def _known(self, head: Head, view: pa.Table) -> dict[bytes, list[Span]]:
        """By the digest of a recording that rows name, the pieces of it."""
        columns = [view.column(name) for name in RECORDINGS if name in view.schema.names]
        named = {one for column in columns for one in pc.unique(column.drop_null()).to_pylist()}
        key = Tagger(head.secret).subject_key
        ids = {one: recording_under(key, one) if self._tagged else one for one in named}
        return {one: self._spans[id] for one, id in ids.items() if id in self._spans}


def _holds(known: dict[bytes, list[Span]], row: dict[str, Any]) -> bool:
    if row["source_sha256"] in known:  # all of the recording
        return True
    span = piece_of(row["path"], row["recording"], row["start"])
    spans = known[row["recording_sha256"]]
    return span is None or any(span[0] < stop and start < span[1] for start, stop in spans)


class MadeFrom:
    """Rows that were made from some rows of the corpus that this one was made from, whatever they say by now; and the
    other rows of their objects, which hold the same sound.
    """

    columns = ("derived_from", "path", "object_id", "subjects")

    def __init__(self, rows: Iterable[Origin]) -> None:
        self._rows = frozenset(rows)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        found = np.zeros(view.num_rows, dtype=bool)
        if "derived_from" not in view.schema.names:
            return found
        firsts = pa.array(sorted({first for first, _ in self._rows}), pa.binary(16))
        maybe = np.flatnonzero(mask_of(pc.is_in(view.column("derived_from"), value_set=firsts)))
        cells = view.select(["derived_from", "path"]).take(pa.array(maybe)).to_pylist()
        mine = [
            (row["derived_from"], row["path"]) in self._rows
            or (row["derived_from"], row["path"].removesuffix(FEATURES_SUFFIX)) in self._rows
            for row in cells
        ]
        found[maybe[np.array(mine, dtype=bool)]] = True
        ids = view.column("object_id")
        return found | mask_of(pc.is_in(ids, value_set=pc.unique(ids.filter(pa.array(found)))))


class Either:
    """Rows that one of some selections chooses."""

    def __init__(self, *selects: Select) -> None:
        self._selects = selects
        self.columns = tuple(dict.fromkeys(name for one in selects for name in one.columns))

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        found: Mask = np.logical_or.reduce([one.hits(head, view) for one in self._selects])
        return found


class Expired:
    """Rows whose consent has ended before a time, in seconds since the epoch; one without an end does not end."""

    columns = ("expires", "consent_id", "subjects")

    def __init__(self, now: float) -> None:
        self.now = now

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        column = view.column("expires")
        return mask_of(pc.less_equal(column, pa.scalar(int(self.now * 1e6), column.type)))


class All:
    """All rows."""

    columns = ("subjects",)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        return np.ones(view.num_rows, dtype=bool)


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(glob_translate(pattern.replace("[", "[[]")))


def mask_of(found: Any) -> Mask:
    """A boolean array of Arrow as one of numpy that can be changed; null is false."""
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask.copy()  # arrays of Arrow are read-only
