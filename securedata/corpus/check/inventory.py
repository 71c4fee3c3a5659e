"""Compare what storage holds with what a head names: verify reports the difference, prune deletes it."""

from __future__ import annotations

import builtins
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.state.layout import What, classify, object_key
from securedata.corpus.state.retired import listed
from securedata.corpus.state.tables import read_table
from securedata.errors import NotFound, PartMissing
from securedata.storage.base import Entry, Storage

_ID = 16
_IDS = pa.binary(_ID)


@dataclass(slots=True)
class Named:
    """What a head names: objects, packs and tables by id (objects in Arrow, 16 bytes each), leaving entries by key.

    `objects` have storage keys of their own, `packed` ones are in a pack.
    """

    objects: list[pa.Array] = field(default_factory=list)
    packed: list[pa.Array] = field(default_factory=list)
    packs: set[bytes] = field(default_factory=set)
    tables: set[bytes] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, head: Head, storage: Storage) -> Named:
        """Everything that a head names.

        Raises:
            PartMissing: storage does not have a part or leaving list.
            FormatError, MalformedManifest, StorageError
        """
        named = cls()
        for part in head.parts:
            with _there(part):
                named.add_rows(read_table(storage, head.corpus_id, part, ("object_id", "pack")))
            named.tables.add(part.id)
        for one in head.retired:
            with _there(one.table):
                named.retired.update(listed(storage, head, one))
            named.tables.add(one.table.id)
        return named

    def add_rows(self, table: pa.Table) -> None:
        """Add the objects and packs of a part's rows, from columns `object_id` and `pack`."""
        ids, pack = table.column("object_id"), table.column("pack")
        self.objects += ids.filter(pc.is_null(pack)).chunks
        self.packed += ids.filter(pc.is_valid(pack)).chunks
        self.packs.update(id for id in pc.unique(pack).to_pylist() if id is not None)

    def add(self, other: Named) -> None:
        """Add what another head names."""
        self.objects += other.objects
        self.packed += other.packed
        self.packs |= other.packs
        self.tables |= other.tables
        self.retired |= other.retired

    def has_objects(self, ids: pa.Array, packed: bool = False) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of these ids are named objects with storage keys of their own, or, if `packed`, in packs, too."""
        known = pa.chunked_array(self.objects + (self.packed if packed else []), _IDS)
        found: np.ndarray[Any, np.dtype[np.bool_]] = pc.is_in(ids, value_set=known).to_numpy(zero_copy_only=False)
        return found


def named_now(read: Callable[[], Head], storage: Storage) -> tuple[Head, Named]:
    """The current head and everything that it names; `read` is called again if the head was replaced meanwhile.

    Raises:
        PartMissing: the head names a part or leaving list that storage does not have, and still does when read again.
        what `read` raises, FormatError, MalformedManifest, StorageError
    """
    missing: PartMissing | None = None
    while True:
        head = read()
        try:
            return head, Named.by(head, storage)
        except PartMissing as error:
            if missing and missing.object_id == error.object_id:
                raise
            missing = error


@contextmanager
def _there(ref: TableRef) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise PartMissing(
            f"the head names table {ref.id.hex()}, which storage does not have: restore it from a backup",
            root=error.root,
            object_id=ref.id,
        ) from error


class Listing:
    """All keys on storage, listed once: objects as columns, since there may be millions, others as entries."""

    def __init__(self, storage: Storage, seen: Callable[[int], None] | None = None, before: float = np.inf) -> None:
        """List everything stored `before` a time by storage's clock; `seen` is called with the number so far."""
        self.others: list[tuple[What, bytes, Entry]] = []
        self._ids = bytearray()
        self._sizes, self._times = array("q"), array("d")
        for number, entry in enumerate(storage.list()):
            if seen and number % 1000 == 0:
                seen(number)
            if entry.time >= before:
                continue
            what, id = classify(entry.key)
            if what is What.OBJECT:
                self._ids += id
                self._sizes.append(entry.size)
                self._times.append(entry.time)
            else:
                self.others.append((what, id, entry))

    @property
    def objects(self) -> int:
        """Number of objects with storage keys of their own."""
        return len(self._times)

    def packs(self) -> dict[builtins.bytes, int]:
        """The size of each pack, by id."""
        return {id: entry.size for what, id, entry in self.others if what is What.PACK}

    @property
    def bytes(self) -> int:
        """Total size of everything listed."""
        return sum(self._sizes) + sum(entry.size for _, _, entry in self.others)

    def unnamed(self, named: Named) -> Iterator[tuple[What, Entry]]:
        """Keys that have our form but are named nowhere: not by rows, the head or a leaving list."""
        for i in np.flatnonzero(~named.has_objects(self._object_ids())):
            key = object_key(bytes(self._ids[int(i) * _ID : (int(i) + 1) * _ID]))
            if key not in named.retired:
                yield What.OBJECT, Entry(key, self._sizes[i], self._times[i])
        for what, id, entry in self.others:
            known = named.tables if what is What.TABLE else named.packs
            if what is What.TEMPORARY or (
                what in (What.TABLE, What.PACK) and id not in known and entry.key not in named.retired
            ):
                yield what, entry

    def stored(self, keys: Iterable[str]) -> int:
        """How many of these keys were listed."""
        wanted = {key: classify(key) for key in keys}
        ids = pa.array([id for what, id in wanted.values() if what is What.OBJECT], _IDS)
        return int(pc.sum(pc.is_in(self._object_ids(), value_set=ids)).as_py() or 0) + sum(
            entry.key in wanted for _, _, entry in self.others
        )

    def _object_ids(self) -> pa.Array:
        return pa.Array.from_buffers(_IDS, self.objects, [None, pa.py_buffer(self._ids)])

    def of(self, what: What) -> Iterable[Entry]:
        """The entries of one kind, other than objects."""
        return [entry for one, _, entry in self.others if one is what]
