"""An opened head whose manifest parts are opened one by one, each as a corpus of its rows."""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.access.session import Session
from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.objects.cache import cached_reads, evict_rows, try_evict_unnamed
from securedata.corpus.objects.missing import Missing
from securedata.corpus.opening import prepare, warn_unpinned
from securedata.corpus.option_values import as_texts
from securedata.corpus.parts.counting import ALWAYS, Counts, admission_of, counted, kept_tables, numbers_recordings
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.checks import closed_since
from securedata.corpus.rows.index import Index, matching
from securedata.corpus.rows.loading import Look, Options, SpokenBy, speaker_tags, without_others
from securedata.corpus.rows.memfd import SharedBytes, spawning
from securedata.corpus.schema import SCHEMA, TRAINING
from securedata.corpus.snapshot import Snapshot
from securedata.corpus.state.consent import COLUMNS as CONSENT
from securedata.corpus.state.consent import Admission, check_purpose
from securedata.corpus.state.head import Head, Seen
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.part_columns import read_columns, together
from securedata.corpus.state.tables import count_others, part_missing, read_table
from securedata.errors import GenerationChanged, InvalidArgument, NotFound, SecuredataError
from securedata.keys.grant import Grant
from securedata.keys.kms import retry_throttled
from securedata.keys.tags import Tagger
from securedata.storage.base import Storage

Ints = np.ndarray[Any, np.dtype[np.int64]]


class PartRows(NamedTuple):
    """The rows of one part.

    Attributes:
        corpus: reads them; a row has the number that it has there.
        numbers: int64, by the number of a row in the plan, the number there, -1 if it is closed; None: they are equal.
    """

    corpus: RowsOfPart
    numbers: Ints | None

    def find(self, rows: Ints) -> Ints:
        """int64: the numbers of rows of the plan, -1 for those that are closed."""
        return rows if self.numbers is None else self.numbers[rows]


