"""One run of `retain`: compute what is missing, seal it, commit it, verify it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from securedata.corpus.config import Reference
from securedata.corpus.progress import Progress, reporting
from securedata.corpus.tasks.pool import TaskPool
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.deriving.fates import note_error
from securedata.lifecycle.deriving.holds import carry_holds_of_all
from securedata.lifecycle.deriving.places import make_target, naming_new, open_target, refuse_inside
from securedata.lifecycle.features.computing import Computed, Source, batches, computed
from securedata.lifecycle.features.raw import erase_recordings
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.report import RetainReport
from securedata.lifecycle.features.rows import to_compute
from securedata.lifecycle.features.storing import StoringFeatures
from securedata.lifecycle.features.target import SETTING, bind, recipe_for, recorded_in, refuse_other
from securedata.lifecycle.features.tasks import RetainWork
from securedata.lifecycle.features.transforms import check
from securedata.lifecycle.features.verification import verify_features
from securedata.lifecycle.receipt.operator import load_operator


def run(
    source: Reference,
    target: Reference,
    there: bool,
    *,
    transform: str,
    arguments: Mapping[str, Any],
    sample_rate: int | None,
    dtype: str | None,
    purpose: str | None,
    workers: int,
    verify_sample: int,
    seed: int,
    name: str | None,
    single_writer: bool,
    accept_generation: int | None,
    erase_raw: bool,
    progress: bool | Progress | None,
    executor: Executor | None = None,
) -> RetainReport:
    """As `securedata.lifecycle.retain.retain`, with both corpora found and all options checked.

    Args:
        there: whether the corpus of features exists; otherwise it is made.
        executor: its processes compute and put, in place of `workers`; None: workers of this process.
    """
    begun = time.monotonic()
    refuse_inside(source, target)
    if erase_raw:
        load_operator()  # before anything is written: without its key no receipt could be signed
    raw = Writer(source, single_writer=single_writer, accept_generation=accept_generation)
    existing = open_target(raw, target, single_writer=single_writer) if there else None
    recorded = recorded_in(existing.head, target.root) if existing is not None else None
    with Source(source, purpose=purpose, accept_generation=accept_generation) as dataset:
        recipe = recipe_for(recorded, dataset.corpora[0], transform, sample_rate, dtype, arguments)
        if recorded is not None:
            refuse_other(recipe, recorded, target.root)
        dataset.resample_to(recipe.sample_rate)
        check(recipe)
        created = None
        if existing is None:
            created, existing = make_target(target, name, single_writer=single_writer)
        report = RetainReport(source.root, existing.root, existing.reference.name, len(dataset), created=created)
        report.left_out = sum(dataset.corpora[0].left_out)
        report.others = dataset.corpora[0].others
        with naming_new(created):
            with reporting(progress, "computing") as told:
                work = RetainWork(source, dataset, existing, recipe, purpose)
                _retain(raw, dataset, existing, recipe, _Hands(workers, executor, work), report, told)
            report.generation = existing.head.generation
            report.seconds = time.monotonic() - begun
            with reporting(progress, "verifying") as told:
                report.recorded = existing.head.settings[SETTING]
                known = report.recorded["computed_with"]
                verify_features(
                    existing.reference, dataset, recipe, known, verify_sample, seed, workers, purpose, report, told
                )
            report.seconds_verify = time.monotonic() - begun - report.seconds
            if erase_raw and report.complete:
                _erase_raw(source, existing, purpose, single_writer, report)
    return report


class _Hands(NamedTuple):
    """Who computes: workers of this process, or the processes of an executor."""

    workers: int
    executor: Executor | None
    work: RetainWork

    def computed(self, dataset: Source, recipe: Recipe, rows: Sequence[int]) -> Iterator[list[Computed]]:
        """The features of these rows, in batches and in order."""
        if self.executor is None:
            yield from computed(dataset, recipe, rows, self.workers)
            return
        with TaskPool("securedata-retain", self.work, self.executor, 1, 1) as pool:
            yield from (made for _, made in pool.each(batches(dataset, rows)))


def _retain(
    raw: Writer,
    dataset: Source,
    target: Writer,
    recipe: Recipe,
    hands: _Hands,
    report: RetainReport,
    progress: Progress | None,
) -> None:
    corpus = dataset.corpora[0]
    number = bind(target, corpus, recipe)
    # before the first row: from now on an erasure of the source looks for this corpus
    register_derived(raw, target.head)
    todo, replaced = to_compute(corpus, target)
    report.unchanged = len(corpus) - len(todo)
    if todo:
        target.check_horizon()
    sizes = corpus.table.column("size")
    total = sum(sizes[row].as_py() for row in todo)
    done = 0
    storing = StoringFeatures(raw, corpus, target, recipe, number, replaced, report)
    try:
        while todo:
            for batch in hands.computed(dataset, recipe, todo):
                for one in batch:
                    if one.error is not None:
                        note_error(report, corpus.index.path(one.row), one.error)
                storing.take([one for one in batch if one.error is None])
                done += len(batch)
                report.bytes += sum(sizes[one.row].as_py() for one in batch)
                if progress:
                    progress(done, max(done, len(todo)), report.bytes, max(report.bytes, total))
            storing.commit()
            todo, storing.stale = storing.stale, []
        carry_holds_of_all(raw, target)
    except BaseException:  # raised again, Ctrl-C too: what is sealed and durable is kept
        storing.commit()
        raise


def _erase_raw(
    source: Reference, target: Writer, purpose: str | None, single_writer: bool, report: RetainReport
) -> None:
    done = erase_recordings(source, target, purpose=purpose, single_writer=single_writer)
    report.raw_erased = done.commit.rows
    report.raw_held = list(done.commit.held)
    elsewhere = {each for one in done.reached for each in one.receipts}
    own = [one for one in done.receipts if one not in elsewhere]
    report.raw_packs = max((one.packs for one in own), default=0)
    most_last = sorted(elsewhere, key=lambda one: one.packs)
    report.raw_packs_elsewhere = {one.corpus: one.packs for one in most_last if one.packs}
    report.raw_unreached = {one.pin: one.why for one in done.reached if one.state != "erased"}
    if done.receipt is not None and done.receipt.path is not None:
        report.receipt = str(done.receipt.path)
