"""Reads of one corpus's objects and packs through the cache: what is there costs no request.

An entry is a whole object, or the member of a pack, under its own id. A range of one is read from the entry; if there
is none, an object of up to 1 MiB is fetched whole while the cache has room, since the next crop of it lies elsewhere.
Of larger objects, and where the caller does not say which object a range belongs to (blocks of a stream), the range
itself is the entry: the same segments and blocks come in every epoch.

Only sealed bytes pass here, and nothing is checked but lengths: the AEAD checks them when they are opened. A caller
whose bytes do not open calls `again`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from securedata.errors import SecuredataError
from securedata.foreign.describe import describe
from securedata.forks import Instances
from securedata.storage.base import BATCH_BYTES, Buffer, Download, Group, Storage, Wanted
from securedata.storage.cache.counts import Counts, add_counts, read_counts, sweeping
from securedata.storage.cache.entry import SHARDS, Entry, shards_of
from securedata.storage.cache.folder import CacheFolder
from securedata.storage.cache.ledger import Busy
from securedata.storage.cache.shards import names, unlink

WHOLE = 1024 * 1024
"""The largest object that is fetched whole although a range of it was asked for."""
_NOTE = 1.0
"""Seconds between two notes of what was counted."""

Within = tuple[int, int]
Extent = tuple[bytes, int, int, bool]
"""The id of an object, or of its pack; its offset there and its length; is it in a pack?"""

_log = logging.getLogger("securedata")


class Counters(Protocol):
    """What counts the reads of a process."""

    cache_hits: int
    cache_misses: int
    cache_bytes: int


class _Fetch(NamedTuple):
    """What to fetch, the entry to keep it as, and the positions of those who want it."""

    wanted: Wanted
    entry: Entry | None
    places: list[int]


class CachedReads:
    """Reads through the cache, and from storage what it does not have. Safe for several threads."""

    def __init__(
        self,
        storage: Storage,
        folder: CacheFolder,
        corpus_id: bytes,
        prefixes: tuple[str, ...],
        counters: Callable[[], Counters],
    ) -> None:
        """
        Args:
            prefixes: of the keys to keep, which end with the id of an object or pack.
            counters: those of this process.
        """
        self.storage = storage
        self.folder = folder
        self._corpus = corpus_id.hex()
        self._prefixes = prefixes
        self._counters = counters
        self._fresh_process()
        _live.add(self)

    def __repr__(self) -> str:
        if not hasattr(self, "folder"):
            return "<CachedReads, not made>"
        return f"CachedReads({self.storage!r}, {self.folder!r})"

    def _fresh_process(self) -> None:
        self._noted = Counts()
        self._note_after = 0.0

    # ------------------------------------------------------------ read

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], within: Within) -> Sequence[Buffer]:
        """As `Storage.get_ranges`, of the object that is `within` (offset, length) under the key."""
        whole = self._entry(key, *within)
        if whole is None:
            return self.storage.get_ranges(key, ranges)
        base, size = within
        found = self.folder.read(whole, [(offset - base, length) for offset, length in ranges])
        if found is not None:
            return self._hit(found)
        if ranges[0][0] <= base and ranges[0][1] >= size:  # all of it was asked for
            got = self.storage.get_ranges(key, ranges)
            self._miss(len(ranges))
            self.folder.put(whole, got[0])
            return got
        if size <= WHOLE and self.folder.has_room(size):
            [data] = self.storage.get_ranges(key, [within])
            self._miss(len(ranges))
            self.folder.put(whole, data)
            return [memoryview(data)[offset - base :][:length] for offset, length in ranges]
        parts = [Entry(self._corpus, whole.stored, *one) for one in ranges]
        had = [self.folder.read(one, [(0, one.length)]) for one in parts]
        lacking = [at for at, one in enumerate(had) if one is None]
        fetched = iter(self.storage.get_ranges(key, [ranges[at] for at in lacking]) if lacking else ())
        self._miss(len(lacking))
        out: list[Buffer] = []
        for part, one in zip(parts, had, strict=True):
            if one is not None:
                out += self._hit(one)
            else:
                out.append(data := next(fetched))
                self.folder.put(part, data)
        return out

    def start(self, wanted: Sequence[Wanted], in_flight: int) -> Download:
        """As `Storage.start`. What the cache has is read when the groups are taken; the disk is asked to read ahead."""
        hits: list[tuple[int, Entry]] = []
        fetches: dict[Entry | int, _Fetch] = {}
        for at, one in enumerate(wanted):
            entries = self._entries(one)
            if (entry := next((entry for entry in entries if self.folder.expects(entry)), None)) is not None:
                hits.append((at, entry))
            else:
                self._plan(fetches, at, one, entries)
        asked = list(fetches.values())
        return _Mixed(self, wanted, hits, asked, in_flight).download()

    def again(self, wanted: Iterable[Wanted]) -> list[Buffer]:
        """Drop what the cache has of these ranges, since it did not open, and fetch them from storage.

        Raises:
            as `Storage.get_ranges`
        """
        got: list[Buffer] = []
        for one in wanted:
            self.forget([one])
            got += self.storage.get_ranges(one.key, [(one.offset, one.length)])
        return got

    def forget(self, wanted: Iterable[Wanted]) -> None:
        """Drop what the cache has of these ranges."""
        for one in wanted:
            for entry in self._entries(one):
                self.folder.drop(entry)

    # ------------------------------------------------------------ inside

    def _entry(self, key: str, offset: int, length: int) -> Entry | None:
        return Entry(self._corpus, key[-32:], offset, length) if key.startswith(self._prefixes) else None

    def _entries(self, one: Wanted) -> list[Entry]:
        """The entries that could hold a range, the object's first."""
        found = [] if one.within is None else [self._entry(one.key, *one.within)]
        if one.within is None or not _covers(one, one.within):
            found.append(self._entry(one.key, one.offset, one.length))
        return [entry for entry in found if entry is not None]

    def _plan(self, fetches: dict[Entry | int, _Fetch], at: int, one: Wanted, entries: list[Entry]) -> None:
        if not entries:
            fetches[at] = _Fetch(one, None, [at])
            return
        first, last, within = entries[0], entries[-1], one.within
        if first in fetches:  # another range of the same object, or the same object twice
            fetches[first].places.append(at)
        elif within is not None and first is not last and within[1] <= WHOLE and self.folder.has_room(within[1]):
            fetches[first] = _Fetch(Wanted(one.key, *within, within[1]), first, [at])
        elif last in fetches:
            fetches[last].places.append(at)
        else:
            fetches[last] = _Fetch(one, last, [at])

    def _hit(self, found: list[bytes]) -> list[bytes]:
        counters = self._counters()
        counters.cache_hits += len(found)
        counters.cache_bytes += sum(map(len, found))
        self._note(counters)
        return found

    def _miss(self, many: int) -> None:
        counters = self._counters()
        counters.cache_misses += many
        self._note(counters)

    def _note(self, counters: Counters, now: bool = False) -> None:
        """Add what was counted since the last time to what the host has counted, once in a second."""
        if time.monotonic() < self._note_after and not now:
            return
        self._note_after = time.monotonic() + _NOTE
        total = Counts(counters.cache_hits, counters.cache_misses, counters.cache_bytes, self.folder.failed)
        before = self._noted
        more = Counts(
            total.hits - before.hits,
            total.misses - before.misses,
            total.size - before.size,
            total.errors - before.errors,
        )
        root = self.folder.root()
        if root is not None and any(more[:4]):
            try:
                add_counts(root, self._corpus, more)
            except (Busy, OSError):  # they are noted next time
                return
            self._noted = total

    def flush(self) -> None:
        """Note what was counted now."""
        self._note(self._counters(), now=True)

    # ------------------------------------------------------------ evict

    def evict(self, extents: Iterable[Extent]) -> int:
        """Delete the entries that hold bytes of these objects; returns how many. A failure is logged."""
        spans: dict[str, list[Within]] = {}
        shards: set[int] = set()
        for stored, offset, length, packed in extents:
            spans.setdefault(stored.hex(), []).append((offset, length))
            # a block of a pack may begin anywhere before the member
            shards |= set(range(SHARDS)) if packed else shards_of(stored.hex(), length)
        return self._unlink(
            shards,
            lambda one: one.corpus == self._corpus and any(one.overlaps(*span) for span in spans.get(one.stored, ())),
        )

    def drop(self, entries: Iterable[Entry]) -> int:
        """Delete these entries; returns how many. A failure is logged."""
        going = frozenset(entries)
        return self._unlink({one.shard for one in going}, going.__contains__)

    def _unlink(self, shards: set[int], goes: Callable[[Entry], bool]) -> int:
        root = self.folder.root()
        if root is None:
            return 0
        try:
            return unlink(root, sorted(shards), goes)
        except OSError as error:
            _log.warning("entries of the cache in %s cannot be deleted: %s", self.folder.place, describe(error))
            return 0

    def entries(self) -> list[Entry]:
        """What the cache has of this corpus; nothing if it cannot be looked at."""
        root = self.folder.root()
        try:
            return [] if root is None else [one for one in names(root) if one.corpus == self._corpus]
        except OSError:
            return []

    def swept(self) -> bytes:
        """Identifies the erasures whose entries were deleted on this host: see `note_swept`."""
        root = self.folder.root()
        try:
            return Counts().swept if root is None else read_counts(root, self._corpus).swept
        except OSError:
            return Counts().swept

    def note_swept(self, mark: bytes) -> None:
        """Note, for all processes of this host, of which erasures the entries were deleted."""
        root = self.folder.root()
        if root is not None:
            with contextlib.suppress(Busy, OSError):  # then they are searched for again
                add_counts(root, self._corpus, Counts(swept=mark))

    @contextlib.contextmanager
    def sweeping(self) -> Iterator[bool]:
        """Let one process of this host at a time search for such entries; false: another one does, or none can."""
        root = self.folder.root()
        with contextlib.ExitStack() as stack:
            try:
                if root is not None:
                    stack.enter_context(sweeping(root, self._corpus))
            except (Busy, OSError):
                root = None
            yield root is not None


