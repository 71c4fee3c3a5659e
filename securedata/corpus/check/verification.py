"""Check every row and object of a corpus, and find orphans.

verify goes on after a failure: each is a finding with the error class that a reader would get. What a running commit or
ingest has written is not a finding until it is a day old.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.check.inventory import Listing, Named, named_now
from securedata.corpus.check.report import Finding, VerifyReport, without_advice
from securedata.corpus.check.tasks import Batch, VerifyWork
from securedata.corpus.objects.neighbours import PER_REQUEST
from securedata.corpus.packs.usage import Usage
from securedata.corpus.progress import Progress
from securedata.corpus.rows.invariants import COLUMNS, Rules
from securedata.corpus.state.head import MAX_SEALED, OpenedHead, TableRef
from securedata.corpus.state.horizon import TOLERANCE, committed_at, horizon_text, shown
from securedata.corpus.state.layout import HEAD, What, object_key, pack_key
from securedata.corpus.state.lease import HeadLease, explain_missing_head
from securedata.corpus.state.retired import DELAY, due, listed
from securedata.corpus.state.tables import read_table
from securedata.corpus.tasks.pool import TaskPool
from securedata.errors import (
    AccessDenied,
    FormatError,
    MalformedManifest,
    NotFound,
    OlderGeneration,
    PartMissing,
    SecuredataError,
    StorageError,
    SupersededKey,
)

_BATCH_ROWS, _BATCH_BYTES = 32, 16 * 1024 * 1024
TASK_OBJECTS, TASK_BYTES = 256, 256 * 1024 * 1024
"""The most objects and bytes of a task, in a thread and in another process."""


class Verification:
    """One check of everything that the head names, and of what else is on storage."""

    def __init__(self, lease: HeadLease) -> None:
        self.storage = lease.storage
        self.root = lease.root
        self.lease = lease
        self.opened, old = _open(lease)
        self.lease.begin(self.opened)
        self.head = self.opened.head
        self.report = VerifyReport(self.root, self.head.corpus_id, str(self.head.pin), self.head.generation)
        self.report.unfinished_erasures = len(self.head.erasures)
        self.report.unreached_corpora = self.head.unreached
        if old is not None:
            self._find(type(old).__name__, str(old), key=HEAD)
        self.named = Named()
        self.readable: list[TableRef] = []
        self.retired: dict[bytes, list[str]] = {}
        self.usage = Usage()
        self.complete = True  # could everything that the head names be read?

    def run(self, threads: int, progress: Progress | None, executor: Executor | None = None) -> VerifyReport:
        """Check everything; returns the report. With an executor, its processes open the objects."""
        started = time.monotonic()
        objects, total = self._manifest()
        self._objects(threads, executor, progress or (lambda *_: None), objects, total)
        self._storage()
        self.report.rows_failed = self._rows_failed()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _find(
        self, error: str, text: str, object_id: bytes | None = None, key: str | None = None, paths: tuple[str, ...] = ()
    ) -> None:
        self.report.findings.append(Finding(error, without_advice(text), object_id, key, paths))

    def _rows_failed(self) -> int:
        lost = {finding.object_id for finding in self.report.findings}
        failed = {path for finding in self.report.findings for path in finding.paths}
        return len(failed) + sum(part.rows for part in self.head.parts if part.id in lost)

    # ------------------------------------------------------------ the head

    def _version(self) -> str:
        return explain_missing_head(
            self.lease.reference, self.storage, lambda: self.storage.get_versioned(HEAD, MAX_SEALED)
        )[1]

    # ------------------------------------------------------------ manifest

    def _manifest(self) -> tuple[int, int]:
        """Check parts, rows and leaving lists; returns the number of objects and their size on storage."""
        rules = Rules(self.head)
        objects = total = 0
        for part in self.head.parts:
            self.report.parts += 1
            self.report.rows += part.rows
            self.named.tables.add(part.id)
            try:
                table = read_table(self.storage, self.head.corpus_id, part, COLUMNS)
            except (FormatError, MalformedManifest, StorageError) as error:
                self._part_failed(part, error)
                self.complete = False
                continue
            self.readable.append(part)
            self.named.add_rows(table)
            self.usage.add(table)
            sizes = pa.table([table.column("object_id"), table.column("sealed_size")], ["id", "size"])
            sizes = sizes.group_by("id", use_threads=False).aggregate([("size", "max")])
            objects += sizes.num_rows
            total += pc.sum(sizes.column("size_max")).as_py() or 0
            for broken in rules.part(table):
                name = "SubjectErased" if broken.erased else "MalformedManifest"
                self._row_failed(name, broken.reason, broken.object_id, (broken.path,))
        for broken in rules.across():
            paths = (broken.path,) if broken.path else ()
            self._row_failed("MalformedManifest", broken.reason, broken.object_id or None, paths)
        self._retired()
        return objects, total

    def _part_failed(self, part: TableRef, error: SecuredataError) -> None:
        name = PartMissing.__name__ if isinstance(error, NotFound) else type(error).__name__
        text = f"{error}; the {part.rows} rows in it cannot be read: restore the part from a backup"
        self._find(name, text, part.id, part.storage_key)

    def _row_failed(self, error: str, reason: str, object_id: bytes | None, paths: tuple[str, ...]) -> None:
        where = f"a row of object {object_id.hex()}" if object_id else "a row"
        self._find(error, f"{where} of {self.root} breaks the rules: {reason}", object_id, None, paths)

    def _retired(self) -> None:
        for one in self.head.retired:
            self.named.tables.add(one.table.id)
            try:
                keys = listed(self.storage, self.head, one)
            except (FormatError, MalformedManifest, StorageError) as error:
                text = f"a leaving list cannot be read, so no commit can clear it: {error}"
                self._find(type(error).__name__, text, one.table.id, one.table.storage_key)
                self.complete = False
                continue
            self.named.retired.update(keys)
            self.retired[one.table.id] = keys
            self.report.leaving += len(keys)

    # ------------------------------------------------------------ objects

    def _objects(self, threads: int, executor: Executor | None, progress: Progress, objects: int, total: int) -> None:
        done = bytes_done = 0
        work = VerifyWork(self.lease, self.opened)
        limits = (_BATCH_ROWS, _BATCH_BYTES) if executor is None else (TASK_OBJECTS, TASK_BYTES)
        with TaskPool("securedata-verify", work, executor, threads, 2 * threads) as pool:
            for (table, batch), opened in pool.each(self._batches(*limits)):
                for rows, (error, size) in zip(batch, opened, strict=True):
                    done += 1
                    bytes_done += int(table.column("sealed_size")[rows[0]].as_py())
                    self.report.objects += 1
                    self.report.bytes += size
                    if error is None:
                        self.report.objects_opened += 1
                    else:
                        self._object_failed(table, rows, error)
                progress(done, objects, bytes_done, total)

    def _batches(self, most: int, room: int) -> Iterator[Batch]:
        """The objects of each part, each as the rows that share it, in batches limited by number and bytes."""
        for part in self.readable:
            try:
                self.lease.check()
                table = read_table(self.storage, self.head.corpus_id, part, COLUMNS)
            except (FormatError, MalformedManifest, StorageError) as error:  # it could be read a moment ago
                self._part_failed(part, error)
                continue
            batch: list[list[int]] = []
            size = 0
            sizes = table.column("sealed_size").to_numpy()
            packed = pc.is_valid(table.column("pack")).to_numpy(zero_copy_only=False)
            weight = 0
            for rows in _by_object(table):
                batch.append(rows)
                size += int(sizes[rows[0]])
                weight += 1 if packed[rows[0]] else PER_REQUEST  # neighbours in a pack are fetched together
                if weight >= most * PER_REQUEST or size >= room:
                    yield Batch(table, batch)
                    batch, size, weight = [], 0, 0
            if batch:
                yield Batch(table, batch)

    def _object_failed(self, table: pa.Table, rows: Sequence[int], error: SecuredataError) -> None:
        object_id, pack = (table.column(name)[rows[0]].as_py() for name in ("object_id", "pack"))
        paths = tuple(table.column("path")[row].as_py() for row in rows)
        name = type(error).__name__
        text = without_advice(str(error), "restore it, or ingest its file again with --reseal")
        if isinstance(error, NotFound):
            name, text = "ObjectMissing", f"object {object_id.hex()} of {self.root} is not on storage; "
            text += "restore it, or ingest its file again"
            if pack is not None:
                text = f"pack {pack.hex()} of {self.root}, which has object {object_id.hex()}, is not on storage; "
                text += "restore it, or ingest its files again with --reseal"
        key = object_key(object_id) if pack is None else pack_key(pack)
        self._find(name, text, object_id, key, paths)

    # ------------------------------------------------------------ storage

    def _storage(self) -> None:
        listing = Listing(self.storage)
        self.report.stored, self.report.stored_bytes = listing.objects + len(listing.others), listing.bytes
        self.report.packs = len(self.usage.live)
        self.report.dead_bytes = sum(self.usage.dead(listing.packs()).values())
        now = self._now()
        self._settle()
        self._times(now)
        for what, entry in listing.unnamed(self.named):
            if entry.time > now + TOLERANCE:
                text = f"{entry.key}: stored at {shown(entry.time)}, which is in the future, and nothing names it; "
                text += "it was written under a wrong clock, and no prune deletes it until a day after that time"
                self._find("StoredInFuture", text, key=entry.key)
            elif entry.time > now - DELAY:
                self.report.in_flight += 1
                self.report.in_flight_bytes += entry.size
            elif what is What.TEMPORARY:
                self._find("OldTemporary", f"{entry.key}: left by a killed writer", key=entry.key)
            else:
                sure = "" if self.complete else ", as far as the readable tables show"
                text = f"{entry.key}: {entry.size} bytes, older than a day, and nothing names it{sure}"
                self._find("Orphan", text, key=entry.key)
        for one in due(self.head, now):
            if left := listing.stored(self.retired.get(one.table.id, [])):
                text = f"{left} objects and parts that a commit took out more than a day ago are still there"
                self._find("LeavingDue", text, one.table.id, one.table.storage_key)
        for entry in listing.of(What.FOREIGN):
            text = f"{entry.key}: not a file of a corpus; move it elsewhere"
            self._find("ForeignFile", text, key=entry.key)

    def _times(self, now: float) -> None:
        """Find times of the head that are in the future: until then, nothing can be committed or deleted."""
        if self.head.horizon > now + TOLERANCE:
            self._find("HorizonInFuture", horizon_text(self.head, now, self.root), key=HEAD)
        for one in self.head.retired:
            if (committed := committed_at(self.head, one)) > now + TOLERANCE:
                text = f"what a commit took out is kept from {shown(committed)} on, which is in the future: it was "
                text += "committed under a wrong clock; see --reset-horizon"
                self._find("LeavingInFuture", text, one.table.id, one.table.storage_key)

    def _now(self) -> float:
        try:
            return self.storage.now()
        except AccessDenied:  # a reader without the right to write cannot ask storage for its time
            return time.time()

    def _settle(self) -> None:
        """Read the head again, and drop findings that only exist because it was replaced meanwhile."""
        if self._version() == self.opened.version:
            return
        head, named = named_now(lambda: self.lease.open().head, self.storage)
        self.report.changed_to = head.generation
        missing = [one.object_id for one in self.report.findings if one.error == "ObjectMissing"]
        still = named.has_objects(pa.array(missing, pa.binary(16)), packed=True)
        gone = {id for id, is_named in zip(missing, still, strict=True) if not is_named}
        self.report.findings = [
            one
            for one in self.report.findings
            if not (one.error == "ObjectMissing" and one.object_id in gone)
            and not (one.error == "PartMissing" and one.object_id not in named.tables)
        ]
        self.named.add(named)


def _open(lease: HeadLease) -> tuple[OpenedHead, SecuredataError | None]:
    """Open the head, even one older than this machine has seen; returns it, and why a reader would refuse it."""
    try:
        return lease.open(), None
    except (OlderGeneration, SupersededKey) as old:
        lease.disregard_machine()
        return lease.open(), old


def _by_object(table: pa.Table) -> Iterable[list[int]]:
    """The rows of each object, together."""
    rows: dict[bytes, list[int]] = {}
    for row, id in enumerate(table.column("object_id").to_pylist()):
        rows.setdefault(id, []).append(row)
    return rows.values()
