"""Make one pack: fetch its members side by side, open each with its data key, and send them in their order.

Storage is never trusted: what a commit names as the member of a pack must be the object of its row. Header and size
alone would let a damaged object into a pack, where it looks sound until somebody reads it, so each member is
authenticated to its last byte. That is cheap: opening 150 kB takes 40 us, fetching it over HTTP 180.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from securedata.corpus.objects.fetch import PIECE, expect_of, extent_of, open_piece
from securedata.corpus.objects.neighbours import PER_REQUEST, fetch_joined
from securedata.corpus.objects.put import GONE
from securedata.corpus.packs.moves import MOVES
from securedata.corpus.packs.put import PackPut
from securedata.corpus.rows.index import Location
from securedata.corpus.writer import Writer
from securedata.errors import FormatError, SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.storage.base import Wanted
from securedata.threads import BoundedPool

_TOGETHER, _BATCH_BYTES = 64, 2 * PIECE
_IN_FLIGHT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """An object to pack: where it is, its data key, the path of its first row and how many rows it has."""

    location: Location
    data_key: bytes = field(repr=False)
    path: str = field(repr=False)
    rows: int


@dataclass(frozen=True, slots=True)
class Made:
    """A pack that is on storage, not yet committed; each member with its offset."""

    pack: PackPut
    members: tuple[tuple[Member, int], ...]

    def moves(self) -> Iterator[dict[str, Any]]:
        """The rows of the table of moves."""
        for one, offset in self.members:
            id, pack, old, _, _ = one.location
            new = {"pack": self.pack.pack_id, "offset": offset}
            yield {"object_id": id, "old_pack": pack, "old_offset": None if pack is None else old, **new}


def moves_table(made: Sequence[Made]) -> pa.Table:
    """The moves of several packs."""
    return pa.Table.from_pylist([move for one in made for move in one.moves()], schema=MOVES)


def members_of(table: pa.Table, rows: Sequence[int]) -> list[Member]:
    """These rows of a window as members."""
    some = table.take(pa.array(rows, pa.int64())).to_pylist()
    return [
        Member(Location(*(one[name] for name in Location._fields)), one["data_key"], one["path"], one["rows"])
        for one in some
    ]


class Maker:
    """Makes packs, one after the other."""

    def __init__(
        self,
        writer: Writer,
        threads: int | None,
        failed: Callable[[Member, SecuredataError], object],
        done: Callable[[int, int], object],
    ) -> None:
        """`failed`: called with each member that cannot be read; `done`: with members and bytes, as they are read."""
        self._writer, self._failed, self._done = writer, failed, done
        self._threads = threads or min(4, os.cpu_count() or 1)

    def make(self, members: Sequence[Member], least: int) -> Made | None:
        """Put a pack of those members that open; None, and nothing is put, if they are fewer than `least`.

        Raises:
            StorageError, KeysExpired, AuthenticationFailed: the pack did not become one.
        """
        placed: list[tuple[Member, int]] = []
        with BoundedPool[list[Member], list[Buffer | SecuredataError]](
            "securedata-pack", self._threads, self._threads + 1
        ) as pool:
            stream = self._sealed(pool, members, placed)
            first = list(itertools.islice(stream, least))
            if len(first) < least:
                return None
            put = self._writer.put_pack(itertools.chain(first, stream))
        return Made(put, tuple(placed))

    def _sealed(
        self,
        pool: BoundedPool[list[Member], list[Buffer | SecuredataError]],
        members: Sequence[Member],
        placed: list[tuple[Member, int]],
    ) -> Iterator[Buffer]:
        offset = 0
        calls = ((batch, partial(self._read, batch)) for batch in _batches(members))
        for batch, future in pool.results(calls):
            for one, got in zip(batch, future.result(), strict=True):
                self._done(1, one.location.sealed_size)
                if isinstance(got, SecuredataError):
                    self._failed(one, got)
                    continue
                placed.append((one, offset))
                offset += len(got)
                yield got

    def _read(self, batch: list[Member]) -> list[Buffer | SecuredataError]:
        """The sealed bytes of members that open, as they lie on storage; for others, why not."""
        writer = self._writer
        found: list[Buffer | SecuredataError] = [FormatError("not fetched")] * len(batch)
        expects = [expect_of(one.location, writer.corpus_id, writer.root) for one in batch]
        wanted: list[Wanted] = []
        asked: list[int] = []
        for at, one in enumerate(batch):
            try:
                key, base, [(_, length)] = extent_of(one.location, expects[at], 0, None)
            except FormatError as error:
                found[at] = error
            else:
                wanted.append(Wanted(key, base, length, one.location.sealed_size))
                asked.append(at)
        packed = [batch[at].location.pack is not None for at in asked]
        for number, got in fetch_joined(writer.storage, wanted, packed, _IN_FLIGHT):
            at = asked[number]
            if isinstance(got, SecuredataError):
                if not isinstance(got, GONE):
                    raise got
                found[at] = got
                continue
            try:
                open_piece(batch[at].data_key, [got], [], 0, None, expects[at])
            except FormatError as error:
                found[at] = error
            else:
                found[at] = got
        return found


def _batches(members: Sequence[Member]) -> Iterator[list[Member]]:
    batch: list[Member] = []
    size = weight = 0
    for one in members:
        if batch and (weight >= _TOGETHER * PER_REQUEST or size + one.location.sealed_size > _BATCH_BYTES):
            yield batch
            batch, size, weight = [], 0, 0
        batch.append(one)
        size += one.location.sealed_size
        weight += PER_REQUEST if one.location.pack is None else 1
    if batch:
        yield batch
