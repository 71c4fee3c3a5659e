"""One run of `export --to-corpus`: register, seal what is new, take over what has changed, commit, compare a sample."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from securedata.corpus.config import Reference
from securedata.corpus.objects.put import Put
from securedata.corpus.opening import open_corpus, open_manifest
from securedata.corpus.progress import Progress, reporting
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.writer import Writer
from securedata.errors import RowReplaced, SecuredataError
from securedata.lifecycle.copying.comparing import compare
from securedata.lifecycle.copying.objects import ObjectsOfCorpus, Original, whole_objects
from securedata.lifecycle.copying.report import CorpusExportReport
from securedata.lifecycle.copying.rows import (
    COLUMNS,
    There,
    other_words,
    row_of_copy,
    row_of_words,
    there,
    to_copy,
)
from securedata.lifecycle.copying.selection import Seen, Selection
from securedata.lifecycle.copying.target import bind, check_target
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.deriving.fates import note_error
from securedata.lifecycle.deriving.holds import carry_holds_of_all
from securedata.lifecycle.deriving.places import make_target, naming_new, open_target, refuse_inside
from securedata.lifecycle.deriving.storing import Storing
from securedata.lifecycle.sealing import Sealing, batches
from securedata.threads import BoundedPool

PASSES = 3
"""How often a run looks at its source at most, which others change meanwhile."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to hand on, and how; checked."""

    selection: Selection
    purpose: str | None = None
    threads: int = 1
    verify_sample: int = 0
    seed: int = 0
    name: str | None = None
    single_writer: bool = False
    accept_generation: int | None = None
    progress: bool | Progress | None = field(default=None, repr=False)


def run(reference: Reference, target: Reference, is_there: bool, options: Options) -> CorpusExportReport:
    """As `securedata.lifecycle.copying.export_to_corpus.export_to_corpus`, with both corpora found.

    Args:
        is_there: whether the other corpus exists; otherwise it is made.
    """
    begun = time.monotonic()
    refuse_inside(reference, target)
    single_writer, accept = options.single_writer, options.accept_generation
    source = Writer(reference, single_writer=single_writer, accept_generation=accept)
    existing = open_target(source, target, single_writer=single_writer) if is_there else None
    if existing is not None:
        check_target(existing.head, source.head, existing.root)
    opened = Opened(reference, options, accept)
    with closing(opened):
        opened.seen.check(source.root)
        created = None
        if existing is None:
            created, existing = make_target(target, options.name, single_writer=single_writer)
        report = CorpusExportReport(source.root, existing.root, existing.reference.name, created=created)
        with naming_new(created), reporting(options.progress, "exporting") as told:
            bind(existing, source.head)
            # before the first row: from now on an erasure of the source looks for this corpus
            register_derived(source, existing.head)
            for number in range(PASSES):
                if source.refresh().generation != opened.corpus.generation:
                    opened.again()
                one = _Pass(source, opened, existing, report, told)
                one.run(options.threads, first=not number)
                report.holds += carry_holds_of_all(source, existing)
                if source.head.generation == opened.corpus.generation:
                    break
            else:
                _note_moved(reference, one.moved, report)
            report.generation = existing.head.generation
        with naming_new(created), reporting(options.progress, "comparing") as told:
            compare(opened.corpus, opened.objects.rows, existing, options, report, told)
    report.erased, report.held = (list(dict.fromkeys(paths)) for paths in (report.erased, report.held))
    report.seconds = time.monotonic() - begun
    return report


def _note_moved(reference: Reference, moved: Mapping[str, SecuredataError], report: CorpusExportReport) -> None:
    """Rows that were replaced, in each look at the source, before they were read are not gone, but not handed on."""
    if not moved:
        return
    with closing(open_manifest(reference, columns=COLUMNS)) as manifest:
        for path, error in moved.items():
            with contextlib.suppress(FileNotFoundError):
                manifest.find(path)
                report.gone.remove(path)
                report.failed.append((path, error))


class Opened:
    """The source as readers see it, and what was seen of all of its rows."""

    def __init__(self, reference: Reference, options: Options, accept_generation: int | None) -> None:
        self.reference, self._options = reference, options
        self._open(accept_generation)

    def _open(self, accept_generation: int | None) -> None:
        self.seen = Seen(self._options.selection)
        self.corpus = open_corpus(
            self.reference,
            columns=COLUMNS,
            purpose=self._options.purpose,
            accept_generation=accept_generation,
            look=self.seen,
        )
        chosen, _ = self._options.selection.mask(self.corpus.table)
        self.objects, self.shared = whole_objects(self.corpus, chosen, self.seen.shared)

    def again(self) -> None:
        """Open the current head."""
        self.close()
        self._open(None)

    def close(self) -> None:
        self.corpus.close()


