"""The rows of one head, and reading their objects. Does not change when another head is opened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from securedata.corpus.objects.fetch import ObjectBatch, Piece, expect_of, extent_of, open_object_into, open_piece
from securedata.corpus.objects.file import ObjectFile, is_read_whole
from securedata.corpus.objects.missing import Missing
from securedata.corpus.rows.index import Index
from securedata.corpus.state.consent import end_text, refuse_listed
from securedata.corpus.state.lease import HeadLease
from securedata.errors import (
    AccessDenied,
    ConsentExpired,
    FormatError,
    NotFound,
    SecuredataError,
    SubjectErased,
    SubjectRestricted,
)
from securedata.format.cobblestone import Buffer
from securedata.format.sealed import Expect
from securedata.storage.base import Storage
from securedata.storage.cache.reads import CachedReads

_SOON = 0.01  # seconds of a fetch after which the grant is checked again


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Snapshot:
    """One opening of a head; immutable. All reading of objects goes through it. Safe to use from several threads.

    Attributes:
        corpus_id, generation: of the head.
        index: its rows.
        lease: the right to keep reading, shared by the snapshots of one opened corpus.
        storage: what the corpus is on.
        missing: explains missing objects; shared likewise.
        erasures: ids of the erasures that the head showed.
        cache: objects are read through it; None: straight from storage.
    """

    corpus_id: bytes
    generation: int
    index: Index
    lease: HeadLease
    storage: Storage
    missing: Missing
    erasures: frozenset[str] = frozenset()
    cache: CachedReads | None = None

    def find(self, path: str) -> int:
        """The row of a logical path.

        Raises:
            NoSuchPath
        """
        try:
            return self.index.find(path)
        except FileNotFoundError as error:
            error.args = (f"{error} ({self.lease.root})",)
            raise

    def row(self, where: str | int) -> int:
        """The row number for a number, which may be negative, or a logical path.

        Raises:
            IndexError, NoSuchPath
        """
        return self.find(where) if isinstance(where, str) else self.index.row(where)

    def fetch(self, pieces: Sequence[Piece], in_flight: int) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        """As `Corpus.read_many`."""
        self.check_access()
        yield from self.start(pieces, in_flight).outcomes()

    def start(self, pieces: Sequence[Piece], in_flight: int) -> Fetch:
        """As `Corpus.start`."""
        return Fetch(self, pieces, in_flight)

    def read(self, i: int) -> bytearray:
        """The whole object of a row: a `fetch` of one piece, without the machinery for many."""
        return self._read(i, 0, None)

    def read_into(self, i: int, out: Buffer) -> int:
        """As `Corpus.read_into`."""
        expect, _, landed = self._fetch_one(i, 0, None)
        begun = time.perf_counter()
        try:
            size = open_object_into(self.index.key(i), landed, out, expect)
        except FormatError:
            if self.cache is None:
                raise
            size = open_object_into(self.index.key(i), self._fetch_again(i, 0, None), out, expect)
        self._count(size, time.perf_counter() - begun)
        return size

    def read_range(self, i: int, offset: int, length: int) -> bytearray:
        """As `Corpus.read_range`."""
        return self._read(i, offset, length)

    def _read(self, i: int, offset: int, length: int | None) -> bytearray:
        expect, ranges, landed = self._fetch_one(i, offset, length)
        begun = time.perf_counter()
        try:
            out = open_piece(self.index.key(i), landed, ranges, offset, length, expect)
        except FormatError:
            if self.cache is None:
                raise
            landed = self._fetch_again(i, offset, length)
            out = open_piece(self.index.key(i), landed, ranges, offset, length, expect)
        self._count(len(out), time.perf_counter() - begun)
        return out

    def ranges(self, i: int) -> Callable[[int, int], bytearray]:
        """`read_range` bound to one row."""
        return partial(self.read_range, i)

    def open(self, i: int) -> ObjectFile:
        """As `Corpus.open`."""
        format, subtype, size = self.index.values(("format", "subtype", "size"), i)
        return ObjectFile(self.ranges(i), size, is_read_whole(format, subtype, size))

    def check_access(self) -> None:
        """Renew the keys if they are due, as every read does.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        lease = self.lease
        if lease.holds():
            return
        begun = time.perf_counter()
        lease.check()
        lease.counters.seconds_wait += time.perf_counter() - begun

    def _fetch_one(
        self, i: int, offset: int, length: int | None
    ) -> tuple[Expect, list[tuple[int, int]], Sequence[Buffer]]:
        """Fetch a piece; returns what it must be, its ranges, and their sealed bytes."""
        if not self.lease.holds():
            self.check_access()
        if self.index.first_end < math.inf and (late := self._late([i])):
            raise late[0]
        location, storage = self.index.location(i), self.storage
        expect = expect_of(location, self.corpus_id, self.lease.root)
        key, base, ranges = extent_of(location, expect, offset, length)
        begun, waited = time.perf_counter(), storage.seconds_backing_off()
        wanted = [(base + at, size) for at, size in ranges] if base else ranges
        try:
            if self.cache is None:
                landed = storage.get_ranges(key, wanted)
            else:
                landed = self.cache.get_ranges(key, wanted, (base, location.sealed_size))
        except (NotFound, AccessDenied) as error:
            better = self._explained(i, error)
            if better is error:
                raise
            raise better from error
        finally:
            ended = self._count_fetch(begun, waited)
        if ended - begun > _SOON:  # the grant may have expired meanwhile, and nothing is opened after that
            self.check_access()
        return expect, ranges, landed

    def _fetch_again(self, i: int, offset: int, length: int | None) -> Sequence[Buffer]:
        """The sealed bytes of a piece from storage, since those that the cache may have given did not open."""
        assert self.cache is not None
        self.check_access()
        wanted = ObjectBatch([Piece(i, offset, length)], self.index, self.corpus_id, self.lease.root).ranges
        begun = time.perf_counter(), self.storage.seconds_backing_off()
        try:
            landed = self.cache.again(wanted)
        except (NotFound, AccessDenied) as error:
            better = self._explained(i, error)
            if better is error:
                raise
            raise better from error
        finally:
            self._count_fetch(*begun)
        self.check_access()  # the grant may have expired meanwhile
        return landed

    def _open_again(self, piece: Piece) -> bytearray | SecuredataError:
        i, offset, length = piece
        location = self.index.location(i)
        expect = expect_of(location, self.corpus_id, self.lease.root)
        try:
            ranges = extent_of(location, expect, offset, length)[2]
            return open_piece(self.index.key(i), self._fetch_again(*piece), ranges, offset, length, expect)
        except SecuredataError as error:
            return error

    def refusal(self, i: int) -> SecuredataError | None:
        """Why a row may not be read by now, as the newest head that was opened says; None: it may be."""
        return self._late([i]).get(0) if self.index.first_end < math.inf else None

    def _late(self, rows: Sequence[int]) -> dict[int, SecuredataError]:
        """Errors, by position, of the rows whose consent has ended by now, or that were closed.

        Called only if a row of the index has an end at all or was closed, so that others cost nothing.

        Raises:
            InvalidArgument: the corpus was opened to list its rows.
        """
        index, now = self.index, self.lease.now()
        if now < index.first_end:
            return {}
        if index.first_end == -math.inf:
            raise refuse_listed(self.lease.root)
        return {at: error for at, i in enumerate(rows) if (error := self._closed(i, now)) is not None}

    def _closed(self, i: int, now: float) -> SecuredataError | None:
        index = self.index
        if i in index.erased:
            return self._refusal(SubjectErased, i, "the person recorded in it, or the recording, was erased")
        if i in index.restricted:
            return self._refusal(SubjectRestricted, i, "a request to erase the person recorded in it met a hold")
        if index.end(i) <= now:
            return self._refusal(ConsentExpired, i, f"the consent to it ended at {end_text(index.end(i))}")
        return None

    def _refusal(self, kind: type[SecuredataError], i: int, why: str) -> SecuredataError:
        root, object_id = self.lease.root, self.index.location(i).object_id
        return kind(
            f"object {object_id.hex()} of {root} may no longer be read: {why}; refresh() the dataset to leave it out",
            root=root,
            object_id=object_id,
            path=self.index.path(i),
        )

    def _count(self, size: int, decrypting: float) -> None:
        counters = self.lease.counters
        counters.objects += 1
        counters.bytes += size
        counters.seconds_decrypt += decrypting

    def _count_fetch(self, begun: float, waited: float) -> float:
        """Count the time since `begun`, apart from storage's waiting; returns the current time."""
        now, waited = time.perf_counter(), self.storage.seconds_backing_off() - waited
        counters = self.lease.counters
        counters.seconds_fetch += now - begun - waited
        counters.seconds_wait += waited
        return now

    def _explained(self, i: int, error: NotFound | AccessDenied) -> SecuredataError:
        begun = time.perf_counter()
        better = self.missing.explain(self.index, i, self.generation, self.erasures, error)
        self.lease.counters.seconds_wait += time.perf_counter() - begun
        return better


