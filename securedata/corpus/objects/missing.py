"""Explain why an object that a row names is not on storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from securedata.corpus.objects.search import Searched, has, search
from securedata.corpus.rows.index import Index
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, peek
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.lifecycle import without_tombstones
from securedata.errors import (
    AccessDenied,
    NotFound,
    ObjectMissing,
    OlderGeneration,
    PartMissing,
    RowReplaced,
    SecuredataError,
    SubjectErased,
    SupersededKey,
)
from securedata.keys.tags import Tagger
from securedata.storage.base import Storage

RECHECK = 10.0
"""Seconds before the parts are searched again, unless there was another erasure."""


class _Known(NamedTuple):
    """What is kept of a head: its write id, tags, and ids of the erasures that no tombstone shows."""

    write_id: bytes
    tagger: Tagger
    erased: frozenset[bytes]
    held: frozenset[bytes]
    erasures: frozenset[str]

    def those(self, names: Iterable[str], tags: frozenset[bytes]) -> frozenset[str]:
        return frozenset(name for name in names if self.tagger.tag(name) in tags) if tags else frozenset()


class Missing:
    """Explains by the current head, which is opened, with a call to the KMS, only if it changed.

    Its parts are searched, with another call, at most once in ten seconds, and after each erasure that took out rows of
    which no tombstone tells; one search answers for all rows of an index.
    Only the tags of a head are kept, of tombstones and holds: its keys would open rows that a filter left out.
    """

    def __init__(self, storage: Storage, reread: Callable[[], OpenedHead]) -> None:
        """`reread` opens the current head, or raises."""
        self._storage = storage
        self._reread = reread
        self._known: _Known | None = None
        self._looked = -math.inf
        self._looked_after: frozenset[str] = frozenset()
        self._searched: Searched | None = None

    def explain(
        self, index: Index, i: int, generation: int, erasures: frozenset[str], error: NotFound | AccessDenied
    ) -> SecuredataError:
        """The error to raise for a row whose object is missing, or was refused, which can mean the same.

        Args:
            generation: of the head that the index was made from.
            erasures: ids of those that it showed.
        """
        try:
            better = self._explain(index, i, generation, erasures)
        except SecuredataError as worse:
            better = worse
        certain = (SubjectErased, RowReplaced, OlderGeneration, SupersededKey)
        if isinstance(error, AccessDenied) and not isinstance(better, certain):
            return error
        better.__cause__ = error
        return better

    def _explain(self, index: Index, i: int, generation: int, erasures: frozenset[str]) -> SecuredataError:
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
        recent = time.monotonic() - self._looked < RECHECK and known.erasures <= self._looked_after
        if found is None and recent:
            return because(ObjectMissing, "is not on storage; refresh() the dataset, or run 'securedata verify'")
        try:
            found = found or self._search(head or self._reread().head, index, bool(known.erasures - erasures))
        except PartMissing:
            what = "is not on storage, nor is a manifest part that might name it"
            return because(ObjectMissing, f"{what}; refresh() the dataset, or run 'securedata verify'")
        if not has(found.lacking, i):
            what = "is named by the current head, but is not on storage"
            return because(ObjectMissing, f"{what}; restore it, or run 'securedata encrypt --reseal'")
        if has(found.moved, i):
            return because(
                RowReplaced,
                "is gone: the same recording is elsewhere, sealed again or in a pack: refresh() the dataset",
            )
        if has(found.erased, i):
            return because(SubjectErased, "is gone: the recording was erased; refresh() the dataset")
        what = f"is gone: its row was replaced or removed since generation {generation}; refresh() the dataset"
        return because(RowReplaced, what)

    def erased_since(self, head: Head, index: Index, erasures: frozenset[str]) -> frozenset[int]:
        """The rows that erasures took out which no tombstone shows; the parts are read only if there were any.

        Args:
            erasures: ids of those that are known already.

        Raises:
            as `search`
        """
        if not without_tombstones(head) - erasures:
            return frozenset()
        return frozenset(self._search(head, index, True).erased.to_pylist())

    def _search(self, head: Head, index: Index, erasures: bool) -> Searched:
        self._looked, self._looked_after = time.monotonic(), without_tombstones(head)
        self._searched = search(self._storage, head, index, erasures)
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
        erasures = without_tombstones(head)
        self._known = known = _Known(head.write_id, Tagger(head.secret), tombstones, holds, erasures)
        return head, known

    def _write_id(self) -> bytes | None:
        try:
            return peek(self._storage.get(HEAD, MAX_SEALED), self._storage.url)[0].object_id
        except NotFound:
            return None  # opening it will raise a better error
