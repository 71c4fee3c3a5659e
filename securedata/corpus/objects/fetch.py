"""Which ranges of an object to fetch, and how to open them: every object that a row names is opened here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from securedata.corpus.objects.neighbours import Member, joined
from securedata.corpus.rows.index import Index, Location, place_of
from securedata.errors import SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.format.header import Kind
from securedata.format.ranges import open_fetched, ranges_for
from securedata.format.sealed import Expect, open_into, open_stream, open_whole
from securedata.storage.base import Storage, Wanted

PIECE = 4 * 1024 * 1024
"""Bytes on storage that `open_in_pieces` holds at once."""

_DATA = Kind.DATA


class Piece(NamedTuple):
    """The object of row `i`: whole (`length` None), or `length` bytes of plaintext from `offset`."""

    i: int
    offset: int = 0
    length: int | None = None


Extent = tuple[str, int, list[tuple[int, int]]]
"""A storage key, the offset of an object under it, and the (offset, length) ranges of the object that a piece needs."""


def expect_of(location: Location, corpus_id: bytes, root: str) -> Expect:
    """What the object of a row must turn out to be."""
    object_id, _, _, sealed_size, size = location
    return Expect(_DATA, corpus_id, object_id, root, sealed_size, size)


def extent_of(location: Location, expect: Expect, offset: int, length: int | None) -> Extent:
    """Where a piece of an object is: the whole object (`length` None), or a range of its plaintext.

    Raises:
        Truncated: no object can have the position or the sizes that the row gives.
        InvalidArgument: a negative offset or length.
    """
    key, base = place_of(location, expect)
    if length is not None:
        return key, base, ranges_for(offset, length, expect)
    # one byte more than the row says: an object that grew is noticed, and not read to its end
    return key, base, [(0, location.sealed_size + (location.pack is None))]


def open_piece(
    data_key: Buffer,
    landed: Sequence[Buffer],
    ranges: Sequence[tuple[int, int]],
    offset: int,
    length: int | None,
    expect: Expect,
) -> bytearray:
    """The plaintext of a piece, from its fetched `ranges`.

    Raises:
        FormatError
    """
    if length is None:
        # sized by the bytes received, not by the size that the row claims
        return open_whole(data_key, landed[0], expect)
    return open_fetched(data_key, landed, ranges, offset, length, expect)


def open_object_into(data_key: Buffer, landed: Sequence[Buffer], out: Buffer, expect: Expect) -> int:
    """Open a whole fetched object into `out`; returns the number of plaintext bytes. After an error `out` holds none.

    Raises:
        FormatError, InvalidArgument
    """
    return open_into(data_key, landed[0], out, expect)


def open_saved(data_key: Buffer, pieces: Iterable[Buffer], expect: Expect) -> None:
    """Open an object whose sealed bytes come from a saved copy, not from storage, to its end; the plaintext is dropped.

    Raises:
        FormatError: it does not open with this key.
        what `pieces` raises
    """
    for _ in open_stream(data_key, pieces, expect):
        pass


def open_in_pieces(
    storage: Storage, location: Location, data_key: Buffer, expect: Expect, check: Callable[[], object] | None = None
) -> Iterator[bytearray]:
    """Fetch a whole object, 4 MiB at a time; yields its plaintext, which is complete only when the iterator ends.

    Args:
        check: called before each fetch, and after it, since a fetch can take long.

    Raises:
        FormatError, StorageError, what `check` raises
    """
    key, base, [(_, size)] = extent_of(location, expect, 0, None)

    def fetched() -> Iterator[Buffer]:
        for at in range(0, size, PIECE):
            wanted = min(PIECE, size - at)
            if check is not None:
                check()
            piece = storage.get_ranges(key, [(base + at, wanted)])[0]
            if check is not None:
                check()
            yield piece
            if len(piece) < wanted:
                return

    if size <= PIECE:
        yield open_whole(data_key, next(fetched()), expect)
    else:
        yield from open_stream(data_key, fetched(), expect)


class ObjectBatch:
    """The ranges of several pieces as one list for storage; each piece is opened once all its ranges have arrived.

    Members of a pack that lie beside each other are fetched together, and opened from where they lie in the answer.

    Attributes:
        ranges: those of each piece, in order.
        wanted: what to fetch for them.
    """

    __slots__ = ("_expects", "_extents", "_index", "_landed", "_members", "_owners", "_pieces", "ranges", "wanted")

    def __init__(self, pieces: Sequence[Piece], index: Index, corpus_id: bytes, root: str) -> None:
        self.ranges: list[Wanted] = []
        packed: list[bool] = []
        self._pieces, self._index = pieces, index
        self._expects: list[Expect] = []
        self._extents: list[list[tuple[int, int]]] = []
        self._owners: list[tuple[int, int]] = []
        self._landed: list[dict[int, Buffer] | None] = []
        for at, (i, offset, length) in enumerate(pieces):
            location = index.location(i)
            expect = expect_of(location, corpus_id, root)
            key, base, ranges = extent_of(location, expect, offset, length)
            most = location.sealed_size
            for number, (start, size) in enumerate(ranges):
                self.ranges.append(Wanted(key, base + start, size, min(size, most), (base, most)))
                packed.append(location.pack is not None)
                self._owners.append((at, number))
            self._expects.append(expect)
            self._extents.append(ranges)
            self._landed.append({})
        self.wanted: list[Wanted]
        self._members: list[list[Member]] | None
        self.wanted, self._members = joined(self.ranges, packed) if any(packed) else (self.ranges, None)

    def came_in(self, at: int) -> list[Wanted]:
        """The requests in which a piece arrived together with others."""
        if self._members is None:
            return []
        mine = {position for position, (owner, _) in enumerate(self._owners) if owner == at}
        both = zip(self.wanted, self._members, strict=True)
        return [one for one, members in both if len(members) > 1 and any(place[0] in mine for place in members)]

    def drop(self, at: int) -> None:
        """Never open a piece, though its ranges arrive."""
        self._landed[at] = None

    def open(
        self, group: Sequence[tuple[int, Buffer | SecuredataError]]
    ) -> list[tuple[int, bytearray | SecuredataError]]:
        """Take ranges of `wanted` that arrived; returns the pieces that are now complete or failed."""
        if self._members is None:
            return [one for position, got in group for one in self._land(position, got)]
        found: list[tuple[int, bytearray | SecuredataError]] = []
        for fetched, got in group:
            members = self._members[fetched]
            if isinstance(got, SecuredataError) or len(members) == 1:
                parts: list[Buffer | SecuredataError] = [got] * len(members)
            else:
                view = memoryview(got)
                parts = [view[begin : begin + length] for _, begin, length in members]
            for (position, _, _), part in zip(members, parts, strict=True):
                found += self._land(position, part)
        return found

    def _land(self, position: int, got: Buffer | SecuredataError) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        at, number = self._owners[position]
        landed = self._landed[at]
        if landed is None:  # another range of this piece failed, or it was dropped
            return
        if isinstance(got, SecuredataError):
            self._landed[at] = None
            yield at, got
            return
        landed[number] = got
        if len(landed) == len(self._extents[at]):
            self._landed[at] = None
            yield at, self._open(at, [landed[number] for number in range(len(landed))])

    def _open(self, at: int, landed: list[Buffer]) -> bytearray | SecuredataError:
        i, offset, length = self._pieces[at]
        try:
            return open_piece(self._index.key(i), landed, self._extents[at], offset, length, self._expects[at])
        except SecuredataError as error:
            return error
