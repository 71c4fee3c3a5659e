"""How much of each pack is alive: the members that rows name, and the dead bytes that others left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.state.layout import PACKS, What, classify
from securedata.storage.base import Storage

COLUMNS = ("object_id", "pack", "offset", "sealed_size")


class Usage:
    """Bytes of the members that rows name, by pack; fed part by part.

    Attributes:
        live: bytes of the members, by pack id. Two rows of one object count once.
        ends: where the last of these members ends.
    """

    def __init__(self) -> None:
        self.live: dict[bytes, int] = {}
        self.ends: dict[bytes, int] = {}

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part; all rows of an object are in one."""
        table = table.select(COLUMNS).filter(pc.is_valid(table.column("pack")))
        if not table.num_rows:
            return
        ends = pc.add(table.column("offset"), table.column("sealed_size"))  # a sum that overflows is no pack's
        table = table.append_column("end", ends)
        objects = table.group_by(["pack", "object_id"], use_threads=False)
        objects = objects.aggregate([("sealed_size", "max"), ("end", "max")])
        packs = objects.group_by("pack", use_threads=False).aggregate([("sealed_size_max", "sum"), ("end_max", "max")])
        for pack, size, end in zip(*(packs.column(at).to_pylist() for at in range(3)), strict=True):
            self.live[pack] = self.live.get(pack, 0) + size
            self.ends[pack] = max(self.ends.get(pack, 0), end)

    def dead(self, stored: Mapping[bytes, int] | None = None) -> dict[bytes, int]:
        """Dead bytes, by pack: the holes between members, and what is behind the last one if `stored` sizes are given.

        A pack that is not stored, or is too short for its members, has none.
        """
        sizes = self.ends if stored is None else stored
        return {pack: max(0, sizes.get(pack, 0) - live) for pack, live in self.live.items()}


def usage_of(parts: Iterable[pa.Table]) -> Usage:
    """The usage by the rows of these parts."""
    usage = Usage()
    for part in parts:
        usage.add(part)
    return usage


def stored_packs(storage: Storage) -> dict[bytes, int]:
    """The size of each pack on storage. Raises StorageError."""
    found = ((classify(entry.key), entry.size) for entry in storage.list(PACKS))
    return {id: size for (what, id), size in found if what is What.PACK}