class Fetch:
    """Pieces of many rows on their way, for the thread and the process that started it.

    All `outcomes` must be taken, or it must be cancelled. Sealed bytes arrive meanwhile; nothing is opened, and no key
    is needed, before the outcomes are taken.
    """

    __slots__ = ("_batch", "_download", "_late", "_pieces", "_places", "_snapshot")

    def __init__(self, snapshot: Snapshot, pieces: Sequence[Piece], in_flight: int) -> None:
        self._snapshot, self._pieces = snapshot, pieces
        self._late = snapshot._late([piece.i for piece in pieces]) if snapshot.index.first_end < math.inf else {}
        # nothing is asked of storage for rows that may no longer be read
        self._places = [at for at in range(len(pieces)) if at not in self._late]
        fetched = [pieces[at] for at in self._places] if self._late else pieces
        self._batch = ObjectBatch(fetched, snapshot.index, snapshot.corpus_id, snapshot.lease.root)
        storage = snapshot.storage
        begun = time.perf_counter(), storage.seconds_backing_off()
        self._download = (snapshot.cache or storage).start(self._batch.wanted, in_flight)
        snapshot._count_fetch(*begun)

    def __repr__(self) -> str:
        return "<Fetch>"

    def poll(self) -> bool:
        """Receive what has arrived, without waiting; returns whether there is more to come. Counted as fetching."""
        storage = self._snapshot.storage
        begun = time.perf_counter(), storage.seconds_backing_off()
        more = self._download.poll()
        self._snapshot._count_fetch(*begun)
        return more

    def cancel(self) -> None:
        """Abandon what has not been taken; nothing happens if there is nothing left."""
        self._download.cancel()

    def outcomes(self) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        """Wait for the pieces and open them, as `Corpus.read_many` does. To be called once.

        Raises:
            as `Corpus.read_many`
        """
        snapshot, storage, places = self._snapshot, self._snapshot.storage, self._places
        try:
            snapshot.check_access()
            if snapshot.index.first_end < math.inf:  # since the start, the consent to more of them may have ended
                for number, error in snapshot._late([self._pieces[at].i for at in places]).items():
                    self._late[places[number]] = error
                    self._batch.drop(number)
            yield from self._late.items()
            begun = time.perf_counter(), storage.seconds_backing_off()
            for group in self._download.groups:
                snapshot._count_fetch(*begun)
                snapshot.check_access()  # the grant may have expired under a slow consumer or storage
                opening = time.perf_counter()
                opened = self._batch.open(group)
                snapshot.lease.counters.seconds_decrypt += time.perf_counter() - opening
                for number, outcome in opened:
                    at = places[number]
                    if isinstance(outcome, FormatError) and snapshot.cache is not None:
                        snapshot.cache.forget(self._batch.came_in(number))
                        outcome = snapshot._open_again(self._pieces[at])
                    if isinstance(outcome, (NotFound, AccessDenied)):
                        outcome = snapshot._explained(self._pieces[at].i, outcome)
                    elif not isinstance(outcome, SecuredataError):
                        snapshot._count(len(outcome), 0.0)
                    yield at, outcome
                begun = time.perf_counter(), storage.seconds_backing_off()
        finally:
            self._download.cancel()
