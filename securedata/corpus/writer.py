"""A corpus opened for writing: objects, then parts, then the head by conditional put. Crash-safe at every write.

docs/format.md has the rules. In short: a row exists if and only if it is in a part that the head names; ids are never
reused; what a commit takes out is listed, and deleted a day later; one write id identifies a logical commit over all
its tries, so that a lost response can be resolved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace as replaced
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.objects.object_writer import ObjectWriter
from securedata.corpus.rows.build import join
from securedata.corpus.rows.changes import Changes, check_objects
from securedata.corpus.rows.origin import carriers, keyed
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.rows.plan import make_plan
from securedata.corpus.schema import SCHEMA, check_types, fit
from securedata.corpus.state.commit import Next, T, Transaction, Try, added_lists, orphans
from securedata.corpus.state.head import Head, OpenedHead, TableRef
from securedata.corpus.state.horizon import check_horizon, times_reset
from securedata.corpus.state.live import LiveParts
from securedata.corpus.state.retired import DELAY
from securedata.corpus.state.writer_lease import WriterLease
from securedata.keys.kms import KMS
from securedata.keys.wraps import Wrap
from securedata.storage.base import Storage


class Writer(ObjectWriter):
    """A corpus opened for writing. One thread commits; `put_object` may be called from many.

    Writing needs only Decrypt at the KMS, and the pin.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        single_writer: bool = False,
        accept_generation: int | None = None,
        ttl: float = 3600.0,
        kms_wait: float = 600.0,
        storage: Storage | None = None,
    ) -> None:
        """Open for writing.

        Args:
            accept_generation: take a head of this generation although a newer one was seen.

        Raises:
            PinRequired: the pin is missing; no request was made.
            UnsafeStorage, CorpusGone, PinMismatch, NoTrustedKey, KMSDenied, OlderGeneration, ...
        """
        reference.require_pin()
        self.reference, self.single_writer = reference, single_writer
        self.root = reference.root
        connection = connect(reference, write=True, storage=storage)
        connection.storage.check_writable(single_writer)
        lease = WriterLease(reference, connection, accept_generation, ttl, kms_wait)
        live = LiveParts(connection.storage, lease.opened.head.corpus_id, self.root)
        super().__init__(self.root, connection.storage, lease, live)

    def __repr__(self) -> str:
        # a traceback with local variables may show a writer that could not open
        generation = self.head.generation if hasattr(self, "_uncommitted") else "unknown"
        return f"<Writer {self.reference.root if hasattr(self, 'reference') else ''} generation {generation}>"

    @property
    def unwraps(self) -> int:
        """How often the KMS was called."""
        return self._lease.unwraps

    @property
    def trusted(self) -> Sequence[KMS]:
        """The KMS keys that the caller trusts, in the caller's order, with the caller's credentials."""
        return self._lease.connection.trusted

    def require_newest(self) -> None:
        """Check that the head is the newest. Called before deleting anything that the head does not name.

        Raises:
            UnconfirmedGeneration: this machine had not seen the corpus before this writer was opened, and the caller
                gave no generation.
            OlderGeneration: storage still has a head, in `head.prev` or an older version, that this one does not follow
                from, such as one of a later generation.
        """
        self._lease.require_newest()

    # ------------------------------------------------------------ commits

    def commit(
        self,
        add: pa.Table | None = None,
        remove: Sequence[str] = (),
        replace: bool = False,
        settings: dict[str, Any] | None = None,
        update: pa.Table | None = None,
        reseal: bool = False,
        clear: Mapping[str, Collection[str]] | None = None,
        refuse: Callable[[], Collection[int]] | None = None,
    ) -> Outcome:
        """Add, remove and replace rows in one atomic step.

        Args:
            add: rows of the manifest's schema, whose objects or packs were put before. An existing row keeps its object
                (if path, content, segment and people are equal), and its values where `add` is empty. A new pack is
                named only if all its rows are added: otherwise it is deleted, and those that would have been are stale.
            remove: logical paths.
            replace: a row replaces an existing one of other content or people; otherwise it is a conflict.
            settings: settings of the corpus to change.
            update: rows that only update the descriptive columns of existing ones; never added.
            reseal: rows to add also replace existing ones of the same recording, with their objects.
            clear: by logical path, columns that are emptied where `add` and `update` leave them empty.
            refuse: called for every try, after the head that it replaces was read: which rows of `add`, by number, must
                not be committed, because of what another corpus says of their people. They count as erased.

        Returns:
            What became of the rows. Conflicts, erased, stale and missing rows were not committed; stale ones must be
            sealed again, since a prune may have deleted their objects.

        Raises:
            InvalidArgument: rows that do not fit the schema or the existing rows, a path given twice, an object whose
                rows name different people.
            HorizonInFuture: what is put now can never be committed.
            CommitRace, OutcomeUnknown, StorageError, KeysExpired, ...: what was not committed can be tried again. If no
                look at the head could tell whether the commit landed, its rows are stale from then on: a head may name
                their objects or have named them, and no object is committed twice. Rows whose objects a disk lost are
                stale, too.
        """
        tables = [fit(table) for table in (add, update) if table is not None] or [SCHEMA.empty_table()]
        check_types(tables[0].schema, tables[-1].schema)
        table = join(tables)
        check_objects(table)
        if self.head.data_keys_since:
            table = keyed(table, self._uncommitted.times, self.head.generation)
        updates_only = 0 if update is None else update.num_rows
        times = self._uncommitted.times
        ids = carriers(table)
        whole = Counter(id for id in table.column("pack").to_pylist() if id in times)
        changes = Changes(table, updates_only, tuple(remove), replace, reseal, times, clear or {}, whole=whole)

        versions = {frozenset[int](): changes}  # equal ones are the same object, so that parts made for a try are used

        def change(attempt: Try) -> Next[Outcome]:
            self.put_times(ids, attempt.head)
            out = frozenset(refuse()) if refuse is not None else frozenset()
            if out not in versions:
                kept = table.take(pa.array([i for i in range(table.num_rows) if i not in out], pa.int64()))
                versions[out] = replaced(changes, add=kept)
            plan = attempt.plan(versions[out])
            plan.outcome.erased += [table.column("path")[i].as_py() for i in sorted(out)]
            new = settings is not None and {**attempt.head.settings, **settings} != attempt.head.settings
            if not plan.outcome.changes and not new:
                return Next(plan.outcome, None)
            members = attempt.write(plan, versions[out])
            if settings:
                members["settings"] = {**attempt.head.settings, **settings}
            return Next(plan.outcome, members)

        outcome = self.transact(change)
        with orphans():
            self.discard(set(ids) - outcome.committed)
        return outcome

    def rehearse(self, add: pa.Table, *, replace: bool = False, reseal: bool = False) -> Outcome:
        """What `commit` would do with rows to add, by the newest head seen. Nothing is written; no object is needed.

        Raises:
            as `read_table`
        """
        return make_plan(self.head, Changes(fit(add), replace=replace, reseal=reseal), self.read_table).outcome

    def rewrite(
        self,
        table: pa.Table,
        grace: float = DELAY,
        refuse: Callable[[Try], Collection[int]] | None = None,
        leaving: Callable[[Collection[bytes]], object] | None = None,
    ) -> Outcome:
        """Change cells of existing rows by compare and swap, in one commit.

        Args:
            table: columns `path`, `old_id`, and those to change. A row that does not name the object `old_id` any more
                is left as it is. New objects were put by this writer before; those that no row names then are deleted.
            grace: seconds after which objects that no row names any more are deleted, at least a day.
            refuse: called for every try: which rows of `table`, by number, must be left as they are, because of what
                the rows of the head that it replaces say by then.
            leaving: called for every try, before it is sent, with the ids of the leaving lists that it adds.

        Returns:
            What became of the rows. Stale ones are as they were, and must be sealed again.

        Raises:
            as `commit`
        """
        ids = table.column("object_id").to_pylist() if "object_id" in table.schema.names else []
        versions: dict[frozenset[int], Changes] = {}  # equal ones are the same object, as in `commit`

        def change(attempt: Try) -> Next[Outcome]:
            self.put_times(ids, attempt.head)
            out = frozenset(refuse(attempt)) if refuse is not None else frozenset()
            if out not in versions:
                kept = table.take(pa.array([i for i in range(table.num_rows) if i not in out], pa.int64()))
                versions[out] = Changes(rewrite=kept, put_times=self._uncommitted.times)
            plan = attempt.plan(versions[out])
            if not plan.outcome.changes:
                return Next(plan.outcome, None)
            members = attempt.write(plan, versions[out], grace)
            if leaving is not None:
                leaving(added_lists(attempt, members))
            return Next(plan.outcome, members)

        outcome = self.transact(change)
        with orphans():
            self.discard(set(ids) - outcome.committed)
        return outcome

    def move(self, moves: pa.Table, leaving: Callable[[Collection[bytes]], object] | None = None) -> Outcome:
        """Give objects another place, in packs that this writer put, in one commit; the rows stand in that order.

        Args:
            moves: of the schema `packs.moves.MOVES`. A pack is named only if all its members still are where they were;
                others are deleted. `committed` of the outcome has those that are named.
            leaving: as `rewrite` takes it.

        Raises:
            as `commit`
        """
        ids = pc.unique(moves.column("pack")).to_pylist()
        changes = Changes(moves=moves, put_times=self._uncommitted.times)

        def change(attempt: Try) -> Next[Outcome]:
            self.put_times(ids, attempt.head)
            outcome = (plan := attempt.plan(changes)).outcome
            if any(self._uncommitted.times.get(id, 0.0) < attempt.head.horizon for id in ids):
                check_horizon(attempt.head, attempt.now(), self.root)
            members = attempt.write(plan, changes) if outcome.changes else None
            if members is not None and leaving is not None:
                leaving(added_lists(attempt, members))
            return Next(outcome, members)

        outcome = self.transact(change)
        with orphans():
            self.discard(set(ids) - outcome.committed)
        return outcome

    def transact(self, change: Callable[[Try], Next[T]]) -> T:
        """Replace the head by the result of `change`, in as many tries as it takes: one logical commit.

        Args:
            change: called for every try with the head that it is about to replace, against which it must check
                everything. It returns the fields of the next head that differ, and the result of the commit if this try
                lands. Rows are dropped, changed and added by `Try.plan` and `Try.write`.

        Returns:
            The outcome of the try that landed, or of the one that found nothing to commit.

        Raises:
            CommitRace, OutcomeUnknown, StorageError, KeysExpired, ...: what was not committed can be tried again.
            what `change` raises
        """
        transaction = Transaction(self.storage, self._lease, self._live, change)
        try:
            outcome = transaction.run()
            self._uncommitted.forget(transaction.committed)
            transaction.in_doubt = False  # only now: Ctrl-C can come between any two lines
        finally:
            if transaction.in_doubt:  # what a head may name is neither deleted as an orphan nor committed again
                self._uncommitted.doubt(transaction.objects)
        return outcome

    def commit_horizon(self, reset: bool = False) -> Head:
        """Move the horizon to a day before storage's time, never backwards; deletes and clears what is due.

        Args:
            reset: set back a horizon that is later than storage's time, and the times of leaving lists. No prune may
                run meanwhile: one that began under the old horizon would delete what is committed under the new one.

        Returns:
            The head that was committed. Whatever it does not name and was stored before its horizon may be deleted.

        Raises:
            HorizonInFuture: the horizon is later than storage's time, without `reset`; nothing was committed.
            as `transact`
        """

        def change(attempt: Try) -> Next[None]:
            now = self.storage.now()  # after the head was read, so no earlier than a prune that committed it
            if reset:
                return Next(None, times_reset(attempt.head, now))
            check_horizon(attempt.head, now, self.root)
            return Next(None, {"horizon": max(attempt.head.horizon, now - DELAY)})

        self.transact(change)
        return self.head

    def check_horizon(self) -> None:
        """Check that what is put now can be committed: one request to storage.

        Raises:
            HorizonInFuture
        """
        check_horizon(self.head, self.storage.now(), self.root)

    def commit_wraps(self, change: Callable[[OpenedHead], tuple[Wrap, ...] | None]) -> Head:
        """Replace the wraps of the corpus key by those that `change` returns for the head of each try; None: keep them.

        Returns:
            The current head.
        """

        def rewrap(attempt: Try) -> Next[None]:
            wraps = change(attempt.opened)
            return Next(None, None if wraps is None else {"wraps": wraps})

        self.transact(rewrap)
        return self.head

    # ------------------------------------------------------------ reading

    def named(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those of `ids`, of objects, packs and parts, that the newest head seen names. Raises as `read_table`."""
        return self._live.named(self.head, ids)

    def read_table(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """Read a live part: these columns (None: all). Small sets of columns are cached.

        Raises:
            PartMissing: storage does not have it; the head may have been replaced meanwhile.
            FormatError, MalformedManifest, StorageError
        """
        self._lease.check()
        return self._live.read_table(part, columns)
