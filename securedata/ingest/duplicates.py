"""The same content under another path, by the digest that sealing makes anyway."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.segments import recording_path

POLICIES = ("take", "skip", "fail")
"""What becomes of a recording whose content is in the corpus, or in the same run, under another path."""

COLUMNS = ("path", "source_sha256", "start", "frames_in_segment")


class Duplicates:
    """The recordings of a corpus and of one run, by digest. Segments of one recording are no duplicates."""

    def __init__(self) -> None:
        self._taken: dict[bytes, str] = {}
        self._there: dict[bytes, list[str]] = {}
        self._leaving = set[str]()

    def leave(self, paths: Iterable[str]) -> None:
        """These recordings of the corpus may have other content after the run, so that they are no copy of another."""
        self._leaving.update(paths)

    def stay(self, paths: Iterable[str]) -> None:
        """These keep their content after all."""
        self._leaving.difference_update(paths)

    def look(self, digests: Iterable[bytes], tables: Iterable[pa.Table]) -> None:
        """Find these digests among rows of the corpus, of which each table has `COLUMNS`."""
        wanted = pa.array(set(digests), pa.binary(32))
        self._there = {}
        for table in tables:
            hits = pc.is_in(table.column("source_sha256"), value_set=wanted).to_numpy(zero_copy_only=False)
            for row in table.select(COLUMNS).take(pa.array(np.flatnonzero(hits))).to_pylist():
                path = recording_path(row["path"], row["start"], row["frames_in_segment"])
                self._there.setdefault(row["source_sha256"], []).append(path)

    def other(self, digest: bytes, path: str) -> str | None:
        """Another recording with this content than the one at `path`, which is to be taken.

        None if there is no other, or if the corpus has some of this recording already, so that it is not new.
        """
        if path in self._there.get(digest, ()):
            return None
        there = (one for one in self._there.get(digest, ()) if one not in self._leaving)
        return next((one for one in (*there, self._taken.get(digest, path)) if one != path), None)

    def take(self, digest: bytes, path: str) -> None:
        """The recording at `path` is taken."""
        self._taken.setdefault(digest, path)
