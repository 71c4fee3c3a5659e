"""Seals a list of recordings into a corpus: in parallel, with a commit per interval, resuming after a kill.

A kill costs at most one interval, and what waits for a pack. Sources are read in pieces, so memory stays bounded
whatever their size, and they are never changed or deleted.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pyarrow as pa

from securedata.corpus.rows.arrow_cells import cells, one_chunk
from securedata.corpus.rows.inherit import check_clearable
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import rows_table
from securedata.corpus.tasks.engine import slots_of
from securedata.corpus.tasks.pool import TaskPool
from securedata.corpus.writer import Writer
from securedata.ingest.classify import FROM_SOURCE, Known, Todo, classify
from securedata.ingest.copies.comparing import Comparing, New
from securedata.ingest.corrections import corrected
from securedata.ingest.items import Item, digests_of, items_of, together
from securedata.ingest.packing import DirectPacks, shuffled
from securedata.ingest.report import NOT_TAKEN, TAKEN, UNCHANGED, IngestReport, account, given
from securedata.ingest.sealing import Done, Sealing
from securedata.ingest.sources.members.origin import MemberOrigin
from securedata.ingest.sources.origin import LocalOrigin
from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk.tree import Problem
from securedata.ingest.tasks.work import IngestWork
from securedata.storage.local import LocalStorage

COMMIT_SECONDS = 30.0
COMMIT_ROWS = 10_000
COMMIT_BYTES = 4_000_000_000

NETWORK_THREADS = 16
TASK_THREADS = 4

_TICK = 0.2

Progress = Callable[[int, int], None]
"""Called from one thread with the files and bytes done since the last call."""


def seal_sources(
    sources: SourceList,
    writer: Writer,
    *,
    threads: int | None = None,
    replace: bool = False,
    checksum: bool = False,
    reseal: bool = False,
    clear: Sequence[str] = (),
    if_duplicate: str = "take",
    pack: bool = False,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> IngestReport:
    """Seal what the corpus does not hold yet.

    Args:
        sources: from `list_sources`.
        writer: the corpus, opened for writing.
        threads: files processed at once; None: two per core, 16 at least over a network, where threads mostly wait.
        replace: recordings that changed replace their rows; otherwise they are conflicts.
        checksum: compare digests even if size and mtime are those of the row.
        reseal: also seal again what is in the corpus already, replacing its rows: repairs lost or damaged objects.
        clear: columns to empty where a recording is described without them: by its row of the manifest or, without a
            manifest, by the run. Anything else that a run does not mention stays: see `inherit`.
        if_duplicate: 'take', 'skip' or 'fail' new recordings whose content has another path in the corpus or the run.
        pack: put recordings that fit into packs there, unless an executor seals them or they come out of other files:
            these become objects of their own.
        progress: called with files and bytes as they are done, including those that need no work.
        executor: does the tasks, and each processes `threads` files at once; None: threads of this process.

    Raises:
        InvalidArgument: a column that cannot be cleared.
        StorageError, KeysError, CorpusError: what was committed stays; run it again for the rest.
    """
    check_clearable(clear)
    if threads is None:
        here = isinstance(sources.origin, LocalOrigin) and isinstance(writer.storage, LocalStorage)
        if executor is None:
            threads = max(2 * (os.cpu_count() or 1), 1 if here else NETWORK_THREADS)
        else:  # there is a task for each core
            threads = 1 if here else TASK_THREADS
    direct = pack and executor is None and not isinstance(sources.origin, MemberOrigin)
    return _Ingest(
        sources, writer, threads, replace, checksum, reseal, clear, if_duplicate, direct, progress, executor
    ).run()


class _Ingest:
    def __init__(
        self,
        sources: SourceList,
        writer: Writer,
        threads: int,
        replace: bool,
        checksum: bool,
        reseal: bool,
        clear: Sequence[str],
        if_duplicate: str,
        direct: bool,
        progress: Progress | None,
        executor: Executor | None,
    ) -> None:
        self.sources, self.table, self.writer = sources, sources.table, writer
        self.replace, self.checksum, self.reseal = replace or reseal, checksum, reseal
        described = sources.table.column("path").filter(sources.table.column("described")).to_pylist() if clear else []
        self.clear = dict.fromkeys(described, frozenset(clear))
        self.progress = progress
        self.report = IngestReport(problems=list(sources.problems), apart=sources.apart)
        self.fates = np.zeros(self.table.num_rows, dtype=np.int8)
        self.started = time.monotonic()
        self.told_bytes = 0
        # one chunk: a list of sources is made in one piece
        self.cells = {name: cells(one_chunk(self.table.column(name))) for name in self.table.schema.names}
        self.comparing = Comparing(writer, self.cells, if_duplicate, self.report, self.fates)
        self.packs = DirectPacks(writer, self.comparing, self.replace, reseal)
        self.sealing = Sealing(sources.origin, writer, self.cells, threads, self.replace, for_packs=direct)
        self.work = IngestWork(sources, writer, self.sealing, self.replace, threads)
        self.executor = executor
        # many nodes seal 4 GB in no time, and a commit takes its own
        self.commit_bytes = COMMIT_BYTES * (1 if executor is None else slots_of(executor))
        self.next = self.sealing.next if executor is None else self.work.next
        # what the next commit takes
        self.alone: list[New] = []  # of objects with storage keys of their own
        self.packed: list[New] = []  # in the order of their packs
        self.again: list[int] = []  # rows whose files are to be read again
        self.updates: dict[int, bytes] = {}  # rows to correct, with digests of their objects' content
        self.pending_bytes = 0
        self.last_commit = time.monotonic()

    def run(self) -> IngestReport:
        """Seal the list; an empty one ends at once."""
        self.files = self.table.column("file").to_pylist()
        self.apart = self.table.column("apart").to_numpy().copy()
        self.contents: dict[int, bytes] = {}  # digests of the objects of rows that are compared
        self.sizes = self.table.column("size").to_numpy().clip(0)
        known = self._classify(self.table)
        there = known.part >= 0
        self.comparing.there(self.files, there)
        if self.replace:
            open_rows = there & np.isin(known.todo, (Todo.SEAL, Todo.HASH))
            self.comparing.duplicates.leave(self.comparing.recording(i) for i in np.flatnonzero(open_rows).tolist())
        todo = self._items(known, range(self.table.num_rows))
        self._settle(known, range(self.table.num_rows))
        if todo or self.updates:
            self.writer.check_horizon()
        tasks = self.sealing.tasks
        # what waits for a pack is sealed and whole: fewer results wait beside it
        size = (2 if self.sealing.for_packs else 4) * tasks
        with TaskPool("securedata-ingest", self.work, self.executor, tasks, size) as pool:
            try:
                self._work(pool, todo)
            except BaseException:  # re-raised, Ctrl-C too: the threads stop first
                self.sealing.stopping = True
                raise
        self.report.transcripts, self.report.consent = given(self.table, self.fates == TAKEN)
        self.report.sources = account(self.sources, self.files, self.fates.tolist())
        self.report.seconds = time.monotonic() - self.started
        self.report.generation = self.writer.head.generation
        self.report.packed = self.packs.report if self.sealing.for_packs else None
        return self.report

    def _work(self, pool: TaskPool[list[Item], list[Done]], todo: deque[Item]) -> None:
        try:
            while todo or pool or self.packs or self._pending or self.again:
                todo += self._items_again()
                while todo and pool.room:
                    pool.take(self.next(todo))
                for _, done in pool.finished(_TICK):
                    self._take_all(done)
                self._tell()
                ending = not todo and not pool
                if ending or self.packs.due:
                    self._write_pack()
                if ending or self._interval_is_over():
                    # a large file at the front must not hold back finished ones behind it
                    for _, done in pool.all_finished():
                        self._take_all(done)
                    todo = self._commit(todo)
        except BaseException:  # re-raised, Ctrl-C too; if this commit fails as well, as the context of its error
            if self._pending:
                self._commit(deque())  # keep what is sealed and durable
            if self.packs:
                self._write_pack()
                self._commit(deque())
            raise

    # ------------------------------------------------------------ what to do

    def _classify(self, table: pa.Table) -> Known:
        return classify(
            table,
            self.writer.head,
            self.writer.read_table,
            replace=self.replace,
            checksum=self.checksum,
            reseal=self.reseal,
            clear=self.clear,
        )

    def _items(self, known: Known, rows: range | list[int]) -> deque[Item]:
        """The files to read. Also notes rows whose words changed."""
        self.apart[rows] |= known.apart
        digests = digests_of(known, self.writer.read_table)
        self.contents.update((rows[at], found.content) for at, found in digests.items())
        updates = [rows[at] for at in np.flatnonzero(known.todo == Todo.UPDATE).tolist()]
        self.updates.update((i, self.contents[i]) for i in updates)
        items = items_of(known, rows, self.files, self.apart, digests)
        return shuffled(items) if self.sealing.for_packs else items

    def _settle(self, known: Known, rows: range | list[int]) -> None:
        """Count rows that need no file to be read."""
        index = np.asarray(rows, np.int64)  # an empty list alone would make it float
        skip = index[np.isin(known.todo, (Todo.SKIP, Todo.LEAVE))]
        self.report.unchanged += len(skip)
        self.fates[skip] = UNCHANGED
        update, conflict = index[known.todo == Todo.UPDATE], index[known.todo == Todo.CONFLICT]
        paths = self.table.column("path")
        self.report.conflicts += [paths[i].as_py() for i in conflict.tolist()]
        self.report.shared += [paths[i].as_py() for i in index[known.todo == Todo.LEAVE].tolist()]
        self.report.problems += [Problem(paths[rows[at]].as_py(), why) for at, why in known.refused.items()]
        if self.progress:
            settled = np.concatenate([skip, update, conflict, index[known.todo == Todo.REFUSE]])
            self.progress(len(settled), int(self.sizes[settled].sum()))

    # ------------------------------------------------------------ results, in the main thread

    def _take_all(self, done: list[Done]) -> None:
        self.report.files += len({one.item.file for one in done})
        if self.progress:
            self.progress(sum(len(one.item.rows) for one in done), 0)
        for one in done:
            self._take(one)
        if self.packs.due:
            self._write_pack()

    def _take(self, done: Done) -> None:
        if done.problem:
            self.report.problems.append(done.problem)
        if done.same or (done.problem and not done.problem.taken):
            self.comparing.duplicates.stay(map(self.comparing.recording, done.item.rows))
        if done.conflict:
            self.report.conflicts += [self.cells["path"](i) for i in done.item.rows]
        if done.same:
            self.updates.update((i, self.contents[i]) for i in done.item.rows)
        self.writer.discard(done.unused)
        if done.put is None or done.info is None:
            return
        put, info = done.put, done.info
        self.report.bytes += put.size
        self.report.sealed_bytes += put.sealed_size
        place: dict[str, Any] = {}
        if done.cut_from:
            cut = done.cut_from
            place = {"recording": cut.recording, "recording_size": cut.size, "recording_sha256": cut.sha256}
        new = []
        for i in done.item.rows:
            source = {name: read(i) for name, read in self.cells.items()}
            row = {
                **{name: source[name] for name in (*FROM_SOURCE, "path", "subjects")},
                **(place or {name: source[name] for name in ("start", "frames_in_segment")}),
                "utterance": source["utterance"] if source["utterance_given"] else "",
                **put.columns(),
                **info._asdict(),
                "source_mtime_ns": source["mtime_ns"],
                "media_type": source["media_type"],
            }
            new.append(New(i, row))
        if done.sealed is not None:
            self.packs.add(new, put.object_id, done.sealed)
        else:
            self.alone += new
            self.pending_bytes += put.size

    def _tell(self) -> None:
        read = self.sealing.read_bytes
        if self.progress and read > self.told_bytes:
            self.progress(0, read - self.told_bytes)
            self.told_bytes = read

    def _write_pack(self) -> None:
        """Put what waits for a pack; its rows go into the next commit."""
        if not self.packs:
            return
        written = self.packs.write()
        self.packed += written.new
        self.pending_bytes += sum(one.row["size"] for one in written.new)
        self._count_refused(written.refused)
        self.again += self.comparing.not_taken(written.left_out)

    @property
    def _pending(self) -> int:
        """Rows for the next commit."""
        return len(self.alone) + len(self.packed) + len(self.updates)

    def _interval_is_over(self) -> bool:
        if not self._pending:
            self.last_commit = time.monotonic()
            return False
        return (
            time.monotonic() - self.last_commit >= COMMIT_SECONDS
            or self._pending >= COMMIT_ROWS
            or self.pending_bytes >= self.commit_bytes
        )

    def _commit(self, todo: deque[Item]) -> deque[Item]:
        """Commit what is sealed; returns what is left to do."""
        before = self.writer.head.generation
        new = [*self._compared(), *self.packed]
        updates = self.updates
        table, changed = corrected(self.table, updates, self.writer)
        outcome = self.writer.commit(
            rows_table(one.row for one in new),
            replace=self.replace,
            settings=self.sources.settings,
            update=table,
            reseal=self.reseal,
            clear=self.clear,
        )
        self.alone, self.packed, self.updates, self.pending_bytes = [], [], {}, 0
        self.last_commit = time.monotonic()
        self._count(outcome)
        self.packs.count(new, outcome.committed)
        self._note_fates(outcome, [*(one.i for one in new), *updates], changed)
        self._look_again(outcome, new, updates, changed)
        after = self.writer.head.generation
        return self._without_others(todo) if after > before + 1 and todo else todo

    def _compared(self) -> list[New]:
        """The rows that are alone and are taken; the commit refuses those of people who were erased."""
        if not self.alone:
            return []
        found = self.comparing.take(self.alone)
        self.alone = [*found.kept, *found.erased]
        if found.dropped:
            self.writer.discard(found.dropped)
        return self.alone

    def _count(self, outcome: Outcome) -> None:
        report = self.report
        report.commits += outcome.changes
        report.added += outcome.added - outcome.replaced
        report.replaced += outcome.replaced
        report.updated += outcome.updated
        report.columns = dict(sorted((Counter(report.columns) + outcome.columns).items()))
        report.unchanged += outcome.unchanged
        self._count_refused(outcome)

    def _count_refused(self, outcome: Outcome) -> None:
        self.report.conflicts += outcome.conflicts
        self.report.erased += outcome.erased
        self.report.held += outcome.held

    def _note_fates(self, outcome: Outcome, rows: list[int], changed: list[int]) -> None:
        not_there = {*outcome.conflicts, *outcome.erased, *outcome.held, *outcome.stale}
        same = set(outcome.same)
        for i in set(rows).difference(changed):
            path = self.cells["path"](i)
            self.fates[i] = NOT_TAKEN if path in not_there else UNCHANGED if path in same else TAKEN

    def _look_again(self, outcome: Outcome, new: list[New], updates: Iterable[int], changed: list[int]) -> None:
        """Note the rows to seal again, and copies that were left out for one that is not in the corpus after all.

        A prune deleted what was put a day ago, a row has changed since, or a pack is torn.
        """
        stale = set(outcome.stale)
        not_there = {*outcome.conflicts, *outcome.erased, *outcome.held, *stale}
        lost = [one for one in new if one.row["path"] in not_there]
        self.again += [*self.comparing.not_taken(lost), *changed]
        self.again += [one.i for one in lost if one.row["path"] in stale]
        self.again += [i for i in updates if self.cells["path"](i) in stale]

    def _items_again(self) -> deque[Item]:
        """The files of the rows that are to be sealed again."""
        rows, self.again = sorted(set(self.again)), []
        items = together(Item(self.files[i], (i,), apart=bool(self.apart[i])) for i in rows)
        return shuffled(items) if self.sealing.for_packs else items

    def _without_others(self, todo: deque[Item]) -> deque[Item]:
        """Another writer is at work: skip what it has committed, and continue at another place of the list."""
        rows = [i for item in todo for i in item.rows]
        known = self._classify(self.table.take(pa.array(rows)))
        left = self._items(known, rows)
        self._settle(known, rows)
        left.rotate(random.randrange(len(left)) if left else 0)  # noqa: S311 - no secret
        return left
