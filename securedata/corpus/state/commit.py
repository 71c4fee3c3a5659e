"""One logical commit, in as many tries as it takes: read the head, change it, replace it.

docs/format.md has the rules. Everything that belongs to one commit is kept in its `Transaction`, so that nothing is
carried over to a writer's next commit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.put import GONE, put_once, why_gone
from securedata.corpus.rows.build import build
from securedata.corpus.rows.changes import Changes, Plan, Slot
from securedata.corpus.rows.plan import make_plan
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.head import Head, OpenedHead, Retired, TableRef, open_with, seal_head
from securedata.corpus.state.horizon import check_horizon
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.live import LiveParts
from securedata.corpus.state.retired import DELAY, delete_due, due, retired_tables
from securedata.corpus.state.tables import RETIRED_SCHEMA, part_missing, read_table, seal_table
from securedata.corpus.state.writer_lease import WriterLease
from securedata.errors import (
    CommitRace,
    CorpusBusy,
    CorpusError,
    MalformedManifest,
    OutcomeUnknown,
    PartMissing,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
)
from securedata.storage.base import Storage

_log = logging.getLogger("securedata")

_TRIES = 100
_UNREACHABLE_TRIES = 5

_sleep = time.sleep

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Next(Generic[T]):
    """The result of a change to the head that a try is about to replace.

    Attributes:
        outcome: what `Writer.transact` returns if this try lands, or if there is nothing to commit.
        members: the fields of `Head` that change; None: there is nothing to commit.
        key: a new corpus key (32 bytes) to seal the next head under; None: the same key as before.
    """

    outcome: T
    members: Mapping[str, Any] | None
    key: bytes | None = field(default=None, repr=False)


class Try:
    """One try of a commit: the head that it is about to replace, and the operations to build the next one.

    A change is called once per try. Each time it must check everything against this head, since another writer may have
    replaced the previous one.
    """

    def __init__(self, opened: OpenedHead, transaction: Transaction[Any]) -> None:
        self.opened = opened
        self.head = opened.head
        self._transaction = transaction

    @property
    def write_id(self) -> bytes:
        """The write id of the commit (16 bytes), the same for all its tries."""
        return self._transaction.write_id

    def now(self) -> float:
        """Storage's time, in seconds since the epoch."""
        return self._transaction.now()

    def read_table(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """Read a part of this head. Raises as `Writer.read_table`."""
        return self._transaction.live.read_table(part, columns)

    def plan(self, changes: Changes) -> Plan:
        """Plan what these changes of rows do to this head; nothing is written.

        Raises:
            HorizonInFuture: new objects are older than the horizon, and in another try they would be, too.
        """
        plan = make_plan(self.head, changes, self.read_table)
        if plan.outcome.stale:
            self._transaction.check_horizon(self.head)
        return plan

    def write(self, plan: Plan, changes: Changes, grace: float = DELAY) -> dict[str, Any]:
        """Write the new parts of a plan, and the leaving list.

        Args:
            grace: seconds after which the objects that it takes out are deleted, at least a day.

        Returns:
            `parts` of the next head; `retired` if something leaves, and `grace` if that is for longer than a day.

        Raises:
            HorizonInFuture: what is written now is already older than the horizon.
        """
        return self._transaction.write(self.head, plan, changes, grace)


@dataclass(frozen=True, slots=True)
class _Sent(Generic[T]):
    """A head that was sent to storage: its outcome, and the new objects that it names."""

    outcome: T
    objects: frozenset[bytes]


class Transaction(Generic[T]):
    """One logical commit.

    Attributes:
        write_id: identifies the commit over all tries.
        tries: the number of tries so far.
        in_doubt: might a head name objects of this commit without our knowing? True from before a try is sent until a
            later head proves that it did not land, whatever the response: an intermediary may send a conditional put
            twice and return the second response.
        objects: ids of new objects that a try named or was about to name.
        committed: those that the successful try named.
    """

    def __init__(self, storage: Storage, lease: WriterLease, live: LiveParts, change: Callable[[Try], Next[T]]) -> None:
        self.live = live
        self.write_id = os.urandom(16)
        self.tries = 0
        self.in_doubt = False
        self.objects: set[bytes] = set()
        self.committed: frozenset[bytes] = frozenset()
        self._storage, self._lease, self._change = storage, lease, change
        self._sent: dict[int, _Sent[T]] = {}  # by the generation that a try makes
        self._replacing: int | None = None  # the generation that the last try was to replace, while in doubt
        self._silent = 0
        self._failure: SecuredataError | None = None
        self._naming: set[bytes] = set()
        self._in_packs: set[bytes] = set()  # of these, the objects whose rows read them from packs
        self._lost = storage.lost
        self._scratch: list[TableRef] = []
        self._made: dict[Slot, TableRef] = {}
        self._made_for: Changes | None = None
        self._made_under = 0.0

    def run(self) -> T:
        """Replace the head by the result of the change. Raises as `Writer.transact`.

        `in_doubt` may still be set when this returns: the caller first records what was committed, then clears it.
        """
        while True:
            unsettled = self.in_doubt
            if not unsettled:  # tries can take minutes; after one was sent, its outcome comes first
                self._lease.check()
            opened = self._look()
            if opened is None:
                continue
            landed = self._landed(opened.head)
            if landed is not None:
                return self._done(landed)
            if self._failure and (self._silent >= _UNREACHABLE_TRIES or not _may_pass(self._failure)):
                raise self._failure
            if self.tries == _TRIES:
                raise self._race()
            self.tries += 1
            if unsettled:
                self._lease.check()
            self._naming, self._in_packs = set(), set()
            try:
                after = self._change(Try(opened, self))
            except PartMissing as gone:
                if any(part.id == gone.object_id for part in self._read().head.parts):
                    raise
                continue  # the head was replaced while its parts were read: start over
            if after.members is None:
                if not self.in_doubt:
                    with orphans():
                        self._delete_tables(opened.head, ())
                return after.outcome
            if self._replace(opened, after, after.members):
                return self._done(opened.head.generation + 1)

    # ------------------------------------------------------------ the head

    def _look(self) -> OpenedHead | None:
        """The current head; None: storage does not answer while a try is in doubt, so ask again."""
        try:
            return self._read()
        except StorageUnreachable as error:
            if self._replacing is None:
                raise
            if self._silent >= _UNREACHABLE_TRIES:
                raise self._unknown("it does not answer") from error
            self._wait_for_storage()
            return None

    def _read(self) -> OpenedHead:
        opened = self._lease.read()
        self.live.forget_all_but(opened.head)
        return opened

    def _landed(self, head: Head) -> int | None:
        """The generation at which a try landed, if the head shows it; a newer head that does not ends the doubt.

        A try replaces one version only: once another head is there, it can no longer land.
        """
        if self._replacing is None:
            return None
        if self.write_id in head.writes:
            self._lease.remember(head)
            return head.generation - (len(head.writes) - 1 - head.writes.index(self.write_id))
        passed = head.generation - self._replacing
        if passed > len(head.writes):
            raise self._unknown(f"{passed} generations were committed since its last try")
        if passed > 0:
            self._replacing = None
            self.in_doubt = False
        return None

    def _replace(self, opened: OpenedHead, after: Next[T], members: Mapping[str, Any]) -> bool:
        """Replace the head that was read by the next one. False: the next read of the head shows what happened."""
        members, cleared = self._clear_due(opened.head, members)
        head, key = opened.head.next(self.write_id, **members), after.key or opened.key
        sealed = seal_head(head, key)
        if open_with(sealed, key, self._lease.root) != head:
            raise MalformedManifest(f"the new head of {self._lease.root} does not read back; nothing was committed")
        self._sent[head.generation] = _Sent(after.outcome, frozenset(self._naming))
        self._replacing = opened.head.generation
        before, self.in_doubt = self.in_doubt, True
        try:
            self._storage.replace(HEAD, sealed, opened.version)
        except CorpusBusy:  # this try did not begin
            self.in_doubt = before
            raise
        except OutcomeUnknown:  # it is there, but might not last: finding it would prove nothing
            raise
        except PreconditionFailed:
            _sleep(random.uniform(0, min(2.0, 0.02 * 2 ** min(self.tries - 1, 7))))  # noqa: S311 - jitter, no secret
            return False
        except SecuredataError as error:  # any response, even a redirect
            self._failure = error
            if _may_pass(error):
                self._wait_for_storage()
            return False
        self._lease.committed(OpenedHead(opened.head, key, opened.version), head)
        with orphans():
            self._delete_tables(head, cleared)
        return True

    def _done(self, generation: int) -> T:
        sent = self._sent[generation]
        self.committed = sent.objects
        return sent.outcome

    def _race(self) -> CorpusError:
        root = self._lease.root
        if self.in_doubt:
            return self._unknown(f"storage refused {_TRIES} tries, but shows no other commit")
        return CommitRace(
            f"{_TRIES} tries to commit to {root} lost to other writers; nothing was committed: try again",
            root=root,
        )

    def _wait_for_storage(self) -> None:
        self._silent += 1
        _sleep(random.uniform(0, 0.1 * 2**self._silent))  # noqa: S311 - jitter, no secret

    def _unknown(self, why: str) -> OutcomeUnknown:
        root = self._lease.root
        return OutcomeUnknown(
            f"a commit to {root} may or may not have happened: {why}; run it again: committed rows are recognised",
            root=root,
        )

    # ------------------------------------------------------------ tables

    def now(self) -> float:
        """As `Try.now`."""
        return self._storage.now()

    def check_horizon(self, head: Head) -> None:
        """Called when something new is older than the horizon of `head`. Raises HorizonInFuture."""
        check_horizon(head, self._storage.now(), self._lease.root)

    def write(self, head: Head, plan: Plan, changes: Changes, grace: float) -> dict[str, Any]:
        """As `Try.write`."""
        if changes is not self._made_for or head.horizon != self._made_under:
            # Only for the same changes do equal slots hold equal rows. A prune may have deleted parts that were made
            # under another horizon, even a later one that was set back.
            self._made, self._made_for, self._made_under = {}, changes, head.horizon
        self.objects |= plan.outcome.committed
        self._naming |= plan.outcome.committed
        self._in_packs |= set(
            changes.add.filter(pc.is_valid(changes.add.column("pack"))).column("object_id").to_pylist()
        )
        parts = []
        for slot in plan.slots:
            ref = slot.kept
            if ref is None:
                ref = self._made.get(slot)
                if ref is None:
                    ref, _ = self._put_table(build(slot, changes, self.live.read_table), SCHEMA, head)
                    self._made[slot] = ref
            parts.append(ref)
        members: dict[str, Any] = {"parts": tuple(parts)}
        firsts = {**plan.firsts, **changes.firsts}
        leaving = retired_tables(plan.retired_parts, plan.retired_objects, grace, firsts, plan.retired_packs)
        for table, later in leaving:
            ref, when = self._put_table(table, RETIRED_SCHEMA, head)
            members["retired"] = (*members.get("retired", head.retired), Retired(ref, when + later))
            if later:
                members["grace"] = {**head.grace, ref.id.hex(): when}
        self._storage.make_durable()
        if self._storage.lost != self._lost:  # by another commit through the same storage: the new objects are gone
            raise StorageUnreachable(
                f"what was put to {self._lease.root} was lost on its way to the disk; run it again to seal it again",
                root=self._lease.root,
            )
        return members

    def _put_table(self, table: pa.Table, schema: pa.Schema, head: Head) -> tuple[TableRef, float]:
        """Put a part; it is read back and opened, since parts hold the only keys of their objects."""
        ref, sealed = seal_table(table, head.corpus_id)
        when, refused = put_once(self._storage, ref.storage_key, [sealed])
        self._scratch.append(ref)
        check_horizon(head, when, self._lease.root)  # not now(): a prune compares the time of this put in a listing
        try:
            back = read_table(self._storage, head.corpus_id, ref, None, schema)
        except GONE as error:
            if self._read().head.generation != head.generation:  # a prune deleted it as an orphan: start over
                raise part_missing(self._lease.root, ref) from error
            raise why_gone(error, refused) from error
        if not back.equals(table):
            raise MalformedManifest(
                f"table {ref.id.hex()} of {self._lease.root} does not read back as it was written; "
                "nothing was committed: the disk or memory is faulty",
                root=self._lease.root,
                object_id=ref.id,
            )
        if schema is SCHEMA:
            self.live.keep(ref, back)
        return ref, when

    def _delete_tables(self, head: Head, cleared: Sequence[Retired]) -> None:
        """Delete leaving lists that the head no longer names, and tables of failed tries."""
        named = {part.id for part in head.parts} | {one.table.id for one in head.retired}
        for ref in [*(one.table for one in cleared), *self._scratch]:
            if ref.id not in named:
                self._storage.delete(ref.storage_key)

    def _clear_due(self, head: Head, members: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[Retired, ...]]:
        if not head.retired:
            return members, ()
        now = self._storage.now()
        if not due(head, now):
            return members, ()
        # not the copies that packed objects had before: a packed row that is renamed would keep its own as an orphan
        naming = self._naming - self._in_packs
        try:
            cleared = delete_due(self._storage, head, now, lambda ids: self.live.named(head, ids) | naming)
        except SecuredataError as error:  # even if only a part cannot be read: it might name what is due
            _log.warning("what is due for deletion from %s is left to a later commit: %s", self._lease.root, error)
            return members, ()
        retired = members.get("retired", head.retired)
        return {**members, "retired": tuple(one for one in retired if one not in cleared)}, cleared


def added_lists(attempt: Try, members: Mapping[str, Any]) -> set[bytes]:
    """The ids of the leaving lists that a try adds, of what `Try.write` returned."""
    return {one.table.id for one in members.get("retired", ())} - {one.table.id for one in attempt.head.retired}


def _may_pass(error: SecuredataError) -> bool:
    return isinstance(error, StorageUnreachable)


@contextlib.contextmanager
def orphans() -> Iterator[None]:
    """Delete what a commit no longer needs; what cannot be deleted becomes an orphan, which prune finds."""
    try:
        yield
    except SecuredataError as error:
        _log.warning("committed, but not everything that is no longer needed was deleted: %s", error)
