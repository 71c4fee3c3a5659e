"""Explain why an object that a row names is not on storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pyarrow.compute as pc

from securedata.corpus.rows.index import Index
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

    def those(self, names: Iterable[str], tags: frozenset[bytes]) -> frozenset[str]:
        return frozenset(name for name in names if self.tagger.tag(name) in tags) if tags else frozenset()


class Missing:
    """Explains by the current head, which is opened, with a call to the KMS, only if it changed.

    Its parts are searched, with another call, at most once in ten seconds; one search answers for all rows of an index.
    Only the tags of a head are kept, of tombstones and holds: its keys would open rows that a filter left out.
    """

    def __init__(self, storage: Storage, reread: Callable[[], OpenedHead]) -> None:
        """`reread` opens the current head, or raises."""
        self._storage = storage
        self._reread = reread
        self._known: _Known | None = None
        self._looked = -math.inf
        self._searched: tuple[bytes, Index, frozenset[bytes]] | None = None  # of a head: write id, ids that it lacks

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
        searched = self._searched
        lacking = searched[2] if searched and searched[0] == known.write_id and searched[1] is index else None
        if lacking is None and time.monotonic() - self._looked < RECHECK:
            return because(ObjectMissing, "is not on storage; refresh() the dataset, or run 'securedata verify'")
        try:
            lacking = self._search(head or self._reread().head, index) if lacking is None else lacking
        except NotFound:  # a FileNotFoundError, which mappings take for a key that never existed
            what = "is not on storage, nor is a manifest part that might name it"
            return because(ObjectMissing, f"{what}; refresh() the dataset, or run 'securedata verify'")
        if object_id not in lacking:
            what = "is named by the current head, but is not on storage"
            return because(ObjectMissing, f"{what}; restore it, or run 'securedata encrypt --reseal'")
        what = f"is gone: its row was replaced or removed since generation {generation}; refresh() the dataset"
        return because(RowReplaced, what)

    def _search(self, head: Head, index: Index) -> frozenset[bytes]:
        """The ids of objects of this index that a head does not name.

        Raises:
            NotFound: storage does not have a part.
        """
        self._looked = time.monotonic()
        ids = index.table.column("object_id")
        for part in head.parts:
            named = read_table(self._storage, head.corpus_id, part, ["path", "object_id"]).column("object_id")
            ids = ids.filter(pc.invert(pc.is_in(ids, value_set=named.combine_chunks())))
        lacking = frozenset(pc.unique(ids).to_pylist())
        self._searched = head.write_id, index, lacking
        return lacking

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
        self._known = known = _Known(head.write_id, Tagger(head.secret), tombstones, holds)
        return head, known

    def _write_id(self) -> bytes | None:
        try:
            return peek(self._storage.get(HEAD, MAX_SEALED), self._storage.url)[0].object_id
        except NotFound:
            return None  # opening it will raise a better error
