"""Finds the same content under another path, by the digest that sealing computes anyway."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import CUT
from securedata.corpus.segments import recording_path
from securedata.ingest.classify import of_recordings

POLICIES = ("take", "skip", "fail")
"""What to do with a recording whose content is in the corpus, or in the same run, under another path."""

COLUMNS = ("path", "source_sha256", "start", "frames_in_segment", "subjects", *CUT.names)


class Duplicates:
    """The recordings of a corpus and of one run, by digest. Segments of one recording are not duplicates."""

    def __init__(self) -> None:
        self._taken: dict[bytes, str] = {}
        self._there: dict[bytes, list[str]] = {}
        self._leaving = set[str]()
        self._people: dict[str, set[str]] = {}

    def leave(self, paths: Iterable[str]) -> None:
        """These recordings of the corpus may have other content after the run, so they do not count as duplicates."""
        self._leaving.update(paths)

    def stay(self, paths: Iterable[str]) -> None:
        """These recordings keep their content after all."""
        self._leaving.difference_update(paths)

    def look(self, digests: Iterable[bytes], tables: Iterable[pa.Table]) -> None:
        """Find these digests of files among rows of the corpus; each table has those of `COLUMNS` that it knows."""
        wanted = pa.array(set(digests), pa.binary(32))
        self._there = {}
        for table in tables:
            found = of_recordings(table, "recording_sha256", "source_sha256")
            hits = pa.array(np.flatnonzero(pc.is_in(found, value_set=wanted).to_numpy(zero_copy_only=False)))
            wholes = of_recordings(table, "recording", "path").take(hits).to_pylist()
            rows = table.select(["start", "frames_in_segment", "subjects"]).take(hits).to_pylist()
            for digest, whole, row in zip(found.take(hits).to_pylist(), wholes, rows, strict=True):
                path = recording_path(whole, row["start"], row["frames_in_segment"])
                self._there.setdefault(digest, []).append(path)
                self._people.setdefault(path, set()).update(row["subjects"])

    def other(self, digest: bytes, path: str) -> str | None:
        """Another recording with the content of the one at `path`, which is about to be taken.

        None if there is no other, or if the corpus has part of this recording already, so that it is not new.
        """
        if path in self._there.get(digest, ()):
            return None
        there = (one for one in self._there.get(digest, ()) if one not in self._leaving)
        return next((one for one in (*there, self._taken.get(digest, path)) if one != path), None)

    def lacks(self, other: str, people: Iterable[str]) -> bool:
        """Does that other recording not name all of these people?"""
        return not self._people.get(other, set()).issuperset(people)

    def take(self, digest: bytes, path: str, people: Iterable[str]) -> None:
        """The recording at `path`, with these people, is taken."""
        if self._taken.setdefault(digest, path) == path:
            self._people.setdefault(path, set()).update(people)

    def give_up(self, digest: bytes, path: str) -> None:
        """The recording at `path`, of this run, is not taken after all."""
        if self._taken.get(digest) == path:
            del self._taken[digest]


def other_people(other: str) -> str:
    """Why a copy cannot be left out for another recording: a person would be in the corpus without a name."""
    return f"has the content of {other}, which does not name these people: name them there, too"
