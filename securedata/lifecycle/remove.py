"""Take rows out of a corpus in one commit. Their objects are deleted a day later, or at once."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.rows.changes import Changes, Mask, Plan
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.state.commit import Next, Try, added_lists
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.leaving import Notes, delete_noted
from securedata.lifecycle.select import ByPath
from securedata.printable import plural
from securedata.storage.base import Storage


@dataclass(slots=True)
class RemoveReport:
    """What a removal did, or would do.

    Attributes:
        root: of the corpus.
        dry_run: nothing was written.
        generation: of the head that was committed, or, if nothing was, of the one that was read.
        rows: taken out; `seconds` of audio in them.
        objects, bytes: objects that no row needs any more, and their sealed size.
        packed: objects that no row needs any more, and whose bytes stay in packs with others.
        held: paths of rows that stay, because one of their people is under a hold.
        finished: this run only finished the deletion of what an interrupted one had removed.
        deleted: what was deleted at once, parts of the manifest included; None: deleted after 24 hours.
    """

    root: str
    dry_run: bool = False
    generation: int = 0
    rows: int = 0
    seconds: float = 0.0
    objects: int = 0
    bytes: int = 0
    packed: int = 0
    held: list[str] = field(default_factory=list, repr=False)
    finished: bool = False
    deleted: int | None = None


def remove(
    target: str | os.PathLike[str] | Reference,
    patterns: Iterable[str] = (),
    *,
    paths: Iterable[str] = (),
    now: bool = False,
    yes: int | None = None,
    dry_run: bool = False,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> RemoveReport:
    """Take rows out of a corpus, in one commit. Rows of people under a hold stay.

    Their keys remain in older parts and heads until an erasure. Nobody is barred, so the next ingest of the source
    brings the recordings back.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        patterns: logical paths, folders or globs, as `ByPath` takes them.
        paths: further logical paths, which are taken as they are.
        now: delete at once what nothing names any more; readers in flight then get `RowReplaced`.
        yes: how many rows are chosen; needed if these are all rows of the corpus.
        dry_run: write nothing.
        kms, pin, accept_generation: as `open_corpus` takes them.
        single_writer: as `Writer` takes it.
        storage: used instead of the one that the root names, for tests.

    Raises:
        NoSuchPath: a pattern or path matches nothing; `path` is the first one. Nothing was removed.
        InvalidArgument: no path is given, all rows are chosen, or `yes` is another number; nothing was removed.
        DeleteRefused, StorageError: with `now`, the rows are removed, but not everything could be deleted.
        as `Writer.transact`
    """
    reference = resolve(target, kms, pin)
    chosen = _Chosen(map(_clean, patterns), map(_clean, paths))
    changes = Changes(select=chosen)
    report = RemoveReport(reference.root, dry_run)
    if dry_run:
        dry = DryRun(reference, accept_generation=accept_generation, storage=storage)
        plan = dry.plan(changes)
        chosen.check(dry.head, plan, yes, reference.root, confirm=False)
        _fill(report, plan)
        report.generation = dry.head.generation
        return report
    reference.require_pin()
    writer = Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)
    notes = Notes(writer.corpus_id)
    left = _still_leaving(writer, notes) if now else frozenset()

    def change(attempt: Try) -> Next[Plan | None]:
        plan = attempt.plan(changes)
        if left and not plan.outcome.removed and not plan.outcome.held:
            return Next(None, None)
        chosen.check(attempt.head, plan, yes, reference.root)
        if not plan.outcome.changes:
            return Next(plan, None)
        members = attempt.write(plan, changes)
        if now:
            notes.add(added_lists(attempt, members))
        return Next(plan, members)

    done = writer.transact(change)
    report.generation = writer.head.generation
    report.finished = done is None
    if done is not None:
        _fill(report, done)
    if now:
        report.deleted = delete_noted(writer, notes, f"{plural(report.rows, 'row')} removed")
    return report


def _still_leaving(writer: Writer, notes: Notes) -> frozenset[bytes]:
    """The leaving lists of an interrupted run that the head still names."""
    return notes.read() & {one.table.id for one in writer.head.retired}


def _fill(report: RemoveReport, plan: Plan) -> None:
    report.rows, report.held = plan.outcome.removed, plan.outcome.held
    report.objects, report.packed = len(plan.retired_objects), len(plan.left_in_packs)
    gone = pa.array(plan.retired_objects, pa.binary(16))
    for rows in plan.dropped:
        report.seconds += pc.sum(seconds_of(rows)).as_py() or 0.0
        unneeded = rows.filter(pc.is_in(rows.column("object_id"), value_set=gone))
        sizes = unneeded.group_by("object_id", use_threads=False).aggregate([("sealed_size", "max")])
        report.bytes += pc.sum(sizes.column("sealed_size_max")).as_py() or 0


def _clean(path: str) -> str:
    return unicodedata.normalize("NFC", path.strip("/"))


class _Chosen:
    """Rows of patterns, and of paths that are taken as they are. A `Select`."""

    columns = ("path", "frames", "frames_in_segment", "sample_rate", "sealed_size")

    def __init__(self, patterns: Iterable[str], paths: Iterable[str]) -> None:
        """Raises InvalidArgument if there is none, or one is empty."""
        self._patterns, self._paths = ByPath(dict.fromkeys(patterns)), tuple(dict.fromkeys(paths))
        if not self._patterns.patterns and not self._paths:
            raise InvalidArgument("name at least one path, folder or glob, or a file of paths with --manifest")
        if "" in self._patterns.patterns or "" in self._paths:
            raise InvalidArgument("a path is empty; for all recordings, say '**'")

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        found = self._patterns.hits(head, view)
        if self._paths:
            column = view.column("path")
            found |= pc.is_in(column, value_set=pa.array(self._paths, column.type)).to_numpy(zero_copy_only=False)
        return found

    def check(self, head: Head, plan: Plan, yes: int | None, root: str, confirm: bool = True) -> None:
        """Check what is chosen, before anything is written.

        Args:
            confirm: whether all rows must be confirmed by their number.

        Raises:
            NoSuchPath, InvalidArgument
        """
        found = [path for rows in plan.dropped for path in rows.column("path").to_pylist()] + plan.outcome.held
        self._check_matched(found, root)
        total = sum(part.rows for part in head.parts)
        if yes is not None and yes != len(found):
            raise InvalidArgument(f"{plural(len(found), 'row')} would be removed, not {yes:,}; nothing was removed")
        if confirm and yes is None and len(found) == total:
            raise InvalidArgument(
                f"that is every row of {root}: pass --yes {total} to remove all {total:,}; nothing was removed"
            )

    def _check_matched(self, found: Collection[str], root: str) -> None:
        there = set(found)
        unmatched = self._patterns.unmatched(found) + [path for path in self._paths if path not in there]
        if unmatched:
            what = "one path matches" if len(unmatched) == 1 else f"{len(unmatched):,} paths match"
            raise NoSuchPath(
                f"{what} nothing in {root}; nothing was removed: 'securedata ls -R' lists all paths", path=unmatched[0]
            )
