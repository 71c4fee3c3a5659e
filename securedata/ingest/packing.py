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
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.format.cobblestone import Buffer
from securedata.ingest.copies.comparing import Comparing, New
from securedata.ingest.items import Item

PACK_SECONDS = 600.0
"""After so many seconds a pack is put though it is not full, so that a kill costs no more than that."""
_MOST_ROWS = 50_000
"""Rows of a pack; a manifest part takes the rows of one, and of what else a commit adds."""


class Written(NamedTuple):
    """Rows of a new pack, in its order; those that it was not made with, and what a commit would say of them."""

    new: list[New]
    left_out: list[New]
    refused: Outcome


class DirectPacks:
    """Sealed recordings of one run that wait for a pack. One thread uses it."""

    def __init__(self, writer: Writer, comparing: Comparing, replace: bool, reseal: bool) -> None:
        """`replace` and `reseal` as for `Writer.commit`."""
        self.report = PackReport(writer.root)
        self._writer, self._comparing, self._replace, self._reseal = writer, comparing, replace, reseal
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
        self._sealed[object_id] = sealed  # first: Ctrl-C can come between any two lines
        self._new += new
        self._bytes += len(sealed)

    @property
    def due(self) -> bool:
        """Is there enough for a pack, or has something waited for long?"""
        return bool(self._new) and (
            self._bytes >= SIZE or len(self._new) >= _MOST_ROWS or time.monotonic() - self._since >= PACK_SECONDS
        )

    def write(self) -> Written:
        """Put what waits and can be added as one pack; afterwards nothing waits, whether it was put or not.

        Raises:
            StorageError, KeysError, CorpusError
        """
        new, sealed = self._new, self._sealed
        self._empty()
        compared = self._comparing.take(new)
        # by all rules of a commit: one row that is refused later costs the whole pack
        taken = [*compared.kept, *compared.erased]
        refused = self._writer.rehearse(
            rows_table(one.row for one in taken), replace=self._replace, reseal=self._reseal
        )
        paths = {*refused.conflicts, *refused.erased, *refused.held}
        left_out = [one for one in taken if one.row["path"] in paths]
        rows: dict[bytes, list[New]] = {}
        for one in taken:
            if one.row["path"] not in paths:
                rows.setdefault(one.row["object_id"], []).append(one)
        if not rows:
            return Written([], left_out, refused)
        ids = list(rows)
        table = pa.table({"object_id": pa.array(ids, pa.binary(16))})
        ids = [ids[at] for at in order(table, Choice()).tolist()]
        put = self._writer.put_pack(sealed.pop(id) for id in ids)
        offset, packed = 0, []
        for id in ids:
            for one in rows[id]:
                packed.append(New(one.i, {**one.row, "pack": put.pack_id, "offset": offset}))
            offset += rows[id][0].row["sealed_size"]
        return Written(packed, left_out, refused)

    def count(self, new: Sequence[New], committed: Collection[bytes]) -> None:
        """Count the packs that a commit names, and what was written in vain."""
        packed = [one.row for one in new if "pack" in one.row]
        named = [row for row in packed if row["pack"] in committed]
        sizes = {row["object_id"]: row["sealed_size"] for row in named}
        self.report.packs += len({row["pack"] for row in named})
        self.report.objects += len(sizes)
        self.report.rows += len(named)
        self.report.bytes += sum(sizes.values())
        self.report.again += len({row["object_id"] for row in packed} - sizes.keys())


def shuffled(items: Iterable[Item]) -> deque[Item]:
    """In the order of a hash of their names, which is the same in every run."""
    return deque(sorted(items, key=lambda item: hashlib.blake2b(item.file.encode(errors="surrogatepass")).digest()))
