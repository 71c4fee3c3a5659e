"""The commit: objects, then parts, then the head by conditional put. Crash-safe at every write.

docs/format.md tells the rules. In short: a row exists if and only if it stands in a part that the head
names; ids are never used twice; what a commit takes out is listed and deleted a day later; one write
id names a logical commit over all its tries, so that a lost answer can be resolved.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.head import KEY, Head, Leaving, OpenedHead, TableRef, open_with, seal_head
from securedata.corpus.heads import Heads
from securedata.corpus.leaving import delete_due, due, leaving_table, object_key
from securedata.corpus.parts import LEAVING_SCHEMA, part_missing, read_table, seal_table
from securedata.corpus.place import enter
from securedata.corpus.plan import Changes, Outcome, Plan, Slot, build, check_objects, join, make_plan
from securedata.corpus.putting import Put, put_object, put_objects
from securedata.corpus.schema import SCHEMA, check_types, fit
from securedata.errors import (
    CommitRace,
    MalformedManifest,
    NotFound,
    OutcomeUnknown,
    PartMissing,
    PreconditionFailed,
    StorageError,
    StorageUnreachable,
)
from securedata.format.cobblestone import Buffer
from securedata.keys.wraps import Wrap
from securedata.storage.base import Storage

_log = logging.getLogger("securedata")

_TRIES = 100
_UNREACHABLE_TRIES = 5

_sleep = time.sleep


class Writer:
    """A corpus opened for writing. One thread commits; `put_object` may be called from many.

    Writing needs the KMS's Decrypt only, and the pin.
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
            PinRequired: before any call.
            UnsafeStorage, CorpusGone, PinMismatch, NoTrustedKey, KMSDenied, OlderGeneration, ...
        """
        reference.require_pin()
        self.reference = reference
        self.root = reference.root
        place = enter(reference, write=True, storage=storage)
        self.storage = place.storage
        self.storage.check_writable(single_writer)
        self._times: dict[bytes, float] = {}
        self._cache: dict[bytes, dict[tuple[str, ...], pa.Table]] = {}
        self._scratch: list[TableRef] = []
        self._in_doubt = False
        self._heads = Heads(reference, place, accept_generation, ttl, kms_wait)
        self.corpus_id = self.head.corpus_id

    def __repr__(self) -> str:
        return f"<Writer {self.root} generation {self.head.generation}>"

    @property
    def head(self) -> Head:
        """The newest head that this writer has seen."""
        return self._heads.opened.head

    @property
    def unwraps(self) -> int:
        """How often the KMS was asked."""
        return self._heads.unwraps

    # ------------------------------------------------------------ objects

    def put_object(self, pieces: Iterable[Buffer]) -> Put:
        """Seal pieces of plaintext into a new object and store it, checked; raises as `putting`, and KeysExpired."""
        self._heads.check()
        put = put_object(self.storage, self.corpus_id, pieces)
        self._times[put.object_id] = put.time
        return put

    def put_objects(self, plains: Iterable[bytes]) -> Iterator[tuple[int, Put]]:
        """Seal whole plaintexts, each into a new object, and store them side by side; raises as `put_object`."""
        self._heads.check()
        for at, put in put_objects(self.storage, self.corpus_id, plains):
            self._times[put.object_id] = put.time
            yield at, put

    def discard(self, object_ids: Iterable[bytes]) -> None:
        """Delete objects that this writer put and that no commit took, nor may have taken; others are left alone."""
        for object_id in object_ids:
            if self._times.get(object_id, -math.inf) > -math.inf:
                self.storage.delete(object_key(object_id))
                del self._times[object_id]

    # ------------------------------------------------------------ commits

    def commit(
        self,
        add: pa.Table | None = None,
        remove: Sequence[str] = (),
        replace: bool = False,
        settings: dict[str, Any] | None = None,
        update: pa.Table | None = None,
        reseal: bool = False,
    ) -> Outcome:
        """Add, remove and replace rows in one atomic step.

        Args:
            add: rows of the manifest's schema, whose objects were put before. A row that is there
                already (same path, content, segment and people) is left, or its descriptive columns updated.
            remove: logical paths.
            replace: other content or people under a path that is taken replace the row; otherwise a conflict.
            settings: settings of the corpus to change.
            update: rows that are there and whose descriptive columns are to be updated; never added.
            reseal: rows to add replace those of the same recording, too, and their objects.

        Returns:
            What became of the rows. Conflicts, erased, stale and missing rows were not committed; stale ones
            must be sealed anew, for a prune may have deleted their objects.

        Raises:
            InvalidArgument: rows that do not fit the schema or those that are there, a path twice, an object whose
                rows name other people.
            CommitRace, OutcomeUnknown, StorageError, KeysExpired, ...: what was not committed can be tried again.
                Where the answer of storage was lost, the same rows are stale from then on: a head may name their
                objects or have named them, and no object is committed twice.
        """
        tables = [fit(table) for table in (add, update) if table is not None] or [SCHEMA.empty_table()]
        check_types(tables[0].schema, tables[-1].schema)
        table = join(tables)
        check_objects(table)
        updates_only = 0 if update is None else update.num_rows
        changes = Changes(table, updates_only, tuple(remove), replace, reseal, self._times)
        made: dict[Slot, tuple[TableRef, float]] = {}
        outcomes: dict[int, Outcome] = {}

        def attempt(opened: OpenedHead) -> dict[str, Any] | None:
            plan = make_plan(opened.head, changes, self.load)
            outcomes[opened.head.generation + 1] = plan.outcome
            new = settings is not None and {**opened.head.settings, **settings} != opened.head.settings
            if not plan.outcome.changes and not new:
                return None
            updates = self._parts(opened.head, plan, changes, made)
            return {**updates, "settings": {**opened.head.settings, **settings}} if settings else updates

        ids = set(table.column("object_id").to_pylist())
        try:
            generation = self._commit(attempt)
        except BaseException:  # raised again: what a lost answer may have committed is never deleted as an orphan
            if self._in_doubt:
                self._times.update((id, -math.inf) for id in ids if id in self._times)
            raise
        outcome = outcomes[generation if generation in outcomes else max(outcomes)]
        for object_id in outcome.committed:
            self._times.pop(object_id, None)
        with _orphans():
            self.discard(ids - outcome.committed)
        return outcome

    def commit_horizon(self) -> Head:
        """Move the horizon to storage's time less a day, never backwards; deletes and clears what is due.

        Returns:
            The head that was committed. What it names nowhere and was stored before its horizon may be deleted.
        """
        now = self.storage.now()

        def attempt(opened: OpenedHead) -> dict[str, Any]:
            return {"horizon": max(opened.head.horizon, now - 24 * 3600.0)}

        self._commit(attempt)
        return self.head

    def commit_wraps(self, change: Callable[[OpenedHead], tuple[Wrap, ...] | None]) -> Head:
        """Replace the wraps of the corpus key by what `change` makes of each head that is tried; None: leave them.

        Returns:
            The head that holds now.
        """

        def attempt(opened: OpenedHead) -> dict[str, Any] | None:
            wraps = change(opened)
            return None if wraps is None else {"wraps": wraps}

        self._commit(attempt)
        return self.head

    def refresh(self) -> Head:
        """Read the current head."""
        self._heads.check()
        return self._read().head

    def _commit(self, attempt: Callable[[OpenedHead], dict[str, Any] | None]) -> int:
        """Replace the head by what `attempt` makes of it, however often that takes.

        Returns:
            The generation that was committed, or that would have been if there was nothing to do.
        """
        self._heads.check()
        write_id = os.urandom(16)
        doubted: int | None = None  # the generation that the first try without an answer was to replace
        silent = 0
        failure: StorageUnreachable | None = None
        self._scratch.clear()
        self._in_doubt = False
        for tries in range(_TRIES):
            try:
                opened = self._read()
            except StorageUnreachable as error:
                if doubted is None:
                    raise
                silent += 1
                if silent > _UNREACHABLE_TRIES:
                    raise _outcome_unknown(self.root, "it does not answer") from error
                _sleep(random.uniform(0, 0.1 * 2**silent))  # noqa: S311 - jitter, no secret
                continue
            if doubted is not None:
                landed = self._landed(opened.head, write_id, doubted)
                if landed is not None:
                    return landed
                if failure and silent >= _UNREACHABLE_TRIES:
                    raise failure
            try:
                changes = attempt(opened)
            except PartMissing as gone:
                if any(part.id == gone.object_id for part in self._read().head.parts):
                    raise
                continue  # the head was replaced while we read: start over
            if changes is None:
                return opened.head.generation + 1
            changes, cleared = self._clear_due(opened.head, changes)
            head = opened.head.next(write_id, **changes)
            sealed = seal_head(head, opened.key)
            if open_with(sealed, opened.key, self.root) != head:
                raise MalformedManifest(f"the new head of {self.root} does not read back; nothing was committed")
            self._in_doubt = True
            try:
                self.storage.replace(KEY, sealed, opened.version)
            except PreconditionFailed:
                self._in_doubt = doubted is not None
                _sleep(random.uniform(0, min(2.0, 0.02 * 2 ** min(tries, 7))))  # noqa: S311 - jitter, no secret
                continue
            except StorageUnreachable as error:
                # the answer may be lost and the head replaced: the next look at it tells
                doubted = opened.head.generation if doubted is None else doubted
                failure = error
                silent += 1
                _sleep(random.uniform(0, 0.1 * 2**silent))  # noqa: S311 - jitter, no secret
                continue
            self._heads.committed(opened, head)
            with _orphans():
                self._delete_tables(head, cleared)
            return head.generation
        raise CommitRace(
            f"{_TRIES} tries to commit to {self.root} lost against other writers; nothing was committed, try again",
            root=self.root,
        )

    def _landed(self, head: Head, write_id: bytes, doubted: int) -> int | None:
        """The generation at which our write landed, if a head shows it."""
        if write_id in head.writes:
            self._heads.remember(head)
            return head.generation - (len(head.writes) - 1 - head.writes.index(write_id))
        if head.generation - doubted > len(head.writes):
            passed = f"{head.generation - doubted} generations passed since its answer was lost"
            raise _outcome_unknown(self.root, passed)
        return None

    def _delete_tables(self, head: Head, cleared: Sequence[Leaving]) -> None:
        """Delete leaving lists that the head no longer names, and tables made for tries that lost."""
        named = {part.id for part in head.parts} | {one.table.id for one in head.leaving}
        for ref in [*(one.table for one in cleared), *self._scratch]:
            if ref.id not in named:
                self.storage.delete(ref.storage_key)

    def _parts(
        self, head: Head, plan: Plan, changes: Changes, made: dict[Slot, tuple[TableRef, float]]
    ) -> dict[str, Any]:
        """Write the parts of a plan that are not there yet, read them back, and list what leaves."""
        parts = []
        for slot in plan.slots:
            ref = slot.kept
            if ref is None:
                known = made.get(slot)
                if known is None or known[1] < head.horizon:
                    known = made[slot] = self._put_table(build(slot, changes, self.load), SCHEMA)
                ref = known[0]
            parts.append(ref)
        updates: dict[str, Any] = {"parts": tuple(parts)}
        if plan.leaving_parts or plan.leaving_objects:
            table = leaving_table(plan.leaving_parts, plan.leaving_objects)
            ref, when = self._put_table(table, LEAVING_SCHEMA)
            updates["leaving"] = (*head.leaving, Leaving(ref, when))
        self.storage.make_durable()
        return updates

    def _put_table(self, table: pa.Table, schema: pa.Schema) -> tuple[TableRef, float]:
        """Parts are as precious as the head, for they hold the only keys: each is read back and opened."""
        ref, sealed = seal_table(table, self.corpus_id)
        when = self.storage.put_new(ref.storage_key, [sealed])
        self._scratch.append(ref)
        back = read_table(self.storage, self.corpus_id, ref, None, schema)
        if not back.equals(table):
            raise MalformedManifest(
                f"table {ref.id.hex()} of {self.root} reads back differently than it was written; "
                "nothing was committed, the disk or memory is faulty",
                root=self.root,
                object_id=ref.id,
            )
        return ref, when

    def _clear_due(self, head: Head, changes: dict[str, Any]) -> tuple[dict[str, Any], tuple[Leaving, ...]]:
        if not head.leaving:
            return changes, ()
        now = self.storage.now()
        if not due(head, now):
            return changes, ()
        try:
            cleared = delete_due(self.storage, head, now)
        except StorageError as error:
            _log.warning("what is due to be deleted from %s stays for a later commit: %s", self.root, error)
            return changes, ()
        leaving = changes.get("leaving", head.leaving)
        return {**changes, "leaving": tuple(one for one in leaving if one not in cleared)}, cleared

    # ------------------------------------------------------------ reading

    def load(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """A live part. Small sets of columns are kept, since every try looks at them again.

        Raises:
            PartMissing: it is not there; the head may have been replaced meanwhile.
            FormatError, MalformedManifest, StorageError
        """
        if columns is None or len(columns) > 8:
            return self._fetch(part, columns)
        kept = self._cache.setdefault(part.id, {})
        if tuple(columns) not in kept:
            kept[tuple(columns)] = self._fetch(part, columns)
        return kept[tuple(columns)]

    def _fetch(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        try:
            return read_table(self.storage, self.corpus_id, part, columns)
        except NotFound as error:
            raise part_missing(self.root, part) from error

    def _read(self) -> OpenedHead:
        opened = self._heads.read()
        live = {part.id for part in opened.head.parts}
        for gone in set(self._cache) - live:
            del self._cache[gone]
        return opened


@contextlib.contextmanager
def _orphans() -> Iterator[None]:
    """Deleting what a commit no longer needs: what that fails to delete are orphans, which prune finds."""
    try:
        yield
    except StorageError as error:
        _log.warning("committed, but not everything was deleted that is no longer needed: %s", error)


def _outcome_unknown(root: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"a commit to {root} may or may not have happened: {why}; run it again, what was committed is recognised",
        root=root,
    )
