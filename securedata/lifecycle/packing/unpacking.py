"""Take objects out of their packs, each into one of its own again.

Each is sealed again, under a fresh id and data key. Its bytes could be copied out of the pack as they are, but under
the storage key that the object had before it was packed, another writer might still be about to delete the old copy:
what was deleted once never comes back under its name, or a committed row would lose its object.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.put import Put
from securedata.corpus.packs.locked import telling_unlocked
from securedata.corpus.packs.places import still_at
from securedata.corpus.packs.report import PackReport
from securedata.corpus.packs.run import COMMIT_BYTES, COMMIT_SECONDS
from securedata.corpus.progress import Progress
from securedata.corpus.state.retired import DELAY
from securedata.corpus.writer import Writer
from securedata.errors import PartMissing, SecuredataError
from securedata.lifecycle.sealing import CELLS, ObjectsOfHead, OldObject, Sealing, batches, new_cells, old_objects
from securedata.threads import BoundedPool

_TICK = 0.2
_COMMIT_ROWS = 10_000

Done = list[tuple[OldObject, Put | SecuredataError]]


class Unpacking:
    """One run of `pack --unpack`."""

    def __init__(
        self,
        writer: Writer,
        threads: int | None,
        progress: Progress | None,
        leaving: Callable[[Collection[bytes]], object] | None = None,
    ) -> None:
        """`leaving`: as `Writer.rewrite` takes it."""
        self.writer, self.progress, self.leaving = writer, progress, leaving
        self.threads = threads or min(8, 2 * (os.cpu_count() or 1))
        self.report = PackReport(writer.root)
        self.work = Sealing(ObjectsOfHead(writer), writer)
        self.seen: set[bytes] = set()
        self.ready: list[tuple[OldObject, Put]] = []
        self.made: set[bytes] = set()
        self.failed: dict[bytes, tuple[OldObject, SecuredataError]] = {}
        self.committed = time.monotonic()
        self.told = [0, 0, 0, 0]

    def run(self) -> PackReport:
        """Unpack until no row names a pack, except for objects that cannot be read."""
        started = time.monotonic()
        self.writer.check_horizon()
        with (
            telling_unlocked(self.writer, self.made, self.report),
            BoundedPool[list[OldObject], Done]("securedata-unpack", self.threads, 2 * self.threads) as pool,
        ):
            try:
                while self._pass(pool) or self._moved_meanwhile():
                    pass
            except BaseException:  # re-raised, Ctrl-C too: the threads stop first
                self.work.stopping = True
                self._commit()  # keep what is sealed and durable
                raise
        self.report.failed = [(one.paths, error) for one, error in self.failed.values()]
        self.report.generation = self.writer.head.generation
        self.report.seconds = time.monotonic() - started
        return self.report

    def _pass(self, pool: BoundedPool[list[OldObject], Done]) -> bool:
        """Unpack what the parts of now name; False: there was nothing."""
        tasks = batches(self._objects())
        task = next(tasks, None)
        found = task is not None
        while task or pool or self.ready:
            while task and pool.room:
                pool.begin(task, partial(self.work.do, task))
                task = next(tasks, None)
            for _, done in pool.finished(_TICK):
                self._take(done)
            if (not task and not pool) or self._interval_is_over():
                for _, done in pool.all_finished():
                    self._take(done)
                self._commit()
        return found

    def _moved_meanwhile(self) -> bool:
        """Whether objects that could not be read are elsewhere by now, or gone with their rows; they are tried again.

        Another run might have rewritten their pack, and deleted it at once.
        """
        if not self.failed:
            return False
        there = still_at(self._tables(), {id: one.location for id, (one, _) in self.failed.items()})
        moved = set(self.failed) - there
        for id in moved:
            del self.failed[id]
        self.seen -= moved
        return bool(moved)

    def _tables(self) -> Iterator[pa.Table]:
        for part in self.writer.refresh().parts:
            try:
                yield self.writer.read_table(part, CELLS)
            except PartMissing:
                if any(one.id == part.id for one in self.writer.refresh().parts):
                    raise
                continue  # its rows are in a newer part, which the next pass reads

    def _objects(self) -> Iterator[OldObject]:
        for table in self._tables():
            table = table.filter(pc.is_valid(table.column("pack")))
            for one in old_objects(table) if table.num_rows else ():
                if one.id not in self.seen:
                    self.seen.add(one.id)
                    self.told[1] += 1
                    self.told[3] += one.location.size
                    yield one

    def _take(self, done: Done) -> None:
        for one, result in done:
            self.told[0] += 1
            self.told[2] += one.location.size
            if isinstance(result, SecuredataError):
                self.failed[one.id] = one, result
            else:
                self.ready.append((one, result))
        if self.progress and done:
            self.progress(*self.told)

    def _interval_is_over(self) -> bool:
        if not self.ready:
            self.committed = time.monotonic()
        return bool(self.ready) and (
            time.monotonic() - self.committed >= COMMIT_SECONDS
            or len(self.ready) >= _COMMIT_ROWS
            or sum(put.size for _, put in self.ready) >= COMMIT_BYTES
        )

    def _commit(self) -> None:
        ready, self.ready = self.ready, []
        if not ready:
            return
        cells: pa.Table = new_cells(ready, self.writer.head.generation)
        self.made.update(put.object_id for _, put in ready)
        outcome = self.writer.rewrite(cells, DELAY, leaving=self.leaving)
        self.committed = time.monotonic()
        stale = set(outcome.stale)
        for one, put in ready:
            if put.object_id in outcome.committed:
                self.report.objects += 1
                self.report.bytes += put.size
            else:
                self.report.again += 1
                if stale.intersection(one.paths):  # a prune took the new object: it is sealed again
                    self.seen.discard(one.id)
        self.report.rows += outcome.rewritten
