"""Read the rows of a lane: parts are opened and objects fetched ahead of the decoder."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.parts.reader import PartRows, PartwiseCorpus, RowsOfPart
from securedata.corpus.reader import Corpus
from securedata.errors import SecuredataError
from securedata.torch.stream.planning.lane import Lane

BLOCK_BYTES = 8 * 1024 * 1024
AHEAD = 2
"""Fetches of about `BLOCK_BYTES` that are under way beside the one whose rows are being delivered."""
_PART_ROWS = 250_000
"""Rows of parts that stay open: those of a group, less than 175,000, and of the beginning of the next."""


_Key = tuple[int, int]
"""A unit and a row in it."""


class Media(NamedTuple):
    """What a stream makes of rows: as the methods of `EncryptedDataset` with these names.

    Attributes:
        check: called with each part that is opened.
    """

    check: Callable[[Corpus], None]
    plan: Callable[[Corpus, int], Any]
    piece: Callable[[Corpus, int, Any], Piece | None]


class Item(NamedTuple):
    """A row to deliver.

    Attributes:
        i: its number in `corpus`; -1: it was left out when its part was opened.
        piece, data: what was fetched; None if the decoder reads for itself.
        error: why it could not be read.
    """

    corpus: RowsOfPart
    i: int
    plan: Any = None
    piece: Piece | None = None
    data: bytearray | None = None
    error: SecuredataError | None = None


class _Landing:
    """Pieces of one part that are being fetched."""

    def __init__(self, corpus: Corpus, keys: Sequence[_Key], pieces: Sequence[Piece], in_flight: int) -> None:
        self._keys = keys
        self._fetch = corpus.start(pieces, in_flight)
        self._outcomes = self._fetch.outcomes()
        self.poll, self.cancel = self._fetch.poll, self._fetch.cancel

    def next(self) -> tuple[_Key, bytearray | SecuredataError]:
        """The next piece that has landed; waits for it."""
        at, got = next(self._outcomes)
        return self._keys[at], got


class _Asked:
    """Rows whose pieces were asked for together: by (unit, row), the item, without data until it has landed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.units: list[int] = []
        self.items: dict[_Key, Item] = {}
        self.owners: dict[_Key, _Landing] = {}
        self.landings: list[_Landing] = []


class LaneReader:
    """Iterates over the items of a lane, in their order."""

    def __init__(
        self,
        corpora: Sequence[PartwiseCorpus],
        exact: Sequence[bool],
        lane: Lane,
        delivered: int,
        media: Media,
        in_flight: int,
    ) -> None:
        """
        Args:
            exact: of the counts of each corpus, see `Counts`.
            delivered: rows at the lane's beginning to leave out.
            in_flight: bytes to fetch at once.
        """
        self._corpora, self._exact, self._media, self._in_flight = corpora, exact, media, in_flight
        self._arrivals = lane.arrivals(delivered)
        self._units: deque[tuple[int, int, int, list[int]]] = deque()
        self._out: deque[_Key] = deque()
        self._parts: OrderedDict[tuple[int, int], PartRows] = OrderedDict()
        self._asked: dict[int, _Asked] = {}  # by unit
        self._newest: dict[int, _Landing] = {}  # of each corpus; polling it receives for all that this thread started
        self._asks = 0
        self._reached = -1

    def __iter__(self) -> Iterator[Item]:
        while self._out or self._arrive():
            if not self._out:
                continue
            key = self._out.popleft()
            while key[0] not in self._asked:
                self._ask()
            asked = self._asked[key[0]]
            self._reached = max(self._reached, asked.number)
            while self._asks - 1 - self._reached < AHEAD and self._more():
                self._ask()
            yield self._take(asked, key)

    def close(self) -> None:
        """Fetch no more."""
        for asked in dict.fromkeys(self._asked.values()):
            for landing in asked.landings:
                landing.cancel()

    def _more(self) -> bool:
        """Whether there are units that were not asked for yet."""
        while not self._units:
            if not self._arrive():
                return False
        return True

    def _arrive(self) -> bool:
        found = next(self._arrivals, None)
        if found is None:
            return False
        if len(found.unit):
            starts = np.flatnonzero(np.diff(found.unit, prepend=-1))
            for a, b in zip(starts, [*starts[1:], len(found.unit)], strict=True):
                corpus, part, unit = int(found.corpus[a]), int(found.part[a]), int(found.unit[a])
                self._units.append((unit, corpus, part, found.row[a:b].tolist()))
        self._out.extend(zip(found.out_unit.tolist(), found.out_row.tolist(), strict=True))
        return True

    def _ask(self) -> None:
        """Ask for the next units, until they have about `BLOCK_BYTES`."""
        asked, size = _Asked(self._asks), 0
        pieces: dict[tuple[int, Corpus], list[tuple[_Key, Piece]]] = {}
        while size < BLOCK_BYTES and self._more():
            unit, which, part, rows = self._units.popleft()
            self._asked[unit] = asked
            asked.units.append(unit)
            opened = self._open(which, part)
            for row, i in zip(rows, opened.find(np.array(rows, np.int64)).tolist(), strict=True):
                item = self._planned(opened.corpus, i)
                asked.items[unit, row] = item
                if i >= 0:
                    size += opened.corpus.index.location(i).sealed_size
                if item.piece is not None:
                    pieces.setdefault((which, opened.corpus), []).append(((unit, row), item.piece))
        for (which, corpus), listed in pieces.items():
            keys = [key for key, _ in listed]
            landing = _Landing(corpus, keys, [piece for _, piece in listed], self._in_flight)
            self._newest[which] = landing
            asked.landings.append(landing)
            asked.owners |= dict.fromkeys(keys, landing)
        self._asks += 1

    def _planned(self, corpus: RowsOfPart, i: int) -> Item:
        if i < 0:
            return Item(corpus, i)
        try:
            plan = self._media.plan(corpus, i)
            return Item(corpus, i, plan, self._media.piece(corpus, i, plan))
        except SecuredataError as error:
            return Item(corpus, i, error=error)

    def _open(self, which: int, part: int) -> PartRows:
        key = which, part
        found = self._parts.get(key)
        if found is None:
            found = self._corpora[which].open_part(part, self._exact[which])
            self._media.check(found.corpus)
            self._parts[key] = found
            rows = [len(one.corpus) for one in self._parts.values()]
            while len(rows) > 1 and sum(rows) > _PART_ROWS:
                self._parts.popitem(last=False)
                rows.pop(0)
        self._parts.move_to_end(key)
        return found

    def _take(self, asked: _Asked, key: _Key) -> Item:
        for landing in self._newest.values():
            landing.poll()
        while (item := asked.items[key]).piece is not None and item.data is None and item.error is None:
            there, got = asked.owners[key].next()
            landed = {"error": got} if isinstance(got, SecuredataError) else {"data": got}
            asked.items[there] = asked.items[there]._replace(**landed)
        del asked.items[key]
        if not asked.items:
            for unit in asked.units:
                del self._asked[unit]
        return item