class PartwiseCorpus(Corpus):
    """A corpus of which only the head is open. It has no rows itself: `open_part` opens those of one part.

    The lease, the counters and the storage are shared by all parts. Unlike a corpus, it holds the keys of all parts, so
    it could open rows that its filters leave out.
    """

    def __init__(self, lease: HeadLease, options: Options, head: Head) -> None:
        """The lease has begun with the head."""
        super().__init__(lease, options, head, _no_rows(options))
        self._hold(head)

    def _hold(self, head: Head) -> None:
        # only what opening parts needs; a pickle for a worker carries it in shared memory
        self._head = replace(head, retired=(), writes=(), erasures=(), receipts=(), derived=(), pending=(), unknown={})
        self._held: SharedBytes | None = None
        self._since: Head | None = None
        self._views: weakref.WeakSet[RowsOfPart] = weakref.WeakSet()

    @property
    def parts(self) -> int:
        """How many manifest parts the head names."""
        return len(self._head.parts)

    def count(self, look: Look | None = None) -> Counts:
        """How many rows each part has for this reader; see `Counts`.

        Args:
            look: called with the rows of each part that has to be read, before the filter.

        Raises:
            as `open_part`
        """
        return counted(self._head, self._options, self._read_parts, look)

    def tables(self, columns: Sequence[str], exact: bool = True) -> Iterator[pa.Table]:
        """The rows of each part that `count` counts, with these columns and others, and without keys.

        Args:
            exact: `Counts.exact`; if not, rows that are closed are among them.

        Raises:
            as `open_part`
        """
        return kept_tables(self._head, self._options, self._read_parts, columns, exact=exact)

    def open_part(self, number: int, exact: bool) -> PartRows:
        """Fetch and open a part.

        Args:
            exact: `Counts.exact`, of the counts that number the rows.

        Raises:
            GenerationChanged: the part is gone, since the corpus has changed.
            PartMissing, KeysExpired, KMSDenied, FormatError, MalformedManifest, StorageError
        """
        options, part = self._options, self._head.parts[number]
        wanted = (*options.columns, "data_key", *TRAINING, *CONSENT)
        plain = options.filter is None and all(name in SCHEMA.names for name in wanted)
        table = self._read(number, wanted if plain else None)
        if numbered := numbers_recordings(part, options, exact):
            table, _ = without_others(table)
        if options.speakers is not None:
            table = SpokenBy(options.speakers, Tagger(self._head.secret))(table)
        if options.filter is not None:
            table = table.take(matching(table.drop_columns("data_key"), options.filter))
        admitted = admission_of(self._head, options).admit(table)
        if not (options.others or numbered) and count_others(table):
            known = pc.not_equal(table.column("format"), "").combine_chunks()
            admitted = known if admitted is None else pc.and_(known, admitted)
        numbers: Ints | None = None
        if admitted is not None and exact:
            table = table.filter(admitted)
        if admitted is not None and not exact:
            mask = admitted.to_numpy(zero_copy_only=False)
            table, numbers = table.filter(pa.array(mask)), np.where(mask, np.cumsum(mask) - 1, -1)
        view = RowsOfPart(self, Index.build([lambda: table], options.columns, None, Admission(None, ALWAYS)))
        self._views.add(view)
        if self._since is not None:
            self._close_rows(view, self._since)
        return PartRows(view, numbers)

    def _read(self, number: int, columns: Sequence[str] | None) -> pa.Table:
        self._lease.check()
        with self._naming(number):
            return read_table(self._lease.storage, self.corpus_id, self._head.parts[number], columns)

    def _read_parts(self, numbers: Sequence[int], columns: Sequence[str] | None) -> Iterator[pa.Table]:
        if columns is None:
            for number in numbers:
                yield self._read(number, None)
            return
        parts = [self._head.parts[number] for number in numbers]
        for some in together(parts):
            self._lease.check()
            found = read_columns(self._lease.storage, self.corpus_id, parts[some.start : some.stop], columns)
            for at in some:
                with self._naming(numbers[at]):
                    table = next(found)
                yield table

    @contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            part = self._head.parts[number]
            head = self._lease.open().head
            if head.generation == self.generation:
                raise part_missing(self.root, part) from error
            raise changed(self.root, self.generation, head.generation) from error

    def _heed(self, head: Head) -> None:
        if head.write_id == self._heeded:
            return
        self._since = head
        for view in list(self._views):
            self._close_rows(view, head)
        if self.snapshot.cache is not None:
            try_evict_unnamed(self.snapshot.cache, head)
        self._heeded = head.write_id
        self._since = replace(head, parts=(), retired=())

    def _close_rows(self, view: RowsOfPart, head: Head) -> None:
        index = view.index
        erased, restricted = closed_since(head, index.table, False)
        if head.parts:
            erased |= self.snapshot.missing.erased_since(head, index, self._erasures)
        if self.snapshot.cache is not None:
            evict_rows(self.snapshot.cache, index, erased - index.erased)
        index.close_rows(erased | index.erased, restricted)

    def refresh(self) -> bool:
        """Not offered: the parts that are open, and whoever counted their rows, would be of different heads."""
        raise InvalidArgument(f"{self.root} was opened part by part: open it again instead of refresh()")

    def __reduce__(self) -> tuple[Any, ...]:
        snapshot = self.snapshot
        if spawning() and snapshot.index.shareable:
            self._lease.hand_over()
            if self._held is None:  # kept until multiprocessing has passed the descriptor on
                self._held = SharedBytes.build("securedata-parts", lambda file: _write(file, self._head))
            return _attach, (
                self.reference,
                self._options,
                self.pin,
                snapshot.erasures,
                self._held,
                self._lease.grant,
                self._lease.connection.session,
                self._lease.seen,
            )
        return _reopen, (self.reference, self._options, self.generation, self._lease.seen)


