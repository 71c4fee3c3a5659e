"""A split: find shared objects, have threads cut them, and commit the new rows by compare and swap.

The rows themselves say what is left to do, so a run that was killed is run again. What a run has put and not committed
is an orphan, which a prune deletes. A commit changes all rows of an object or none, and only if they still say what
they said when the object was cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from securedata.corpus.progress import Progress
from securedata.corpus.schema import CUT, OPTIONAL, SCHEMA
from securedata.corpus.segments import recording_path
from securedata.corpus.state.commit import Try
from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.writer import Writer
from securedata.errors import PartMissing
from securedata.lifecycle.reencrypt import COMMIT_BYTES, COMMIT_ROWS, COMMIT_SECONDS
from securedata.lifecycle.select import ByPath
from securedata.lifecycle.splitting.cutting import Cutting, Done, Piece
from securedata.lifecycle.splitting.plan import CHECKED, COLUMNS, Shared, shared_objects, states
from securedata.lifecycle.splitting.report import SplitReport
from securedata.media.audio.probe import AudioInfo
from securedata.threads import BoundedPool

_TICK = 0.2


class Split:
    """One run."""

    def __init__(
        self,
        writer: Writer,
        chosen: ByPath | None,
        threads: int,
        progress: Progress | None,
        leaving: Callable[[Collection[bytes]], object] | None,
    ) -> None:
        """Begin without work.

        Args:
            chosen: only objects of which it chooses a row.
            leaving: as `Writer.rewrite` takes it.
        """
        self._writer, self._chosen, self._threads = writer, chosen, threads
        self._progress, self._leaving = progress, leaving
        self.report = SplitReport(writer.root)
        self._work = Cutting(writer)
        self._seen: set[bytes] = set()  # parts whose objects were begun
        self._settled: set[bytes] = set()  # objects under way, or that stay
        self._ready: list[Done] = []
        self._ready_bytes = 0
        self._committed = time.monotonic()
        self._told = [0, 0, 0, 0]

    def run(self) -> SplitReport:
        """Split what there is. Raises as `split`."""
        started = time.monotonic()
        if self._progress:
            self._told[1], self._told[3] = self._total()
        with BoundedPool[Shared, Done]("securedata-split", self._threads, 2 * self._threads) as pool:
            try:
                self._pass(pool)
            except BaseException:  # re-raised, Ctrl-C too: the threads stop first
                self._work.stopping = True
                if self._ready:
                    self._commit()  # keep what is sealed and durable
                raise
        head = self._writer.head
        self.report.generation = head.generation
        self.report.derived = [one["pin"] for one in head.derived] if self.report.objects else []
        self.report.seconds = time.monotonic() - started
        return self.report

    def _pass(self, pool: BoundedPool[Shared, Done]) -> None:
        objects = self._objects()
        one = next(objects, None)
        while one or pool or self._ready:
            while one and pool.room:
                pool.begin(one, partial(self._work.do, one))
                one = next(objects, None)
            for _, done in pool.finished(_TICK):
                self._take(done)
            if (not one and not pool) or self._interval_is_over():
                for _, done in pool.all_finished():
                    self._take(done)
                self._commit()
                if not one:  # what changed meanwhile is in parts that came meanwhile
                    objects = self._objects()
                    one = next(objects, None)

    # ------------------------------------------------------------ what is to be done

    def _objects(self) -> Iterator[Shared]:
        """The objects to split: of the parts of now, then of those that come meanwhile."""
        self._writer.refresh()
        while part := next((one for one in self._writer.head.parts if one.id not in self._seen), None):
            self._seen.add(part.id)
            for one in self._in_part(part):
                if one.id not in self._settled:
                    self._settled.add(one.id)
                    if note(self.report, one):
                        yield one

    def _in_part(self, part: TableRef) -> Iterator[Shared]:
        """Its shared objects; one that was merged and deleted since has none: its rows are in a newer one."""
        writer = self._writer
        try:
            table = writer.read_table(part, COLUMNS)
        except PartMissing:
            if any(one.id == part.id for one in writer.refresh().parts):
                raise
            return
        yield from shared_objects(writer.head, table, self._chosen)

    def _total(self) -> tuple[int, int]:
        """The objects to split, and their size."""
        found, scratch = [0, 0], SplitReport(self._writer.root)
        for part in self._writer.refresh().parts:
            for one in self._in_part(part):
                if note(scratch, one):
                    found[0] += 1
                    found[1] += one.location.size
        return found[0], found[1]

    # ------------------------------------------------------------ results, in the main thread

    def _take(self, done: Done) -> None:
        one = done.of
        if done.error is not None:
            self.report.failed.append((one.paths, done.error))
            self._writer.discard(piece.put.object_id for piece in done.pieces)
        else:
            self._ready.append(done)
            self._ready_bytes += sum(piece.put.size for piece in done.pieces)
        self._told[0] += 1
        self._told[2] += one.location.size
        if self._progress:
            self._progress(self._told[0], max(self._told[:2]), self._told[2], max(self._told[2:]))

    def _interval_is_over(self) -> bool:
        if not self._ready:
            self._committed = time.monotonic()
        return bool(self._ready) and (
            time.monotonic() - self._committed >= COMMIT_SECONDS
            or sum(len(one.pieces) for one in self._ready) >= COMMIT_ROWS
            or self._ready_bytes >= COMMIT_BYTES
        )

    def _commit(self) -> None:
        if not self._ready:
            return
        ready, self._ready, self._ready_bytes = self._ready, [], 0
        table = _table(ready, self._writer.head.generation)
        outcome = self._writer.rewrite(table, refuse=partial(_changed, ready), leaving=self._leaving)
        self._committed = time.monotonic()
        report = self.report
        report.rows += outcome.rewritten
        report.held += outcome.held
        report.erased += outcome.erased
        stay = {*outcome.held, *outcome.erased}
        stale = set(outcome.stale)
        for done in ready:
            new = [piece for piece in done.pieces if piece.put.object_id in outcome.committed]
            if new:
                report.objects += 1
                report.bytes += sum(piece.put.size for piece in new)
                report.unpacked += done.of.location.pack is not None
                report.overlapping += [piece.segment.path for piece in new if len(piece.segment.people) > 1]
                report.seconds_left_out += done.of.seconds_left_out
            elif stay.isdisjoint(done.of.paths):
                self._settled.discard(done.of.id)  # if its rows changed, they are in another part, and looked at again
                if stale.isdisjoint(done.of.paths):
                    report.changed += 1
                else:  # a prune took the new objects: it is cut again
                    self._seen.clear()


def note(report: SplitReport, one: Shared) -> bool:
    """Is an object to be split? If it stays, the report says why."""
    if one.held:
        report.held += one.paths
    elif one.unclear:
        report.unclear += one.unclear
    elif one.unnamed:
        report.unnamed += one.paths
    elif one.together:
        report.together += one.paths
    else:
        return True
    return False


def would_split(report: SplitReport, head: Head, table: pa.Table, chosen: ByPath | None) -> None:
    """Add to a report what would be done in a part of this head."""
    for one in shared_objects(head, table, chosen):
        if note(report, one):
            report.objects += 1
            report.rows += len(one.cuts)
            report.overlapping += one.overlapping
            report.seconds_left_out += one.seconds_left_out


def _changed(ready: list[Done], attempt: Try) -> list[int]:
    """Rows of `_table` that must stay, since a row of their object says something else by now."""
    ids = pa.array([one.of.id for one in ready], pa.binary(16))
    now: dict[tuple[bytes, str], Any] = {}
    for part in attempt.head.parts:
        now |= states(attempt.read_table(part, CHECKED), ids)
    wanted = {(one.of.id, segment.path): segment.state for one in ready for segment in one.of.segments}
    other = {key[0] for key, state in now.items() if wanted.get(key) != state}
    return [number for number, (one, _) in enumerate(_pieces(ready)) if one.id in other]


def _pieces(ready: list[Done]) -> Iterator[tuple[Shared, Piece]]:
    for done in ready:
        for piece in done.pieces:
            yield done.of, piece


def _table(ready: list[Done], generation: int) -> pa.Table:
    """The new cells of the rows, as an ingest that cuts the recording apart writes them."""
    rows: list[dict[str, Any]] = []
    for one, (segment, put, info) in _pieces(ready):
        rows.append(
            {
                "path": segment.path,
                "old_id": one.id,
                **put.columns(),
                **info._asdict(),
                "subjects": segment.people,
                "recording": recording_path(segment.path, segment.start, segment.frames),
                "recording_size": one.location.size,
                "recording_sha256": one.sha256,
                "origin": segment.origin,
                "keyed_since": generation,
            }
        )
    kinds = {**{each.name: each.type for each in (*SCHEMA, *OPTIONAL)}, "old_id": pa.binary(16)}
    return pa.table({name: pa.array([row.get(name) for row in rows], kinds[name]) for name in _CELLS})


_CELLS = (
    *("path", "old_id", "object_id", "data_key", "pack", "offset", "sealed_size", "size", "source_sha256"),
    *(*AudioInfo._fields, "start", "frames_in_segment", "subjects", *CUT.names, "origin", "keyed_since"),
)