class _Mixed:
    """One download, partly from the cache."""

    def __init__(
        self,
        reads: CachedReads,
        wanted: Sequence[Wanted],
        hits: list[tuple[int, Entry]],
        fetches: list[_Fetch],
        in_flight: int,
    ) -> None:
        self._reads, self._wanted, self._hits, self._fetches, self._in_flight = reads, wanted, hits, fetches, in_flight
        self._inner = self._fetch(fetches)

    def _fetch(self, fetches: list[_Fetch]) -> Download | None:
        return self._reads.storage.start([one.wanted for one in fetches], self._in_flight) if fetches else None

    def download(self) -> Download:
        return Download(self._groups(), self._poll, self._cancel)

    def _poll(self) -> bool:
        return self._inner is not None and self._inner.poll()

    def _cancel(self) -> None:
        if self._inner is not None:
            self._inner.cancel()

    def _groups(self) -> Iterator[Group]:
        lost: dict[Entry | int, _Fetch] = {}
        group: Group = []
        size = 0
        for at, entry in self._hits:
            one = self._wanted[at]
            found = self._reads.folder.read(entry, [(one.offset - entry.offset, one.length)])
            if found is None:  # evicted since the start
                self._reads._plan(lost, at, one, self._reads._entries(one))
                continue
            group.append((at, self._reads._hit(found)[0]))
            size += len(found[0])
            if size >= BATCH_BYTES:
                yield group
                group, size = [], 0
                self._poll()
        if group:
            yield group
        yield from self._arrived(self._fetches)
        if lost:
            late = list(lost.values())
            self._inner = self._fetch(late)
            yield from self._arrived(late)

    def _arrived(self, fetches: list[_Fetch]) -> Iterator[Group]:
        if self._inner is None:
            return
        for group in self._inner.groups:
            yield [one for number, got in group for one in self._land(fetches[number], got)]

    def _land(self, fetch: _Fetch, got: Buffer | SecuredataError) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        self._reads._miss(len(fetch.places))
        if isinstance(got, SecuredataError):
            for at in fetch.places:
                yield at, got
            return
        if fetch.entry is not None:
            self._reads.folder.put(fetch.entry, got)
        for at in fetch.places:
            one = self._wanted[at]
            same = (one.offset, one.length) == (fetch.wanted.offset, fetch.wanted.length)
            yield at, got if same else memoryview(got)[one.offset - fetch.wanted.offset :][: one.length]


def _covers(one: Wanted, within: Within) -> bool:
    return one.offset <= within[0] and one.offset + one.length >= sum(within)


_live = Instances(in_child=CachedReads._fresh_process)
