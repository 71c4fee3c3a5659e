"""The commit: objects, then parts, then the head by conditional put. Crash-safe at every write.

docs/format.md tells the rules. In short: a row exists if and only if it stands in a part that the head
names; ids are never used twice; what a commit takes out is listed and deleted a day later; one write
id names a logical commit over all its tries, so that a lost answer can be resolved.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.head import (
    KEY,
    MAX_SEALED,
    Head,
    Leaving,
    OpenedHead,
    Seen,
    TableRef,
    open_head,
    open_with,
    peek,
    seal_head,
)
from securedata.corpus.leaving import delete_due, due, leaving_table, object_key
from securedata.corpus.parts import LEAVING_SCHEMA, read_table, seal_table
from securedata.corpus.plan import Changes, Outcome, Plan, Slot, build, make_plan
from securedata.corpus.schema import SCHEMA
from securedata.corpus.seen import recall, remember
from securedata.errors import (
    AuthenticationFailed,
    CommitRace,
    CorpusGone,
    InvalidArgument,
    MalformedManifest,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StorageUnreachable,
)
from securedata.format.cobblestone import Buffer
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_stream, seal_stream
from securedata.keys.grant import Grant, Lease
from securedata.keys.kms import open_all
from securedata.keys.pin import check_corpus
from securedata.storage.base import Storage
from securedata.storage.registry import open_storage

_TRIES = 100
_UNREACHABLE_TRIES = 5
_PIECE = 4 * 1024 * 1024

_sleep = time.sleep


@dataclass(frozen=True, slots=True)
class Put:
    """A new object on storage, not yet committed. Sizes in bytes, `time` by storage's clock in seconds."""

    object_id: bytes
    data_key: bytes = field(repr=False)
    sealed_size: int
    size: int
    sha256: bytes
    time: float


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
        self.storage = storage if storage is not None else open_storage(reference.root)
        self.storage.check_writable(single_writer)
        self._accept = accept_generation
        self._trusted = open_all(reference.kms)
        self._times: dict[bytes, float] = {}
        self._cache: dict[bytes, dict[tuple[str, ...], pa.Table]] = {}
        self._scratch: list[TableRef] = []
        self.unwraps = 0
        self._opened = self._unwrap()
        self.corpus_id = self._opened.head.corpus_id
        self._lease = Lease(self._grant(ttl), lambda old: self._renew(old.ttl), self.root, kms_wait)

    def __repr__(self) -> str:
        return f"<Writer {self.root} generation {self.head.generation}>"

    @property
    def head(self) -> Head:
        """The newest head that this writer has seen."""
        return self._opened.head

    # ------------------------------------------------------------ objects

    def put_object(self, pieces: Iterable[Buffer]) -> Put:
        """Seal pieces of plaintext into a new object, store it, read it back and compare.

        Raises:
            AuthenticationFailed: what was read back is not what was sealed.
            StorageError, KeysExpired
        """
        self._lease.check()
        object_id, key = os.urandom(16), os.urandom(32)
        digest, size, sealed = hashlib.sha256(), 0, 0

        def plain() -> Iterator[Buffer]:
            nonlocal size
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece

        def counted() -> Iterator[Buffer]:
            nonlocal sealed
            for piece in seal_stream(Header(Kind.DATA, self.corpus_id, object_id), key, plain()):
                sealed += len(piece)
                yield piece

        when = self.storage.put_new(object_key(object_id), counted())
        expect = Expect(Kind.DATA, self.corpus_id, object_id, self.root, sealed, size)
        check = hashlib.sha256()
        for piece in open_stream(key, _read_pieces(self.storage, object_key(object_id), sealed), expect):
            check.update(piece)
        if check.digest() != digest.digest():
            raise AuthenticationFailed(
                f"{expect.name} reads back differently than it was sealed; the disk or memory is faulty",
                root=self.root,
                object_id=object_id,
            )
        self._times[object_id] = when
        return Put(object_id, key, sealed, size, digest.digest(), when)

    def discard(self, object_ids: Iterable[bytes]) -> None:
        """Delete objects that this writer put and that no commit took; others are left alone."""
        for object_id in object_ids:
            if self._times.pop(object_id, None) is not None:
                self.storage.delete(object_key(object_id))

    # ------------------------------------------------------------ commits

    def commit(
        self,
        add: pa.Table | None = None,
        remove: Sequence[str] = (),
        replace: bool = False,
        settings: dict[str, Any] | None = None,
        update: pa.Table | None = None,
    ) -> Outcome:
        """Add, remove and replace rows in one atomic step.

        Args:
            add: rows of the manifest's schema, whose objects were put before. A row that is there
                already (same path, content, segment and people) is left, or its descriptive columns updated.
            remove: logical paths.
            replace: other content or people under a path that is taken replace the row; otherwise a conflict.
            settings: settings of the corpus to change.
            update: rows that are there and whose descriptive columns are to be updated; never added.

        Returns:
            What became of the rows. Conflicts, erased, stale and missing rows were not committed; stale ones
            must be sealed anew, for a prune may have deleted their objects.

        Raises:
            CommitRace, OutcomeUnknown, StorageError, KeysExpired, ...: what was not committed can be tried again.
        """
        tables = [table for table in (add, update) if table is not None] or [SCHEMA.empty_table()]
        table = pa.concat_tables(tables, promote_options="default")
        if missing := [name for name in SCHEMA.names if name not in table.schema.names]:
            raise InvalidArgument(f"rows to add lack the column {missing[0]}")
        changes = Changes(table, 0 if update is None else update.num_rows, tuple(remove), replace, self._times)
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

        generation = self._commit(attempt)
        outcome = outcomes[generation if generation in outcomes else max(outcomes)]
        for object_id in outcome.committed:
            self._times.pop(object_id, None)
        self.discard({id.as_py() for id in table.column("object_id")} - outcome.committed)
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

    def refresh(self) -> Head:
        """Read the current head."""
        self._lease.check()
        self._opened = self._read()
        return self.head

    def _commit(self, attempt: Callable[[OpenedHead], dict[str, Any] | None]) -> int:
        """Replace the head by what `attempt` makes of it, however often that takes.

        Returns:
            The generation that was committed, or that would have been if there was nothing to do.
        """
        self._lease.check()
        write_id = os.urandom(16)
        first: int | None = None
        unreachable = 0
        self._scratch.clear()
        for tries in range(_TRIES):
            opened = self._opened = self._read()
            landed = self._landed(opened.head, write_id, first if unreachable else None)
            if landed is not None:
                return landed
            changes = attempt(opened)
            if changes is None:
                return opened.head.generation + 1
            changes, cleared = self._clear_due(opened.head, changes)
            head = opened.head.next(write_id, **changes)
            sealed = seal_head(head, opened.key)
            if open_with(sealed, opened.key, self.root) != head:
                raise MalformedManifest(f"the new head of {self.root} does not read back; nothing was committed")
            first = opened.head.generation if first is None else first
            try:
                self.storage.replace(KEY, sealed, opened.version)
            except PreconditionFailed:
                _sleep(random.uniform(0, min(2.0, 0.02 * 2 ** min(tries, 7))))  # noqa: S311 - jitter, no secret
                continue
            except StorageUnreachable as error:
                # the answer may be lost and the head replaced: the next look at it tells
                unreachable += 1
                if unreachable >= _UNREACHABLE_TRIES:
                    return self._resolve(write_id, first, error)
                _sleep(random.uniform(0, 0.1 * 2**unreachable))  # noqa: S311 - jitter, no secret
                continue
            self._opened = replace(opened, head=head)
            remember(head)
            for one in cleared:
                self.storage.delete(one.table.storage_key)
            named = {part.id for part in head.parts} | {one.table.id for one in head.leaving}
            for ref in self._scratch:  # made for tries that lost: no head ever named them
                if ref.id not in named:
                    self.storage.delete(ref.storage_key)
            return head.generation
        raise CommitRace(
            f"{_TRIES} tries to commit to {self.root} lost against other writers; nothing was committed, try again",
            root=self.root,
        )

    def _resolve(self, write_id: bytes, first: int, error: StorageUnreachable) -> int:
        try:
            self._opened = self._read()
        except StorageUnreachable:
            raise OutcomeUnknown(
                f"{self.root} does not answer: the commit may or may not have happened; run it again, "
                "what was committed is recognised",
                root=self.root,
            ) from error
        landed = self._landed(self.head, write_id, first)
        if landed is None:
            raise error
        return landed

    def _landed(self, head: Head, write_id: bytes, first: int | None) -> int | None:
        """The generation at which our write landed, if a head shows it."""
        if first is None:
            return None
        if write_id in head.writes:
            remember(head)
            return head.generation - (len(head.writes) - 1 - head.writes.index(write_id))
        if head.generation - first > len(head.writes):
            raise OutcomeUnknown(
                f"{head.generation - first} generations of {self.root} passed since the first try of a commit: "
                "it may or may not have happened; run it again, what was committed is recognised",
                root=self.root,
            )
        return None

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
        cleared = delete_due(self.storage, head, now)
        leaving = changes.get("leaving", head.leaving)
        return {**changes, "leaving": tuple(one for one in leaving if one not in cleared)}, cleared

    # ------------------------------------------------------------ reading

    def load(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """A live part. Small sets of columns are kept, since every try looks at them again."""
        if columns is None or len(columns) > 8:
            return read_table(self.storage, self.corpus_id, part, columns)
        kept = self._cache.setdefault(part.id, {})
        if tuple(columns) not in kept:
            kept[tuple(columns)] = read_table(self.storage, self.corpus_id, part, columns)
        return kept[tuple(columns)]

    def _read(self) -> OpenedHead:
        """The current head, by the corpus key that is known if it is still that one."""
        data, version = self._get()
        header, _ = peek(data, self.root)
        if header.key_id != self._opened.head.key_id or header.corpus_id != self.corpus_id:
            return self._unwrap()
        head = open_with(data, self._opened.key, self.root)
        seen = Seen(self.head.generation, frozenset(self.head.superseded))
        if head.generation < seen.generation:
            return self._unwrap()  # says so, or accepts it
        live = {part.id for part in head.parts}
        for gone in set(self._cache) - live:
            del self._cache[gone]
        return OpenedHead(head, self._opened.key, version)

    def _unwrap(self) -> OpenedHead:
        data, version = self._get()
        header, _ = peek(data, self.root)
        check_corpus(self.reference.pins, header.corpus_id, self.root)
        seen = recall(header.corpus_id)
        if self._accept is not None:
            seen = None
        self.unwraps += 1
        opened = open_head(data, version, self.root, self._trusted, self.reference.pins, seen)
        if self._accept is not None and opened.head.generation != self._accept:
            raise InvalidArgument(
                f"the head of {self.root} has generation {opened.head.generation}, not {self._accept}; nothing accepted"
            )
        remember(opened.head, reset=self._accept is not None)
        self._accept = None
        return opened

    def _get(self) -> tuple[Buffer, str]:
        try:
            return self.storage.get_versioned(KEY, MAX_SEALED)
        except NotFound as error:
            raise CorpusGone(
                f"the corpus is gone: {self.root} has no head; restore it from a backup, from head.prev or from an "
                "older version of the storage; if there never was one, make it with 'securedata init'",
                root=self.root,
            ) from error

    def _grant(self, ttl: float) -> Grant:
        head = self._opened.head
        return Grant.issue(head.generation, head.key_id, frozenset(head.superseded), ttl)

    def _renew(self, ttl: float) -> Grant:
        self._opened = self._unwrap()
        return self._grant(ttl)


def _read_pieces(storage: Storage, key: str, size: int) -> Iterator[Buffer]:
    for at in range(0, size, _PIECE):
        yield storage.get_ranges(key, [(at, min(_PIECE, size - at))])[0]
