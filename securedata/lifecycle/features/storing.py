"""Seal features and commit their rows, in bounded batches: a kill costs at most one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.checks import refused, rows_of
from securedata.corpus.rows.inherit import CLEARABLE
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError
from securedata.keys.tags import Tagger
from securedata.lifecycle.features.computing import Computed
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.report import RetainReport
from securedata.lifecycle.features.rows import of_source, row_of_features

COMMIT_SECONDS = 30.0
COMMIT_ROWS = 10_000
COMMIT_BYTES = 1_000_000_000


class Storing:
    """What was sealed and is not committed yet.

    Attributes:
        stale: rows of the source to compute again, because their new object did not last until the commit.
    """

    def __init__(
        self,
        source: Writer,
        corpus: Corpus,
        target: Writer,
        recipe: Recipe,
        computed_with: int,
        replaced: set[str],
        report: RetainReport,
    ) -> None:
        """
        Args:
            source: the corpus of recordings, opened for writing: each try of a commit reads its current head.
            corpus: its rows, which the features are computed from.
            target: the corpus of features.
            replaced: logical paths of features that new ones replace.
        """
        self._source, self._corpus, self._target = source, corpus, target
        self._recipe, self._computed_with, self._replaced = recipe, computed_with, replaced
        self._report = report
        self._rows: list[dict[str, Any]] = []
        self._sources: list[int] = []
        self._bytes = 0
        self._since = time.monotonic()
        self.stale: list[int] = []

    def take(self, made: Sequence[Computed]) -> None:
        """Seal and store features; commit if it is time."""
        # in the order of the source's rows, not in that in which objects landed
        for at, put in sorted(self._target.put_objects(one.npy for one in made), key=itemgetter(0)):
            if not self._rows:
                self._since = time.monotonic()
            self._rows.append(row_of_features(self._corpus, made[at], put, self._recipe, self._computed_with))
            self._sources.append(made[at].row)
            self._bytes += put.size
            self._report.feature_bytes += put.size
        late = time.monotonic() - self._since >= COMMIT_SECONDS
        if self._rows and (late or len(self._rows) >= COMMIT_ROWS or self._bytes >= COMMIT_BYTES):
            self.commit()

    def commit(self) -> None:
        """Commit what is sealed. Raises as `Writer.commit`."""
        if not self._rows:
            return
        rows, sources = self._rows, self._sources
        self._rows, self._sources, self._bytes = [], [], 0
        paths = [row["path"] for row in rows]
        people = of_source(self._corpus, sources)
        replaced = self._replaced.intersection(paths)
        outcome = self._target.commit(
            rows_table(rows),
            replace=True,
            reseal=bool(replaced),  # even if only the words changed: a row says what its own object was computed from
            clear=dict.fromkeys(replaced, CLEARABLE),
            refuse=lambda: self._refused(people),
        )
        report = self._report
        report.commits += outcome.changes
        report.added += outcome.added - outcome.replaced
        report.replaced += outcome.replaced
        report.erased += outcome.erased
        report.held += outcome.held
        stale = set(outcome.stale)
        self.stale += [row for path, row in zip(paths, sources, strict=True) if path in stale]

    def _refused(self, people: pa.Table) -> set[int]:
        """Rows whose person, consent or recording was erased from the source, by its head of now.

        The order makes an erasure that runs meanwhile safe. The head of the corpus of features was read before this
        one, and is replaced only if it is still current. An erasure that this head does not show yet finds the corpus
        of features in the registry, and erases there first: then this try loses, and the next one sees it.
        """
        head = self._source.refresh()
        if all(one.get("corpus") != self._target.corpus_id.hex() for one in head.derived):
            raise CorpusError(
                f"{self._source.root} no longer names {self._target.root} as a corpus that was made from it: an older "
                "head was put back, or the entry was removed; run it again",
                root=self._source.root,
            )
        restricted = rows_of(people, Tagger(head.secret), {one.tag for one in head.restricted})
        return {*refused(head, people), *restricted}
