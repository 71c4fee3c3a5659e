"""Seal every object again under a fresh data key: what `rotate --data-keys` does after the rotation.

Each object is read, compared with its row, sealed under a new id and key, and put; then its rows name the new object,
by compare and swap. A row that was removed meanwhile does not come back, and one that was replaced stays as it is.

What is done is marked in the rows, not by a time, so no clock matters: the head records the generation of the rotation
under `data_keys_since`, and a row whose `keyed_since` is at least that generation has a data key that no head up to the
rotation names. A run that was killed is therefore run again, and does only what is left. Rows that this version adds
meanwhile are marked too. A later rotation moves `data_keys_since` on, and everything is done again for it: who could
read in between may have the data keys of in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.put import Put
from securedata.corpus.packs.places import COLUMNS, still_at
from securedata.corpus.progress import Progress
from securedata.corpus.schema import SCHEMA, optional
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import TableRef
from securedata.corpus.state.retired import DELAY
from securedata.corpus.state.tables import part_missing, read_table
from securedata.corpus.tasks.engine import slots_of
from securedata.corpus.tasks.pool import TaskPool
from securedata.corpus.writer import Writer
from securedata.errors import NotFound, SecuredataError
from securedata.lifecycle.sealing import CELLS, OldObject, batches, new_cells, old_objects
from securedata.lifecycle.tasks.reencrypt import Done, ReencryptWork

COMMIT_SECONDS = 30.0
COMMIT_ROWS = 10_000
COMMIT_BYTES = 4_000_000_000

TASK_OBJECTS, TASK_BYTES = 128, 256 * 1024 * 1024
"""The most objects and bytes of a task in another process."""

_TICK = 0.2
_COLUMNS = (*CELLS, "keyed_since")


@dataclass(slots=True)
class ReencryptReport:
    """Results of a re-encryption.

    Attributes:
        objects, bytes: sealed again and committed, and their plaintext size.
        rows: that name them now.
        unpacked: how many of these objects lay in packs. Each has its own storage key now, until `pack` packs it.
        left: objects that were sealed again in vain, because their rows were removed or replaced meanwhile.
        failed: objects that are missing or damaged, each with the paths of its rows. They keep their data keys.
        finished: has every object a data key that is younger than the rotation?
        seconds: duration.
    """

    objects: int = 0
    bytes: int = 0
    rows: int = 0
    unpacked: int = 0
    left: int = 0
    failed: list[tuple[tuple[str, ...], SecuredataError]] = field(default_factory=list, repr=False)
    finished: bool = False
    seconds: float = 0.0


def reencrypt(
    writer: Writer,
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    grace: float = DELAY,
    progress: Progress | None = None,
) -> ReencryptReport:
    """Seal every object again whose data key is older than the rotation that `writer.head` records.

    Args:
        threads: objects are handled by so many threads; None: two per core, at most 8.
        executor: its processes handle them instead; None: threads of this one.
        grace: seconds that old objects stay for readers in flight, at least a day.
        progress: called from one thread, with totals as they were at the beginning.

    Raises:
        StorageError, KeysError, CorpusError: what was committed stays; run it again for the rest.
    """
    at_once = threads or min(8, 2 * (os.cpu_count() or 1))
    return _Reencryption(writer, at_once, executor, grace, progress).run()


class _Reencryption:
    def __init__(
        self, writer: Writer, threads: int, executor: Executor | None, grace: float, progress: Progress | None
    ) -> None:
        self.writer, self.grace, self.progress, self.threads = writer, grace, progress, threads
        self.executor = executor
        self.commit_bytes = COMMIT_BYTES * (1 if executor is None else slots_of(executor))
        self.limits = () if executor is None else (TASK_OBJECTS, TASK_BYTES)
        self.report = ReencryptReport()
        self.work = ReencryptWork(writer)
        self.since = writer.head.data_keys_since
        self.seen: set[bytes] = set()  # parts whose objects were begun
        self.begun: set[bytes] = set()  # objects under way, or to be committed
        self.failed: dict[bytes, tuple[OldObject, SecuredataError]] = {}
        self.ready: list[tuple[OldObject, Put]] = []
        self.ready_bytes = self.ready_rows = 0
        self.committed = time.monotonic()
        self.told = [0, 0, 0, 0]

    def run(self) -> ReencryptReport:
        started = time.monotonic()
        if self.progress:
            self.told[1], self.told[3] = self._total()
        with TaskPool("securedata-reencrypt", self.work, self.executor, self.threads, 2 * self.threads) as pool:
            try:
                while self.since:
                    self._pass(pool)
                    if self._close():
                        break
            except BaseException:  # re-raised, Ctrl-C too: the threads stop first
                self.work.stop()
                if self.ready:
                    self._commit()  # keep what is sealed and durable
                raise
        self.report.failed = [(one.paths, error) for one, error in self.failed.values()]
        self.report.seconds = time.monotonic() - started
        return self.report

    def _pass(self, pool: TaskPool[list[OldObject], list[Done]]) -> None:
        """Do all that is to be done in the parts of now."""
        tasks = batches(self._objects(), *self.limits)
        task = next(tasks, None)
        while task or pool or self.ready:
            while task and pool.room:
                pool.take(task)
                task = next(tasks, None)
            for _, done in pool.finished(_TICK):
                self._take(done)
            ending = not task and not pool
            if ending or self._interval_is_over():
                for _, done in pool.all_finished():
                    self._take(done)
                self._commit()

    # ------------------------------------------------------------ what is to be done

    def _objects(self) -> Iterator[OldObject]:
        """The objects to seal again: of the parts of the beginning, then of those that came meanwhile."""
        first = list(self.writer.refresh().parts)
        for part in first:
            if part.id not in self.seen:
                yield from self._objects_in(part)
        while later := next((one for one in self.writer.head.parts if one.id not in self.seen), None):
            yield from self._objects_in(later)

    def _read(self, part: TableRef, columns: tuple[str, ...]) -> pa.Table:
        """Read a part, without keeping it; one that was merged and deleted since is empty: its rows are in a newer one.

        Raises:
            PartMissing: the head names it still.
        """
        writer = self.writer
        try:
            return read_table(writer.storage, writer.corpus_id, part, columns)
        except NotFound as error:
            if any(one.id == part.id for one in writer.refresh().parts):
                raise part_missing(writer.root, part) from error
            return SCHEMA.empty_table()

    def _objects_in(self, part: TableRef) -> Iterator[OldObject]:
        self.seen.add(part.id)
        table = self._read(part, _COLUMNS)
        old = pc.fill_null(pc.less(optional(table, "keyed_since"), self.since), True)
        rows = np.flatnonzero(old.to_numpy())
        if not len(rows):
            return
        for one in old_objects(table.take(pa.array(rows))):
            if one.id not in self.begun and one.id not in self.failed:
                self.begun.add(one.id)
                yield one

    def _total(self) -> tuple[int, int]:
        """The objects to seal again, and their size."""
        objects = size = 0
        for part in self.writer.refresh().parts:
            table = self._read(part, ("object_id", "size", "keyed_since"))
            old = table.filter(pc.fill_null(pc.less(optional(table, "keyed_since"), self.since), True))
            sizes = old.select(["object_id", "size"]).group_by("object_id", use_threads=False)
            sizes = sizes.aggregate([("size", "max")])
            objects += sizes.num_rows
            size += pc.sum(sizes.column("size_max")).as_py() or 0
        return objects, size

    # ------------------------------------------------------------ results, in the main thread

    def _take(self, done: list[Done]) -> None:
        for one, result in done:
            self.told[0] += 1
            self.told[2] += one.location.size
            if isinstance(result, SecuredataError):
                self.failed[one.id] = one, result
                self.begun.discard(one.id)
            else:
                self.ready.append((one, result))
                self.ready_bytes += result.size
                self.ready_rows += len(one.paths)
        if self.progress and done:
            self.progress(self.told[0], max(self.told[:2]), self.told[2], max(self.told[2:]))

    def _interval_is_over(self) -> bool:
        if not self.ready:
            self.committed = time.monotonic()
        return bool(self.ready) and (
            time.monotonic() - self.committed >= COMMIT_SECONDS
            or self.ready_rows >= COMMIT_ROWS
            or self.ready_bytes >= self.commit_bytes
        )

    def _commit(self) -> None:
        if not self.ready:
            return
        ready, self.ready, self.ready_bytes, self.ready_rows = self.ready, [], 0, 0
        outcome = self.writer.rewrite(new_cells(ready, self.writer.head.generation), self.grace)
        self.committed = time.monotonic()
        for one, put in ready:
            self.begun.discard(one.id)
            if put.object_id in outcome.committed:
                self.report.objects += 1
                self.report.bytes += put.size
                self.report.unpacked += one.location.pack is not None
        self.report.rows += outcome.rewritten
        stale = set(outcome.stale)
        again = sum(bool(stale.intersection(one.paths)) for one, _ in ready) if stale else 0
        self.report.left += sum(put.object_id not in outcome.committed for _, put in ready) - again
        if again:  # a prune took their new objects: they are sealed again
            self.seen.clear()

    def _close(self) -> bool:
        """Record that all is done; False if more came meanwhile."""
        head = self.writer.refresh()
        if head.data_keys_since != self.since:  # another run has closed it, or a rotation moved it on
            self.since = head.data_keys_since
            self.seen.clear()
            self.failed.clear()
            self.report.finished = not self.since
            return not self.since
        if any(part.id not in self.seen for part in head.parts):
            return False
        if self._forget_gone():
            return False
        if self.failed:
            return True

        def change(attempt: Try) -> Next[bool]:
            if attempt.head.data_keys_since != self.since or any(
                part.id not in self.seen for part in attempt.head.parts
            ):
                return Next(False, None)
            return Next(True, {"data_keys_since": 0})

        self.report.finished = self.writer.transact(change)
        return self.report.finished

    def _forget_gone(self) -> bool:
        """Drop failures of objects that no row names any more where they were; they are tried again if one still does.

        Their rows were removed or replaced meanwhile, or moved into a pack, or into another.
        """
        if not self.failed:
            return False
        places = {id: one.location for id, (one, _) in self.failed.items()}
        there = still_at((self._read(part, COLUMNS) for part in self.writer.head.parts), places)
        gone = set(self.failed) - there
        for object_id in gone:
            del self.failed[object_id]
            self.begun.discard(object_id)
        if gone:
            self.seen.clear()
        return bool(gone)
