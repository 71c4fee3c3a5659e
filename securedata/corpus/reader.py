"""An opened corpus: its rows, and reading their objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from securedata.access.session import Session
from securedata.corpus.config import Reference
from securedata.corpus.connection import Connection, connect
from securedata.corpus.objects.counters import Counters
from securedata.corpus.objects.fetch import ObjectBatch, Piece
from securedata.corpus.objects.file import ObjectFile, is_read_whole
from securedata.corpus.objects.missing import Missing
from securedata.corpus.rows.index import Index, Location, place_of
from securedata.corpus.rows.loading import Options, load_index
from securedata.corpus.rows.memfd import spawning
from securedata.corpus.state.head import Head, Seen
from securedata.corpus.state.lease import HeadLease
from securedata.errors import AccessDenied, GenerationChanged, NotFound, SecuredataError
from securedata.forks import Instances
from securedata.format.cobblestone import Buffer
from securedata.format.header import Kind
from securedata.format.ranges import open_range
from securedata.format.sealed import Expect, open_into, open_whole
from securedata.keys.grant import Grant

_SOON = 0.01  # seconds that a fetch may take before the grant is looked at once more


class Corpus:
    """An opened corpus: its rows, and the right to read their objects for a while.

    It never changes under its reader; `refresh` opens the current head. Safe to use from several
    threads. To the workers that multiprocessing starts it goes in memory; any other pickle carries
    references only, and its receiver asks the KMS for itself.

    Attributes:
        root, name: where it lies, and its name in the config, None without an entry.
        corpus_id, pin: which corpus it is.
        generation: of the head that was opened; each commit makes the next one.
    """

    def __init__(self, lease: HeadLease, options: Options, head: Head, index: Index) -> None:
        """By a head and its index, from which the lease began."""
        self._begin(lease, options, head.corpus_id, str(head.pin), head.generation, index)

    def _begin(
        self, lease: HeadLease, options: Options, corpus_id: bytes, pin: str, generation: int, index: Index
    ) -> None:
        reference = lease.reference
        self.root = reference.root
        self.name = reference.name
        self.corpus_id = corpus_id
        self.pin = pin
        self.generation = generation
        self.index = index
        self.reference = reference
        self.counters = lease.counters
        self._lease = lease
        self._storage = lease.storage
        self._options = options
        self._missing = Missing(self._storage, lease.open)
        _corpora.add(self)

    def __repr__(self) -> str:
        if not hasattr(self, "_missing"):
            return "<Corpus, not open>"
        return f"<Corpus {self.root} generation {self.generation}, {len(self)} rows>"

    def __len__(self) -> int:
        return len(self.index)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def table(self) -> pa.Table:
        """The rows, without keys: a pyarrow Table of the columns that were asked for. No copy."""
        return self.index.table

    @property
    def seen(self) -> dict[bytes, Seen]:
        """By corpus id, the newest head that this opening has seen; no secret."""
        return self._lease.seen

    # ------------------------------------------------------------ read

    def find(self, path: str) -> int:
        """The row of a logical path.

        Raises:
            NoSuchPath
        """
        return self._find(self.index, path)

    def _find(self, index: Index, path: str) -> int:
        try:
            return index.find(path)
        except FileNotFoundError as error:
            error.args = (f"{error} ({self.root})",)
            raise

    def value(self, column: str, i: int) -> Any:
        """One cell of the manifest."""
        return self.index.value(column, self.index.row(i))

    def read(self, where: str | int) -> bytearray:
        """The whole object of a row, given by its number or its logical path.

        Raises:
            NoSuchPath, FormatError, SubjectErased, RowReplaced, ObjectMissing, AccessDenied, KeysExpired, ...
        """
        index = self.index
        i = self._row(index, where)
        expect, sealed = self._sealed(index, i)
        # opened by what has come, not into a buffer of the size that the row claims
        begun = time.perf_counter()
        out = open_whole(index.key(i), sealed, expect)
        self._count(len(out), time.perf_counter() - begun)
        return out

    def read_into(self, i: int, out: Buffer) -> int:
        """Like `read`, into the caller's buffer; returns the bytes of plaintext. On an error it holds none."""
        index = self.index
        expect, sealed = self._sealed(index, i)
        begun = time.perf_counter()
        size = open_into(index.key(i), sealed, out, expect)
        self._count(size, time.perf_counter() - begun)
        return size

    def _sealed(self, index: Index, i: int) -> tuple[Expect, Buffer]:
        """A whole object as it lies on storage, and what it must be."""
        self.check_access()
        location = index.location(i)
        expect = self._expect(location)
        # one byte more than the row says, so that an object that grew is noticed and never read whole
        whole = [(0, location.sealed_size + (location.pack is None))]
        return expect, self._fetch(index, i, location, expect, whole)[0]

    def _count(self, size: int, decrypting: float) -> None:
        counters = self.counters
        counters.objects += 1
        counters.bytes += size
        counters.seconds_decrypt += decrypting

    def read_range(self, where: str | int, offset: int, length: int) -> bytearray:
        """A range of an object's plaintext, cut at its end like a slice; fetches only the chunks it needs.

        Raises:
            as `read`
        """
        index = self.index
        return self._read_range(index, self._row(index, where), offset, length)

    def _read_range(self, index: Index, i: int, offset: int, length: int) -> bytearray:
        self.check_access()
        started = time.perf_counter()
        location = index.location(i)
        expect = self._expect(location)
        elsewhere = 0.0

        def fetch(ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
            nonlocal elsewhere
            begun = time.perf_counter()
            try:
                return self._fetch(index, i, location, expect, ranges)
            finally:
                elsewhere += time.perf_counter() - begun

        out = open_range(index.key(i), fetch, offset, length, expect)
        self._count(len(out), time.perf_counter() - started - elsewhere)
        return out

    def read_many(
        self, pieces: Sequence[Piece], in_flight: int = 256 * 1024 * 1024
    ) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        """Fetch pieces of many rows side by side; each is decrypted as it lands, and yielded with its position.

        What has landed together is decrypted together, before the first of it is yielded, and only while the keys hold:
        they are renewed as the iteration goes on.

        Args:
            pieces: what of which rows.
            in_flight: bytes under way at once; a larger piece goes alone.

        Yields:
            The position in `pieces`, and the plaintext, or the error that reading this piece raised.

        Raises:
            KeysExpired, KMSDenied, ...: nothing can be read, or nothing more.
        """
        self.check_access()
        index, storage = self.index, self._storage
        batch = ObjectBatch(pieces, index, self._expect)
        begun = time.perf_counter(), storage.seconds_backing_off()
        for group in storage.get_batches(batch.wanted, in_flight):
            self._count_fetch(*begun)
            self.check_access()  # a slow consumer or a slow storage may have outlasted the grant since the last group
            opening = time.perf_counter()
            opened = batch.open(group)
            self.counters.seconds_decrypt += time.perf_counter() - opening
            for at, outcome in opened:
                if isinstance(outcome, (NotFound, AccessDenied)):
                    outcome = self._explained(index, pieces[at].i, outcome)
                elif not isinstance(outcome, SecuredataError):
                    self._count(len(outcome), 0.0)
                yield at, outcome
            begun = time.perf_counter(), storage.seconds_backing_off()

    def _count_fetch(self, begun: float, waited: float) -> float:
        """Counts what passed since then, part of which storage has waited; returns the time."""
        now, waited = time.perf_counter(), self._storage.seconds_backing_off() - waited
        self.counters.seconds_fetch += now - begun - waited
        self.counters.seconds_wait += waited
        return now

    def _explained(self, index: Index, i: int, error: NotFound | AccessDenied) -> SecuredataError:
        begun = time.perf_counter()
        better = self._missing.explain(index, i, self.generation, error)
        self.counters.seconds_wait += time.perf_counter() - begun
        return better

    def open(self, where: str | int) -> ObjectFile:
        """A row's object as a seekable binary file with a read-ahead of 256 kB; stays that object after `refresh`.

        What fails once fails for good: see `FailsForGood`. Lossy and block-coded audio of up to 32 MiB is fetched
        whole at the first read.
        """
        index = self.index
        i = self._row(index, where)
        format, subtype, size = index.values(("format", "subtype", "size"), i)
        return ObjectFile(self.ranges(index, i), size, is_read_whole(format, subtype, size))

    def ranges(self, index: Index, i: int) -> Callable[[int, int], bytearray]:
        """`read_range` for one row of an index that this corpus has or had: `refresh` may give rows other numbers."""
        return lambda offset, length: self._read_range(index, i, offset, length)

    def _row(self, index: Index, where: str | int) -> int:
        return self._find(index, where) if isinstance(where, str) else index.row(where)

    def _expect(self, location: Location) -> Expect:
        return Expect(Kind.DATA, self.corpus_id, location.object_id, self.root, location.sealed_size, location.size)

    def _fetch(
        self, index: Index, i: int, location: Location, expect: Expect, ranges: Sequence[tuple[int, int]]
    ) -> Sequence[Buffer]:
        key, base = place_of(location, expect)
        if base:
            ranges = [(base + offset, length) for offset, length in ranges]
        begun = time.perf_counter(), self._storage.seconds_backing_off()
        try:
            fetched = self._storage.get_ranges(key, ranges)
        except (NotFound, AccessDenied) as error:
            better = self._explained(index, i, error)
            if better is error:
                raise
            raise better from error
        finally:
            ended = self._count_fetch(*begun)
        if ended - begun[0] > _SOON:  # what took so long may have outlasted the grant, and is not opened after it
            self.check_access()
        return fetched

    # ------------------------------------------------------------ keep

    def erased(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the names whose person was erased here, by the current head."""
        return self._missing.erased(names)

    def refresh(self) -> bool:
        """Open the current head; returns whether there was a newer one. Rows may have other numbers afterwards, and
        other processes, workers too, keep those that they have.

        Raises:
            as `open_corpus`
        """
        before = self.generation
        opened, index = load_index(self._lease, self._options)
        # in this order: whoever finds another index, in another thread, finds its generation
        self.generation, self.index = opened.head.generation, index
        self._lease.begin(opened)
        return self.generation != before

    def close(self) -> None:
        """Give the shared memory back once nobody uses it. Rows that were taken out stay readable."""
        self.index.close()
        self._lease.retire()

    def check_access(self) -> None:
        """Renew the keys if it is time, as every read does.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        if self._lease.holds():
            return
        begun = time.perf_counter()
        self._lease.check()
        self.counters.seconds_wait += time.perf_counter() - begun

    def __reduce__(self) -> tuple[Any, ...]:
        if spawning() and self.index.shareable:
            self._lease.hand_over()
            self.index.populate()
            return _attach, (
                self.reference,
                self._options,
                self.corpus_id,
                self.pin,
                self.generation,
                self.index,
                self._lease.grant,
                self._lease.connection.session,
                self._lease.seen,
            )
        return _reopen, (self.reference, self._options, self.generation, self._lease.seen)


def _attach(
    reference: Reference,
    options: Options,
    corpus_id: bytes,
    pin: str,
    generation: int,
    index: Index,
    grant: Grant,
    session: Session | None,
    seen: Mapping[bytes, Seen],
) -> Corpus:
    lease = _lease(reference, connect(reference, session=session), options, seen)
    lease.take(grant)
    corpus = Corpus.__new__(Corpus)
    corpus._begin(lease, options, corpus_id, pin, generation, index)
    return corpus


def _reopen(reference: Reference, options: Options, generation: int, seen: Mapping[bytes, Seen]) -> Corpus:
    lease = _lease(reference, connect(reference), options, seen)
    opened, index = load_index(lease, options)
    if opened.head.generation != generation and not options.refresh:
        index.close()
        raise GenerationChanged(
            f"{reference.root} has generation {opened.head.generation}, the pickle was made from {generation}: "
            "open the corpus anew, or with refresh=True to take the current rows",
            root=reference.root,
        )
    lease.begin(opened)
    return Corpus(lease, options, opened.head, index)


def _lease(reference: Reference, connection: Connection, options: Options, seen: Mapping[bytes, Seen]) -> HeadLease:
    """The lease of an opening that goes on in another process. What was accepted by hand is what it has seen."""
    lease = HeadLease(reference, connection, options.ttl, options.kms_wait, seen=seen)
    lease.by_hand = options.accept_generation is not None
    return lease


def _fresh_process(corpus: Corpus) -> None:
    corpus.counters = corpus._lease.counters = Counters()


_corpora = Instances(before=lambda corpus: corpus.index.populate(), in_child=_fresh_process)
