"""Explain why an object that a row names is not on storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

import pyarrow as pa
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


class Missing:
    """Explains by the current head, which is opened, with a call to the KMS, only if it changed.

    Its parts are searched, with another call, at most once in ten seconds. Only the tombstones of a head are kept: its
    keys would open rows that a filter left out.
    """

    def __init__(self, storage: Storage, reread: Callable[[], OpenedHead]) -> None:
        """`reread` opens the current head, or raises."""
        self._storage = storage
        self._reread = reread
        self._known: tuple[bytes, Tagger, frozenset[bytes]] | None = None  # of one head: write id, tags
        self._looked = -math.inf

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

        head, tagger, tombstones = self._current()
        # an erasure commits its tombstone before it deletes, so a head read after the 404 has it
        if any(tagger.tag(name) in tombstones for name in index.value("subjects", i)):
            return because(SubjectErased, "is gone: the person recorded in it was erased; refresh() the dataset")
        if time.monotonic() - self._looked < RECHECK:
            return because(ObjectMissing, "is not on storage; refresh() the dataset, or run 'securedata verify'")
        head = head or self._reread().head
        self._looked = time.monotonic()
        for part in head.parts:
            try:
                ids = read_table(self._storage, head.corpus_id, part, ["path", "object_id"]).column("object_id")
            except NotFound:  # a FileNotFoundError, which mappings take for a key that never existed
                what = "is not on storage, nor is a manifest part that might name it"
                return because(ObjectMissing, f"{what}; refresh() the dataset, or run 'securedata verify'")
            if pc.index(ids, pa.scalar(object_id, pa.binary(16))).as_py() >= 0:
                what = "is named by the current head, but is not on storage"
                return because(ObjectMissing, f"{what}; restore it, or run 'securedata encrypt --reseal'")
        what = f"is gone: its row was replaced or removed since generation {generation}; refresh() the dataset"
        return because(RowReplaced, what)

    def erased(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` whose person was erased, by the current head."""
        _, tagger, tombstones = self._current()
        return frozenset(name for name in names if tombstones and tagger.tag(name) in tombstones)

    def _current(self) -> tuple[Head | None, Tagger, frozenset[bytes]]:
        """The current head (None if it did not change) and its tombstones."""
        known = self._known
        if known is not None and self._write_id() == known[0]:
            return None, known[1], known[2]
        head = self._reread().head
        known = head.write_id, Tagger(head.secret), frozenset(one.tag for one in head.tombstones)
        self._known = known
        return head, known[1], known[2]

    def _write_id(self) -> bytes | None:
        try:
            return peek(self._storage.get(HEAD, MAX_SEALED), self._storage.url)[0].object_id
        except NotFound:
            return None  # opening it will raise a better error
