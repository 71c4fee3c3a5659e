"""An opened corpus: its rows, and reading their objects."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from securedata.access.session import Session
from securedata.corpus.config import Reference
from securedata.corpus.connection import Connection, connect
from securedata.corpus.objects.cache import cached_reads, evict_rows, try_evict_unnamed
from securedata.corpus.objects.counters import Counters
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.objects.file import ObjectFile
from securedata.corpus.objects.missing import Missing
from securedata.corpus.rows.checks import closed_since
from securedata.corpus.rows.index import Index
from securedata.corpus.rows.loading import Options, load_index
from securedata.corpus.rows.memfd import spawning
from securedata.corpus.schema import columns_of
from securedata.corpus.snapshot import Fetch, Snapshot
from securedata.corpus.state.consent import LeftOut
from securedata.corpus.state.head import Head, Seen
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.lifecycle import erasures_of
from securedata.errors import GenerationChanged, SecuredataError
from securedata.forks import Instances
from securedata.format.cobblestone import Buffer
from securedata.keys.grant import Grant
from securedata.keys.tags import Tagger


class Corpus:
    """An opened corpus: its rows, and the right to read their objects for a while.

    Its rows do not change until `refresh` opens the current head. Safe to use from several threads. Workers that
    multiprocessing starts get it in memory; any other pickle holds references only, and the process that unpickles it
    asks the KMS itself.

    Attributes:
        root, name: its path or URL, and its name in the config (None without an entry).
        corpus_id, pin: identify the corpus.
        unfinished_erasures: how many erasures the head shows whose receipts are not final; 0 in workers.
        unreached_corpora: how many corpora that were made from this one an erasure has still to reach; 0 in workers.
        snapshot: the rows of the opened head, and the reading of their objects.
    """

    def __init__(self, lease: HeadLease, options: Options, head: Head, index: Index) -> None:
        """Wrap a head and its index; the lease has begun with that head."""
        missing = Missing(lease.storage, lease.open)
        erasures = erasures_of(head)
        cache = cached_reads(lease.reference, lease.storage, head.corpus_id, lambda: lease.counters)
        snapshot = Snapshot(head.corpus_id, head.generation, index, lease, lease.storage, missing, erasures, cache)
        self._begin(options, snapshot, str(head.pin), Tagger(head.secret))
        self.unfinished_erasures = len(head.erasures)
        self.unreached_corpora = head.unreached

    def _begin(self, options: Options, snapshot: Snapshot, pin: str, tagger: Tagger | None = None) -> None:
        reference = snapshot.lease.reference
        self.root = reference.root
        self.name = reference.name
        self.corpus_id = snapshot.corpus_id
        self.pin = pin
        self.reference = reference
        self.snapshot = snapshot
        self.unfinished_erasures = self.unreached_corpora = 0
        self._lease = snapshot.lease
        self._options = options
        self._heeded = b""
        self._tagger = tagger
        self._erasures = snapshot.erasures
        self._lease.heed = weakref.WeakMethod(self._heed)
        _corpora.add(self)

    def __repr__(self) -> str:
        if not hasattr(self, "snapshot"):
            return "<Corpus, not open>"
        return f"<Corpus {self.root} generation {self.generation}, {len(self)} rows>"

    def __len__(self) -> int:
        return len(self.snapshot.index)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def generation(self) -> int:
        """The generation of the opened head; each commit makes the next one."""
        return self.snapshot.generation

    @property
    def index(self) -> Index:
        """The rows in memory."""
        return self.snapshot.index

    @property
    def counters(self) -> Counters:
        """What this process has read, and the time it took."""
        return self._lease.counters

    @property
    def table(self) -> pa.Table:
        """The rows, without keys: a pyarrow Table of the requested columns. Not a copy."""
        return self.index.table

    @property
    def left_out(self) -> LeftOut:
        """How many rows were left out when its rows were opened, because of consent or a restriction."""
        return self.index.left_out

    @property
    def others(self) -> int:
        """How many rows were left out because they are files that are neither recordings nor features."""
        return self.index.others

    @property
    def filtered_by(self) -> tuple[str, ...]:
        """The manifest's columns that chose its rows, sorted; not what they were compared with."""
        speaker = () if self._options.speakers is None else ("speaker",)
        return tuple(sorted({*columns_of(self._options.filter), *speaker}))

    @property
    def purpose(self) -> str | None:
        """What the recordings are read for; None: no purpose was named."""
        return self._options.purpose

    def tagger(self) -> Tagger:
        """Computes the tags of people under the corpus's secret.

        A process that got the corpus in memory opens the head for it, once.

        Raises:
            as `refresh`
        """
        if self._tagger is None:
            self._tagger = Tagger(self._lease.open().head.secret)
        return self._tagger

    @property
    def seen(self) -> dict[bytes, Seen]:
        """By corpus id, the newest head that this opening has seen; not secret."""
        return self._lease.seen

    # ------------------------------------------------------------ read

    def find(self, path: str) -> int:
        """The row of a logical path.

        Raises:
            NoSuchPath
        """
        return self.snapshot.find(path)

    def value(self, column: str, i: int) -> Any:
        """One cell of the manifest."""
        index = self.snapshot.index
        return index.value(column, index.row(i))

    def read(self, where: str | int) -> bytearray:
        """The whole object of a row, given by its number or its logical path.

        Raises:
            NoSuchPath, FormatError, ConsentExpired, SubjectErased, SubjectRestricted, RowReplaced, ObjectMissing,
            AccessDenied, ...
        """
        snapshot = self.snapshot
        return snapshot.read(snapshot.row(where))

    def read_into(self, i: int, out: Buffer) -> int:
        """Like `read`, into the caller's buffer; returns the number of bytes. After an error it holds no plaintext."""
        return self.snapshot.read_into(i, out)

    def read_range(self, where: str | int, offset: int, length: int) -> bytearray:
        """A range of an object's plaintext, cut off at its end like a slice; fetches only the chunks it needs.

        Raises:
            as `read`
        """
        snapshot = self.snapshot
        return snapshot.read_range(snapshot.row(where), offset, length)

    def read_many(
        self, pieces: Sequence[Piece], in_flight: int = 256 * 1024 * 1024
    ) -> Iterator[tuple[int, bytearray | SecuredataError]]:
        """Fetch pieces of many rows in parallel; each is decrypted when it arrives, and yielded with its position.

        Pieces that arrive together are decrypted together, before the first of them is yielded, and only while the keys
        are valid; the keys are renewed during the iteration.

        Args:
            pieces: the row and range of each piece.
            in_flight: bytes to fetch at once; a larger piece is fetched alone.

        Yields:
            The position in `pieces`, and the plaintext, or the error that reading this piece raised.

        Raises:
            KeysExpired, KMSDenied, ...: nothing more can be read.
        """
        return self.snapshot.fetch(pieces, in_flight)

    def start(self, pieces: Sequence[Piece], in_flight: int = 256 * 1024 * 1024) -> Fetch:
        """Begin what `read_many` does, and return at once, so that other work can be done while bytes arrive.

        `poll` the result now and then, take its `outcomes` as those of `read_many`, or `cancel` it; all in this thread.
        Whatever a thread starts shares connections and `in_flight`. Keys are needed only for the outcomes.

        Raises:
            AccessDenied, StorageUnreachable, ...: nothing can be fetched.
        """
        return self.snapshot.start(pieces, in_flight)

    def open(self, where: str | int) -> ObjectFile:
        """A row's object as a seekable binary file with a read-ahead of 256 kB; it stays that object after `refresh`.

        After an error, every later call raises that error: see `FailsForGood`. Lossy and block-coded audio of up to
        32 MiB is fetched whole at the first read.
        """
        snapshot = self.snapshot
        return snapshot.open(snapshot.row(where))

    # ------------------------------------------------------------ keep

    def erased(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` whose person was erased from this corpus, by the current head."""
        return self.snapshot.missing.erased(names)

    def held(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` whose person is under a hold, by the current head."""
        return self.snapshot.missing.held(names)

    def refresh(self) -> bool:
        """Open the current head; returns whether it is a newer one. Rows may have other numbers afterwards. Other
        processes, workers included, keep the rows that they have.

        Raises:
            as `open_corpus`
        """
        before = self.snapshot
        opened, index = load_index(self._lease, self._options)
        self._heed(opened.head)  # for files that stay open
        erasures = erasures_of(opened.head)
        self.snapshot = replace(before, generation=opened.head.generation, index=index, erasures=erasures)
        self._lease.begin(opened)
        return self.generation != before.generation

    def _heed(self, head: Head) -> None:
        """Close the rows that were erased since, or whose people were restricted, by the head of a renewal.

        Raises:
            PartMissing: storage does not have a part; the head may have been replaced meanwhile.
        """
        if head.write_id == self._heeded or self._options.listed:
            return
        snapshot = self.snapshot
        index = snapshot.index
        erased, restricted = closed_since(head, index.table, self._options.held is not None)
        erased |= snapshot.missing.erased_since(head, index, self._erasures) | index.erased
        if snapshot.cache is not None:
            evict_rows(snapshot.cache, index, erased - index.erased)
            if erasures_of(head) != self._erasures:
                try_evict_unnamed(snapshot.cache, head)
        index.close_rows(erased, restricted)
        self._heeded, self._erasures = head.write_id, erasures_of(head)

    def close(self) -> None:
        """Release the shared memory once nothing uses it. Tables taken from it stay readable."""
        self.index.close()
        self._lease.retire()
        if self.snapshot.cache is not None:
            self.snapshot.cache.flush()

    def check_access(self) -> None:
        """Renew the keys if they are due, as every read does.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        self.snapshot.check_access()

    def __reduce__(self) -> tuple[Any, ...]:
        snapshot = self.snapshot
        if spawning() and snapshot.index.shareable:
            self._lease.hand_over()
            snapshot.index.populate()
            return _attach, (
                self.reference,
                self._options,
                self.corpus_id,
                self.pin,
                snapshot.generation,
                snapshot.erasures,
                snapshot.index,
                self._lease.grant,
                self._lease.connection.session,
                self._lease.seen,
            )
        return _reopen, (self.reference, self._options, snapshot.generation, self._lease.seen)


def _attach(
    reference: Reference,
    options: Options,
    corpus_id: bytes,
    pin: str,
    generation: int,
    erasures: frozenset[str],
    index: Index,
    grant: Grant,
    session: Session | None,
    seen: Mapping[bytes, Seen],
) -> Corpus:
    lease = _lease(reference, connect(reference, session=session), options, seen)
    lease.take(grant)
    corpus = Corpus.__new__(Corpus)
    missing = Missing(lease.storage, lease.open)
    cache = cached_reads(reference, lease.storage, corpus_id, lambda: lease.counters)
    snapshot = Snapshot(corpus_id, generation, index, lease, lease.storage, missing, erasures, cache)
    corpus._begin(options, snapshot, pin)
    return corpus


def _reopen(reference: Reference, options: Options, generation: int, seen: Mapping[bytes, Seen]) -> Corpus:
    lease = _lease(reference, connect(reference), options, seen)
    opened, index = load_index(lease, options)
    if opened.head.generation != generation and not options.refresh:
        index.close()
        raise GenerationChanged(
            f"{reference.root} has generation {opened.head.generation}, but the pickle was made from {generation}: "
            "open the corpus again, or open it with refresh=True before pickling to take the current rows",
            root=reference.root,
        )
    lease.begin(opened)
    return Corpus(lease, options, opened.head, index)


def _lease(reference: Reference, connection: Connection, options: Options, seen: Mapping[bytes, Seen]) -> HeadLease:
    """The lease of an opening that continues in this process. `seen` includes a head that was accepted by hand."""
    lease = HeadLease(reference, connection, options.ttl, options.kms_wait, seen=seen)
    lease.by_hand = options.accept_generation is not None
    return lease


def _fresh_process(corpus: Corpus) -> None:
    corpus._lease.counters = Counters()


_corpora = Instances(before=lambda corpus: corpus.index.populate(), in_child=_fresh_process)
