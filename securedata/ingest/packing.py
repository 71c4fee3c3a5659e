"""New recordings go into packs directly: sealed, they wait in memory until they make a pack.

A recording that waits is nowhere on storage: a kill costs what waits, which the next run seals again. The members of a
pack are in the order of a hash of their ids, and the files of a run are taken in that of a hash of their names, so that
a pack has recordings of all people, as `pack` makes it.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from securedata.corpus.packs.choice import SIZE, Choice, order
from securedata.corpus.packs.report import PackReport
from securedata.corpus.writer import Writer
from securedata.format.cobblestone import Buffer
from securedata.ingest.copies.comparing import Comparing, New
from securedata.ingest.items import Item

PACK_SECONDS = 600.0
"""After so many seconds a pack is put though it is not full, so that a kill costs no more than that."""
_MOST_ROWS = 50_000
"""Rows of a pack; a manifest part takes the rows of one, and of what else a commit adds."""


class Written(NamedTuple):
    """Rows of recordings in new packs, in the order of the packs, and rows of people who were erased."""

    new: list[New]
    erased: list[New]


class DirectPacks:
    """Sealed recordings of one run that wait for a pack. One thread uses it."""

    def __init__(self, writer: Writer, comparing: Comparing) -> None:
        self.report = PackReport(writer.root)
        self._writer, self._comparing = writer, comparing
        self._empty()

    def _empty(self) -> None:
        self._new: list[New] = []
        self._sealed: dict[bytes, Buffer] = {}
        self._bytes, self._since = 0, time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._new)

    def add(self, new: Iterable[New], object_id: bytes, sealed: Buffer) -> None:
        """Let the rows of one object wait."""
        if not self._new:
            self._since = time.monotonic()
        self._new += new
        self._sealed[object_id] = sealed
        self._bytes += len(sealed)

    @property
    def due(self) -> bool:
        """Is there enough for a pack, or has something waited for long?"""
        return bool(self._new) and (
            self._bytes >= SIZE or len(self._new) >= _MOST_ROWS or time.monotonic() - self._since >= PACK_SECONDS
        )

    def write(self) -> Written:
        """Put all that waits as one pack; afterwards nothing waits, whether it was put or not.

        Raises:
            StorageError, KeysError, CorpusError
        """
        new, sealed = self._new, self._sealed
        self._empty()
        compared = self._comparing.take(new)
        rows: dict[bytes, list[New]] = {}
        for one in compared.kept:
            rows.setdefault(one.row["object_id"], []).append(one)
        if not rows:
            return Written([], compared.erased)
        ids = list(rows)
        table = pa.table({"object_id": pa.array(ids, pa.binary(16))})
        ids = [ids[at] for at in order(table, Choice()).tolist()]
        put = self._writer.put_pack(sealed.pop(id) for id in ids)
        offset, packed = 0, []
        for id in ids:
            for one in rows[id]:
                packed.append(New(one.i, {**one.row, "pack": put.pack_id, "offset": offset}))
            offset += rows[id][0].row["sealed_size"]
        return Written(packed, compared.erased)

    def count(self, new: Sequence[New], committed: Collection[bytes]) -> None:
        """Count the packs that a commit names."""
        named = [one for one in new if one.row.get("pack") in committed]
        sizes = {one.row["object_id"]: one.row["sealed_size"] for one in named}
        self.report.packs += len({one.row["pack"] for one in named})
        self.report.objects += len(sizes)
        self.report.rows += len(named)
        self.report.bytes += sum(sizes.values())


def shuffled(items: Iterable[Item]) -> deque[Item]:
    """In the order of a hash of their names, which is the same in every run."""
    return deque(sorted(items, key=lambda item: hashlib.blake2b(item.file.encode(errors="surrogatepass")).digest()))
