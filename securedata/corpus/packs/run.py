"""Pack what is chosen, window by window, and commit as it goes: what was committed stays, whatever comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import pyarrow as pa

from securedata.corpus.packs.choice import Choice, packs_of, window
from securedata.corpus.packs.locked import telling_unlocked
from securedata.corpus.packs.making import Made, Maker, Member, members_of, moves_table
from securedata.corpus.packs.places import COLUMNS as PLACES
from securedata.corpus.packs.places import still_at
from securedata.corpus.packs.report import PackReport
from securedata.corpus.progress import Progress, reporting
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.head import TableRef
from securedata.corpus.state.tables import part_missing, read_table
from securedata.corpus.writer import Writer
from securedata.errors import CommitRace, NotFound, SecuredataError

COMMIT_SECONDS = 30.0
COMMIT_BYTES = 4_000_000_000
_SHARE = 5
"""Packs are made for so many times as long as the last commit took: it rewrites each part that rows move out of."""
_VAIN = 10
"""Rounds in which everything was changed by others before the packer gives up."""


class Packing:
    """One run of `pack`."""

    def __init__(
        self,
        writer: Writer,
        choice: Choice,
        threads: int | None,
        progress: Progress | None,
        leaving: Callable[[Collection[bytes]], object] | None = None,
    ) -> None:
        """`leaving`: called for every try of a commit, before it is sent, with the ids of the leaving lists it adds."""
        self.writer, self.choice, self.progress, self.leaving = writer, choice, progress, leaving
        self.report = PackReport(writer.root)
        self.maker = Maker(writer, threads, self._failed, self._done)
        self.failed: dict[bytes, tuple[Member, SecuredataError]] = {}
        self.ready: list[Made] = []
        self.made: set[bytes] = set()
        self.committed = time.monotonic()
        self.interval = COMMIT_SECONDS
        self.told = [0, 0, 0, 0]
        self.gained = 0

    def run(self) -> PackReport:
        """Pack until nothing that is chosen is left, except what cannot be read."""
        started = time.monotonic()
        self.writer.check_horizon()
        with telling_unlocked(self.writer, self.made, self.report):
            self._windows()
            self._report_failed()
        self.report.generation = self.writer.head.generation
        self.report.seconds = time.monotonic() - started
        return self.report

    def _windows(self) -> None:
        vain = 0
        while True:
            table, whole = window(self.writer.refresh(), self._read, self.choice, self.failed)
            if not table.num_rows:
                break
            self.gained = 0
            if not self._window(table, whole):
                break
            vain = 0 if self.gained else vain + 1
            if vain == _VAIN:
                raise CommitRace(
                    f"what was to be packed in {self.writer.root} was changed by others {_VAIN} times; what was "
                    "committed stays: run it again when they are done",
                    root=self.writer.root,
                )

    def _window(self, table: pa.Table, whole: bool) -> bool:
        """Pack a window; False: too little is left for a pack."""
        begun = False
        self.told[1] = self.told[0] + table.num_rows
        self.told[3] = self.told[2] + int(table.column("sealed_size").to_numpy().sum())
        least = 1 if self.choice.packs is not None else 2
        try:
            for rows in packs_of(table, self.choice, whole):
                if len(rows) < least:
                    continue
                begun = True
                made = self.maker.make(members_of(table, rows.tolist()), least)
                self.ready += [] if made is None else [made]
                if self._interval_is_over():
                    self._commit()
        except BaseException:  # re-raised, Ctrl-C too
            if self.ready:
                self._commit()  # keep what is stored
            raise
        self._commit()
        return begun

    def _read(self, part: TableRef, columns: Sequence[str]) -> pa.Table:
        """Read a part without keeping it; one that was replaced since is empty: its rows are in a newer one."""
        writer = self.writer
        try:
            return read_table(writer.storage, writer.corpus_id, part, columns)
        except NotFound as error:
            if any(one.id == part.id for one in writer.refresh().parts):
                raise part_missing(writer.root, part) from error
            return SCHEMA.empty_table()

    def _failed(self, member: Member, error: SecuredataError) -> None:
        self.failed[member.location.object_id] = member, error

    def _report_failed(self) -> None:
        """Report what could not be read, unless its rows are gone by now, or name another place."""
        if not self.failed:
            return
        places = {id: one.location for id, (one, _) in self.failed.items()}
        there = still_at((self._read(part, PLACES) for part in self.writer.refresh().parts), places)
        self.report.failed = [((one.path,), error) for id, (one, error) in self.failed.items() if id in there]
        self.report.again += len(self.failed) - len(there)

    def _done(self, members: int, size: int) -> None:
        self.told[0] += members
        self.told[2] += size
        if self.progress:
            self.progress(self.told[0], max(self.told[:2]), self.told[2], max(self.told[2:]))

    def _interval_is_over(self) -> bool:
        return (
            time.monotonic() - self.committed >= self.interval
            or sum(one.pack.size for one in self.ready) >= COMMIT_BYTES
        )

    def _commit(self) -> None:
        ready, self.ready = self.ready, []
        if not ready:
            return
        began = time.monotonic()
        self.made.update(one.pack.pack_id for one in ready)
        outcome = self.writer.move(moves_table(ready), self.leaving)
        self.committed = time.monotonic()
        self.interval = max(COMMIT_SECONDS, _SHARE * (self.committed - began))
        for one in ready:
            if one.pack.pack_id in outcome.committed:
                self.gained += 1
                self.report.packs += 1
                self.report.objects += len(one.members)
                self.report.bytes += one.pack.size
            else:
                self.report.again += len(one.members)
        self.report.rows += outcome.rewritten


def pack_alone(writer: Writer, threads: int | None, progress: bool | Progress | None) -> PackReport:
    """Pack what is alone, by the usual sizes and in a random order: what `encrypt --pack` does at its end."""
    with reporting(progress, "packing") as notify:
        return Packing(writer, Choice(), threads, notify).run()
