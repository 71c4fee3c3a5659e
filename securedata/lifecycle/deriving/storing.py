"""Commit rows of a derived corpus in bounded batches: a kill costs at most one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.checks import refused, rows_of
from securedata.corpus.rows.inherit import CLEARABLE
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError
from securedata.keys.tags import Tagger
from securedata.lifecycle.deriving.fates import Fates
from securedata.lifecycle.deriving.holds import carry_holds
from securedata.lifecycle.deriving.rows import Row, of_source

COMMIT_SECONDS = 30.0
COMMIT_ROWS = 10_000
COMMIT_BYTES = 1_000_000_000


class Storing:
    """Rows whose objects were put and that are not committed yet.

    Attributes:
        replaces_all: a new row also replaces one that was not there when the run looked; otherwise that is a conflict.
        stale: rows of the source to do again, because their new object did not last until the commit.
        holds: how many holds came along.
    """

    replaces_all = True

    def __init__(self, source: Writer, corpus: Corpus, target: Writer, replaced: set[str], report: Fates) -> None:
        """
        Args:
            source: opened for writing: each try of a commit reads its current head.
            corpus: its rows.
            target: the derived corpus.
            replaced: logical paths of its rows that new ones replace.
        """
        self._source, self._corpus, self._target = source, corpus, target
        self._replaced, self._report = replaced, report
        self._rows: list[Row] = []
        self._sources: list[int] = []
        self._updates: list[Row] = []
        self._bytes = 0
        self._since = time.monotonic()
        self.stale: list[int] = []
        self.holds = 0

    def add(self, rows: Sequence[Row], sources: Sequence[int], size: int) -> None:
        """Take over all rows of an object that was put.

        Args:
            sources: by row, its number in the source.
            size: of the object.
        """
        self._begin()
        self._rows += rows
        self._sources += sources
        self._bytes += size

    def update(self, row: Row) -> None:
        """Take over words and consent of a row that is there."""
        self._begin()
        self._updates.append(row)

    def commit_if_due(self) -> None:
        """Commit if it is time. Raises as `Writer.commit`."""
        late = time.monotonic() - self._since >= COMMIT_SECONDS
        count = len(self._rows) + len(self._updates)
        if count and (late or count >= COMMIT_ROWS or self._bytes >= COMMIT_BYTES):
            self.commit()

    def _begin(self) -> None:
        if not self._rows and not self._updates:
            self._since = time.monotonic()

    def commit(self) -> None:
        """Commit what there is. Raises as `Writer.commit`."""
        if not self._rows and not self._updates:
            return
        rows, sources, updates = self._rows, self._sources, self._updates
        self._rows, self._sources, self._updates, self._bytes = [], [], [], 0
        # apart: what is new must not replace what somebody else put there meanwhile
        again = set() if self.replaces_all else {row["object_id"] for row in rows if row["path"] in self._replaced}
        pairs = list(zip(rows, sources, strict=True))
        if old := [pair for pair in pairs if pair[0]["object_id"] in again]:
            self._commit(old, [])
        if (new := [pair for pair in pairs if pair[0]["object_id"] not in again]) or updates:
            self._commit(new, updates)

    def _commit(self, pairs: Sequence[tuple[Row, int]], updates: Sequence[Row]) -> None:
        rows, sources = [row for row, _ in pairs], [source for _, source in pairs]
        paths = [row["path"] for row in rows]
        objects = np.unique([row["object_id"] for row in rows], return_inverse=True)[1]
        people = of_source(self._corpus, sources)
        replaced = self._replaced.intersection(paths)
        self.holds += carry_holds(self._source, self._target, {name for row in rows for name in row["subjects"]})
        outcome = self._target.commit(
            rows_table(rows),
            replace=self.replaces_all or bool(replaced),
            reseal=bool(replaced),  # even if only the words changed: a row says what its own object was made from
            update=rows_table(updates) if updates else None,
            clear=dict.fromkeys((*replaced, *(row["path"] for row in updates)), CLEARABLE),
            refuse=lambda: self._refused(people, objects),
        )
        self.count(outcome)
        stale = set(outcome.stale)
        self.stale += [row for path, row in zip(paths, sources, strict=True) if path in stale]

    def count(self, outcome: Outcome) -> None:
        """Add what became of the rows of a commit to the report."""
        report = self._report
        report.commits += outcome.changes
        report.added += outcome.added - outcome.replaced
        report.replaced += outcome.replaced
        report.erased += outcome.erased
        report.held += outcome.held

    def _refused(self, people: pa.Table, objects: np.ndarray[tuple[int], np.dtype[np.int64]]) -> set[int]:
        """Rows whose person, consent or recording was erased from the source, by its head of now, or from the target;
        with all other rows of their objects, which hold the same sound.

        The order makes an erasure that runs meanwhile safe. The head of the derived corpus was read before this one,
        and is replaced only if it is still current. An erasure that this head does not show yet finds the derived
        corpus in the registry, and erases there first: then this try loses, and the next one sees it.
        """
        head = self._source.refresh()
        if all(one.get("corpus") != self._target.corpus_id.hex() for one in head.derived):
            raise CorpusError(
                f"{self._source.root} no longer names {self._target.root} as a corpus that was made from it: an older "
                "head was put back, or the entry was removed; run it again",
                root=self._source.root,
            )
        restricted = rows_of(people, Tagger(head.secret), {one.tag for one in head.restricted})
        out = {*refused(head, people), *restricted, *refused(self._target.head, people)}
        return set(np.flatnonzero(np.isin(objects, objects[sorted(out)])).tolist()) if out else out