class RowsOfPart(Corpus):
    """The rows of one part: the corpus of the whole, with another index."""

    def __init__(self, whole: PartwiseCorpus, index: Index) -> None:
        self.__dict__.update(whole.__dict__)
        self.snapshot = replace(whole.snapshot, index=index)
        self._opened = self._lease.now()

    def ended_before(self, i: int) -> bool:
        """Whether the consent to a row had ended when the part was opened."""
        return self.index.end(i) <= self._opened

    def refusal(self, i: int) -> SecuredataError | None:
        """Why a row, perhaps read before, must not be delivered now; None: it may be. Renews the keys if they are due.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        snapshot = self.snapshot
        snapshot.check_access()
        return snapshot.refusal(i)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("the rows of one part are opened again from the corpus, never pickled")


def open_parts(
    target: str | os.PathLike[str] | Reference,
    *,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    filter: pc.Expression | None = None,
    speakers: str | Sequence[str] | None = None,
    role: str | None = None,
    purpose: str | None = None,
    ttl: float = 3600.0,
    kms_wait: float = 600.0,
    refresh: bool = False,
    accept_generation: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    storage: Storage | None = None,
    others: bool = True,
) -> PartwiseCorpus:
    """Open the head of a corpus, and none of its parts. Arguments and errors are those of `open_corpus`."""
    speakers = None if speakers is None else as_texts("speakers", speakers)
    reference, options = prepare(
        target, kms, pin, columns, filter, role, purpose, ttl, kms_wait, refresh, accept_generation, cache, cache_size
    )
    options = replace(options, others=others)
    connection = connect(reference, storage=storage)
    lease = HeadLease(reference, connection, ttl, kms_wait, accept_generation=options.accept_generation)
    corpus = _open(lease, options, speakers)
    warn_unpinned(reference, corpus._head)
    if corpus.snapshot.cache is not None:
        try_evict_unnamed(corpus.snapshot.cache, corpus._head)
    return corpus


def changed(root: str, before: int, now: int) -> GenerationChanged:
    """The error of a reader whose rows are of an earlier head."""
    return GenerationChanged(
        f"{root} has generation {now}, but this stream was planned for {before}, and rows have moved since: "
        "open a new stream; with refresh=True it takes the state of this one",
        root=root,
    )


def _open(lease: HeadLease, options: Options, speakers: Sequence[str] | None = None) -> PartwiseCorpus:
    opened = retry_throttled(lease.open)
    head = opened.head
    check_purpose(head.purpose_required, options.purpose, lease.root)
    if speakers is not None:
        options = replace(options, speakers=speaker_tags(head, speakers))
    lease.begin(opened)
    return PartwiseCorpus(lease, options, head)


def _no_rows(options: Options) -> Index:
    return Index.build([SCHEMA.empty_table], options.columns, None)


def _write(file: Any, head: Head) -> None:
    file.write(pickle.dumps(head))


def _attach(
    reference: Reference,
    options: Options,
    pin: str,
    erasures: frozenset[str],
    held: SharedBytes,
    grant: Grant,
    session: Session | None,
    seen: Mapping[bytes, Seen],
) -> PartwiseCorpus:
    lease = HeadLease(reference, connect(reference, session=session), options.ttl, options.kms_wait, seen=seen)
    lease.by_hand = options.accept_generation is not None
    lease.take(grant)
    head: Head = pickle.loads(held.view)  # noqa: S301 - the parent's own memory, which it sealed
    held.close()
    corpus = PartwiseCorpus.__new__(PartwiseCorpus)
    missing = Missing(lease.storage, lease.open)
    index = _no_rows(options)
    cache = cached_reads(reference, lease.storage, head.corpus_id, lambda: lease.counters)
    snapshot = Snapshot(head.corpus_id, head.generation, index, lease, lease.storage, missing, erasures, cache)
    corpus._begin(options, snapshot, pin, Tagger(head.secret))
    corpus._hold(head)
    return corpus


def _reopen(reference: Reference, options: Options, generation: int, seen: Mapping[bytes, Seen]) -> PartwiseCorpus:
    lease = HeadLease(reference, connect(reference), options.ttl, options.kms_wait, seen=seen)
    lease.by_hand = options.accept_generation is not None
    corpus = _open(lease, options)
    if corpus.generation != generation and not options.refresh:
        raise changed(corpus.root, generation, corpus.generation)
    return corpus