class _Storing(Storing):
    """Rows that were handed on and are not committed yet."""

    replaces_all = False

    def __init__(self, source: Writer, corpus: Corpus, target: Writer, replaced: set[str], report: CorpusExportReport):
        super().__init__(source, corpus, target, replaced, report)
        self._all = report

    def count(self, outcome: Outcome) -> None:
        super().count(outcome)
        self._all.updated += outcome.updated
        self._all.conflicts += outcome.conflicts


class _Pass:
    """One look at the source, and what follows from it.

    Attributes:
        moved: by path, rows that were replaced before they were read.
    """

    def __init__(
        self, source: Writer, opened: Opened, target: Writer, report: CorpusExportReport, progress: Progress | None
    ) -> None:
        self._source, self._opened, self._target = source, opened, target
        self._corpus, self._report, self._progress = opened.corpus, report, progress
        self._paths = self._corpus.index.path
        self.moved: dict[str, SecuredataError] = {}

    def run(self, threads: int, first: bool) -> None:
        """Do it.

        Args:
            first: it is the first pass of a run.
        """
        opened, report, target = self._opened, self._report, self._target
        target.refresh()
        known = there(target)
        todo = to_copy(self._corpus, opened.objects, known)
        report.rows = len(opened.objects.rows) + len(opened.shared)
        report.left_out = opened.seen.left_out(self._corpus.table.column("path"))
        report.others = list(opened.seen.others)
        report.shared = [self._paths(row) for row in opened.shared]
        report.conflicts = [self._paths(row) for row in todo.conflicts]
        report.failed, report.gone = [], []
        if first:
            report.unchanged = todo.unchanged
        if todo.objects:
            target.check_horizon()
        storing = _Storing(self._source, self._corpus, target, todo.replaced, report)
        try:
            for row in todo.words:
                storing.update(row_of_words(self._corpus, row))
                storing.commit_if_due()
            self._words_of_closed(storing, known)
            objects = todo.objects
            while objects:
                self._copy(objects, storing, threads)
                storing.commit()
                stale, storing.stale = set(storing.stale), []
                objects = [one for one in objects if not stale.isdisjoint(one.rows)]
            storing.commit()
            report.holds += storing.holds
        except BaseException:  # raised again, Ctrl-C too: what is sealed and durable is kept
            storing.commit()
            raise

    def _words_of_closed(self, storing: Storing, known: There) -> None:
        """Take over words and consent of rows that an earlier run handed on, and that may not be read any more."""
        opened = set(self._corpus.table.column("path").to_pylist())
        paths = [path for path in known.copied if path not in opened]
        self._report.kept = []
        if not paths:
            return
        with closing(open_manifest(self._opened.reference, columns=COLUMNS)) as manifest:
            rows = []
            for path in paths:
                try:
                    rows.append(manifest.find(path))
                except FileNotFoundError:
                    self._report.kept.append(path)
            for row in other_words(manifest, known, rows):
                storing.update(row_of_words(manifest, row))
                storing.commit_if_due()

    def _copy(self, objects: Sequence[Original], storing: Storing, threads: int) -> None:
        """Seal objects in the order of their rows, in several threads."""
        report, corpus = self._report, self._corpus
        sealing = Sealing(ObjectsOfCorpus(corpus), self._target)
        total = sum(one.location.size for one in objects)
        done = size = 0
        calls = ((None, partial(sealing.do, batch)) for batch in batches(iter(objects)))
        with BoundedPool[None, Results]("securedata-export", threads, 2 * threads) as pool:
            try:
                for _, future in pool.results(calls):
                    for one, result in sorted(future.result(), key=_first_row):
                        if isinstance(result, Put):
                            storing.add([row_of_copy(corpus, row, result) for row in one.rows], one.rows, result.size)
                            report.objects += 1
                            report.bytes += result.size
                        else:
                            for row in one.rows:
                                note_error(report, self._paths(row), result)
                                if isinstance(result, RowReplaced):
                                    self.moved[self._paths(row)] = result
                        done += 1
                        size += one.location.size
                    storing.commit_if_due()
                    if self._progress:
                        self._progress(done, len(objects), size, total)
            except BaseException:  # raised again, Ctrl-C too: the threads stop first
                sealing.stopping = True
                raise


Results = list[tuple[Original, Put | SecuredataError]]


def _first_row(result: tuple[Original, Put | SecuredataError]) -> int:
    return result[0].rows[0]
