"""The manifest parts that the newest head names, as a writer reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.state.tables import part_missing, read_table
from securedata.errors import NotFound
from securedata.storage.base import Storage

_FEW = 10
_IDS = ("object_id", "pack")


def named_keys(view: pa.Table, wanted: pa.Array) -> set[bytes]:
    """Those of `wanted` that rows need: objects that no pack holds, and packs; `view` has `object_id` and `pack`."""
    ids, packs = view.column("object_id"), view.column("pack")
    alone = pc.and_(pc.is_null(packs), pc.is_in(ids, value_set=wanted))
    return {*ids.filter(alone).to_pylist(), *packs.filter(pc.is_in(packs, value_set=wanted)).drop_null().to_pylist()}


class LiveParts:
    """Reads live parts, and caches small sets of columns, since every try of a commit reads them again."""

    def __init__(self, storage: Storage, corpus_id: bytes, root: str) -> None:
        self._storage, self._corpus_id, self._root = storage, corpus_id, root
        self._kept: dict[bytes, dict[tuple[str, ...], pa.Table]] = {}

    def read_table(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """Read a live part: these columns (None: all).

        Raises:
            PartMissing: storage does not have it; the head may have been replaced meanwhile.
            FormatError, MalformedManifest, StorageError
        """
        if columns is None or len(columns) > _FEW:
            return self._fetch(part, columns)
        kept = self._kept.setdefault(part.id, {})
        if tuple(columns) not in kept:
            kept[tuple(columns)] = self._fetch(part, columns)
        return kept[tuple(columns)]

    def keep(self, part: TableRef, table: pa.Table) -> None:
        """Cache which objects a newly written part names, so that it need not be read again."""
        self._kept.setdefault(part.id, {})[_IDS] = table.select(_IDS)

    def named(self, head: Head, ids: Iterable[bytes]) -> set[bytes]:
        """Those of `ids`, of objects, packs and parts, that this head names.

        An object counts by its own storage key: one that lies in a pack does not, for nothing reads that key any more.

        Raises:
            as `read_table`
        """
        wanted = pa.array(ids, pa.binary(16))
        found = {part.id for part in head.parts} & set(wanted.to_pylist())
        for part in head.parts if len(wanted) else ():
            known = (one for one in self._kept.get(part.id, {}).values() if set(_IDS) <= set(one.schema.names))
            view = next(known, None) or self.read_table(part, _IDS)
            found.update(named_keys(view, wanted))
        return found

    def forget_all_but(self, head: Head) -> None:
        """Drop cached parts that this head does not name."""
        live = {part.id for part in head.parts}
        for gone in set(self._kept) - live:
            del self._kept[gone]

    def _fetch(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        try:
            return read_table(self._storage, self._corpus_id, part, columns)
        except NotFound as error:
            raise part_missing(self._root, part) from error
