"""Pieces of many objects that are fetched together: what to fetch, and opening each once all of it has landed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from securedata.corpus.rows.index import Index, Location, place_of
from securedata.errors import SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.format.ranges import open_range, ranges_for
from securedata.format.sealed import Expect, open_whole
from securedata.storage.base import Wanted


class Piece(NamedTuple):
    """Of row `i`: the whole object (`length` None), or `length` bytes of plaintext from `offset`."""

    i: int
    offset: int = 0
    length: int | None = None


class ObjectBatch:
    """The ranges of several pieces, in one list for storage."""

    __slots__ = ("_count", "_expects", "_index", "_landed", "_owners", "_pieces", "wanted")

    def __init__(self, pieces: Sequence[Piece], index: Index, expect: Callable[[Location], Expect]) -> None:
        self.wanted: list[Wanted] = []
        self._pieces, self._index = pieces, index
        self._expects: list[Expect] = []
        self._owners: list[tuple[int, int]] = []
        self._landed: list[dict[int, Buffer] | None] = []
        self._count: list[int] = []
        for at, piece in enumerate(pieces):
            location = index.location(piece.i)
            self._expects.append(expect(location))
            ranges = self._ranges(piece, location, self._expects[at])
            self.wanted += ranges
            self._owners += [(at, number) for number in range(len(ranges))]
            self._landed.append({})
            self._count.append(len(ranges))

    @staticmethod
    def _ranges(piece: Piece, location: Location, expect: Expect) -> list[Wanted]:
        key, base = place_of(location, expect)
        if piece.length is None:
            # one byte more than the row says, so that an object that grew is noticed and never read whole
            return [Wanted(key, base, location.sealed_size + (location.pack is None), location.sealed_size)]
        return [
            Wanted(key, base + offset, length, length)
            for offset, length in ranges_for(piece.offset, piece.length, expect)
        ]

    def open(
        self, group: Sequence[tuple[int, Buffer | SecuredataError]]
    ) -> list[tuple[int, bytearray | SecuredataError]]:
        """Ranges of `wanted` have landed: their pieces that this decides, each with its plaintext or an error."""
        return [one for position, got in group for one in self._land(position, got)]

    def _land(self, position: int, got: Buffer | SecuredataError) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        at, number = self._owners[position]
        landed = self._landed[at]
        if landed is None:  # another range of this piece failed
            return
        if isinstance(got, SecuredataError):
            self._landed[at] = None
            yield at, got
            return
        landed[number] = got
        if len(landed) == self._count[at]:
            self._landed[at] = None
            yield at, self._open(at, [landed[number] for number in range(len(landed))])

    def _open(self, at: int, ranges: list[Buffer]) -> bytearray | SecuredataError:
        piece, expect = self._pieces[at], self._expects[at]
        key = self._index.key(piece.i)
        try:
            if piece.length is None:
                return open_whole(key, ranges[0], expect)
            return open_range(key, lambda _: ranges, piece.offset, piece.length, expect)
        except SecuredataError as error:
            return error
