"""Explain why an object that a row names is not on storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.checks import RECORDINGS
from securedata.corpus.rows.index import Index
from securedata.corpus.schema import optional
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, peek
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.tables import read_table
from securedata.errors import (
    AccessDenied,
    NotFound,
    ObjectMissing,
    OlderGeneration,
    RowReplaced,
    SecuredataError,
    SubjectErased,
    SupersededKey,
)
from securedata.keys.tags import Tagger
from securedata.storage.base import Storage

RECHECK = 10.0
"""Seconds before the parts are searched again."""


class _Known(NamedTuple):
    """What is kept of a head: its write id, and tags."""

    write_id: bytes
    tagger: Tagger
    erased: frozenset[bytes]
    held: frozenset[bytes]
    barred: frozenset[bytes]

    def bars(self, index: Index, i: int) -> bool:
        """Is the row's consent or recording barred, as far as the columns of the index tell?"""
        columns = index.table.schema.names
        tags: list[bytes] = []
        if "consent_id" in columns:
            consent = index.value("consent_id", i)
            tags += [self.tagger.consent(name, consent) for name in index.value("subjects", i)]
        digests = [index.value(name, i) for name in RECORDINGS if name in columns]
        tags += [self.tagger.recording(digest) for digest in digests if digest is not None]
        return not self.barred.isdisjoint(tags)

    def those(self, names: Iterable[str], tags: frozenset[bytes]) -> frozenset[str]:
        return frozenset(name for name in names if self.tagger.tag(name) in tags) if tags else frozenset()


class _Searched(NamedTuple):
    """What a search of a head for the objects of an index found, in Arrow: it may be every row.

    Attributes:
        write_id: of the head.
        lacking: ids of objects that it does not name.
        moved: those of them whose recording it has under another object id.
    """

    write_id: bytes
    of: Index
    lacking: pa.ChunkedArray
    moved: pa.ChunkedArray


class Missing:
    """Explains by the current head, which is opened, with a call to the KMS, only if it changed.

    Its parts are searched, with another call, at most once in ten seconds; one search answers for all rows of an index.
    Only the tags of a head are kept, of tombstones, holds and bars: its keys would open rows that a filter left out.
    """

    def __init__(self, storage: Storage, reread: Callable[[], OpenedHead]) -> None:
        """`reread` opens the current head, or raises."""
        self._storage = storage
        self._reread = reread
        self._known: _Known | None = None
        self._looked = -math.inf
        self._searched: _Searched | None = None

    def explain(self, index: Index, i: int, generation: int, error: NotFound | AccessDenied) -> SecuredataError:
        """The error to raise for a row whose object is missing, or was refused, which can mean the same.

        Args:
            generation: of the head that the index was made from.
        """
        try:
            better = self._explain(index, i, generation)
        except SecuredataError as worse:
            better = worse
        certain = (SubjectErased, RowReplaced, OlderGeneration, SupersededKey)
        if isinstance(error, AccessDenied) and not isinstance(better, certain):
            return error
        better.__cause__ = error
        return better

    def _explain(self, index: Index, i: int, generation: int) -> SecuredataError:
        root, object_id = self._storage.url, index.location(i).object_id

        def because(kind: type[SecuredataError], text: str) -> SecuredataError:
            where = f"object {object_id.hex()} of {root}"
            return kind(f"{where} {text}", root=root, object_id=object_id, path=index.path(i))

        head, known = self._current()
        # an erasure commits its tombstone before it deletes, so a head read after the 404 has it
        if any(known.tagger.tag(name) in known.erased for name in index.value("subjects", i)):
            return because(SubjectErased, "is gone: the person recorded in it was erased; refresh() the dataset")
        found = self._searched
        if found and (found.write_id != known.write_id or found.of is not index):
            found = None
        if found is None and time.monotonic() - self._looked < RECHECK:
            return because(ObjectMissing, "is not on storage; refresh() the dataset, or run 'securedata verify'")
        try:
            found = found or self._search(head or self._reread().head, index)
        except NotFound:  # a FileNotFoundError, which mappings take for a key that never existed
            what = "is not on storage, nor is a manifest part that might name it"
            return because(ObjectMissing, f"{what}; refresh() the dataset, or run 'securedata verify'")
        if not _has(found.lacking, object_id):
            what = "is named by the current head, but is not on storage"
            return because(ObjectMissing, f"{what}; restore it, or run 'securedata encrypt --reseal'")
        if _has(found.moved, object_id):
            return because(RowReplaced, "is gone: the same recording, sealed again: refresh() the dataset")
        if known.barred and known.bars(index, i):
            # only of a row that is gone: bars may name what another row still has, such as a segment of a recording
            what = "is gone: the consent or the recording was erased; refresh() the dataset"
            return because(SubjectErased, what)
        what = f"is gone: its row was replaced or removed since generation {generation}; refresh() the dataset"
        return because(RowReplaced, what)

    def _search(self, head: Head, index: Index) -> _Searched:
        """Search a head for the objects of an index.

        A recording that was sealed again more than once is found by its first object id, which an index has only if
        `origin` is among its columns.

        Raises:
            NotFound: storage does not have a part.
        """
        self._looked = time.monotonic()
        ids = index.table.column("object_id")
        rows = pa.table([ids, pc.coalesce(optional(index.table, "origin"), ids)], ["id", "first"])
        moved = rows.slice(0, 0)
        for part in head.parts:
            named = read_table(self._storage, head.corpus_id, part, ["path", "object_id", "origin"])
            rows = rows.filter(pc.invert(_among(rows.column("id"), named.column("object_id"))))
            origins = optional(named, "origin").drop_null()
            if len(origins):
                moved = pa.concat_tables([moved, rows.filter(_among(rows.column("first"), origins))])
        self._searched = _Searched(head.write_id, index, rows.column("id"), moved.column("id"))
        return self._searched

    def erased(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` whose person was erased, by the current head."""
        known = self._current()[1]
        return known.those(names, known.erased)

    def held(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` whose person is under a hold, by the current head."""
        known = self._current()[1]
        return known.those(names, known.held)

    def _current(self) -> tuple[Head | None, _Known]:
        """The current head (None if it did not change), and what is kept of it."""
        known = self._known
        if known is not None and self._write_id() == known.write_id:
            return None, known
        head = self._reread().head
        tombstones, holds = (frozenset(one.tag for one in each) for each in (head.tombstones, head.holds))
        self._known = known = _Known(head.write_id, Tagger(head.secret), tombstones, holds, frozenset(head.barred))
        return head, known

    def _write_id(self) -> bytes | None:
        try:
            return peek(self._storage.get(HEAD, MAX_SEALED), self._storage.url)[0].object_id
        except NotFound:
            return None  # opening it will raise a better error


def _among(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(ids, value_set=known.combine_chunks())


def _has(ids: pa.ChunkedArray, one: bytes) -> bool:
    return bool(pc.index(ids, pa.scalar(one, pa.binary(16))).as_py() >= 0)
