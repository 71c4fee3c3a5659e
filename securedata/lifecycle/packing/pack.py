"""`pack`: rewrite small objects into packs, so that what reads many of them makes few requests."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.notices import log_incomplete
from securedata.corpus.option_values import MAX_THREADS, as_choice, as_flag, as_whole
from securedata.corpus.packs.choice import GROUPS, MOST, SIZE, Choice, packs_of, window
from securedata.corpus.packs.report import PackReport
from securedata.corpus.packs.run import Packing
from securedata.corpus.packs.usage import COLUMNS, stored_packs, usage_of
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.leaving import Notes, delete_noted
from securedata.lifecycle.packing.unpacking import Unpacking
from securedata.printable import plural
from securedata.storage.base import Storage

LARGEST_MEMBER = 64_000_000
"""A member is held in memory while it is authenticated, and above this a pack saves nothing."""
LARGEST_PACK = 100_000_000_000
SHARE = 0.25
"""The share of dead bytes above which `compact` rewrites a pack, unless it is given."""

Note = Callable[[Collection[bytes]], object]


def pack(
    target: str | os.PathLike[str] | Reference,
    *,
    size: int = SIZE,
    min_object: int = 0,
    max_object: int = MOST,
    seed: int = 0,
    group_by: str = "",
    compact: float | None = None,
    unpack: bool = False,
    now: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
    storage: Storage | None = None,
) -> PackReport:
    """Rewrite small objects into packs, so that what reads many of them makes few requests.

    The sealed objects are copied as they are, with their ids and data keys; each is opened first, and one that does not
    open stays where it is. The rows of a pack follow each other in the manifest, in the order of their offsets. One
    recording is still read by one request. It can run beside everything else; if it is killed, run it again. Readers in
    flight find the single objects for 24 hours.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        size: bytes of a pack, about.
        min_object, max_object: sealed bytes of the objects to pack; others keep a storage key of their own.
        seed: of the random order of the members. The same objects are drawn in the same order.
        group_by: 'subject': recordings of the same people lie together, so that erasing a person leaves one hole.
            '': all in one random order, which is what a stream needs.
        compact: instead, rewrite the packs of whose bytes more than this share is dead: 0 for any, at most 1.
        unpack: instead, seal all packed objects again, each under a storage key, id and data key of its own.
        now: delete at once what is not needed any more; readers in flight then get `RowReplaced`.
        dry_run: write nothing, and read no recording: report what would be done.
        threads: so many fetch and open objects. None: one per core, at most 4; with `unpack` two, at most 8.
        kms: KMS URIs that are trusted. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        single_writer: write to storage where two writers could lose rows; nobody else may ever write there.
        accept_generation: take a head of this generation although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (objects done, objects in total, bytes done, bytes in total).
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        A report. `complete` is False if an object is missing or damaged, which is also logged.

    Raises:
        InvalidArgument: values that do not go together.
        PinRequired, PinMismatch, NoTrustedKey, KMSDenied, ...: the corpus cannot be opened for writing.
        DeleteRefused, StorageError, KeysExpired, CommitRace, OutcomeUnknown: what was committed stays; run it again.

    Example:
        report = sd.pack("voice-a")
        print(report.objects, "objects in", report.packs, "packs")
    """
    check_progress(progress)
    unpack, now, dry_run = as_flag("unpack", unpack), as_flag("now", now), as_flag("dry_run", dry_run)
    at_once = None if threads is None else as_whole("threads", threads, 1, MAX_THREADS)
    choice = _choice(size, min_object, max_object, seed, group_by)
    share = None if compact is None else _share(compact)
    if unpack and share is not None:
        raise InvalidArgument("unpack and compact exclude each other")
    reference = resolve(target, kms, pin)
    if dry_run:
        rehearsal = DryRun(reference, accept_generation=accept_generation, storage=storage)
        return _rehearsed(rehearsal, reference.root, choice, share, unpack)
    reference.require_pin()
    writer = Writer(
        reference,
        single_writer=as_flag("single_writer", single_writer),
        accept_generation=accept_generation,
        storage=storage,
    )
    notes = Notes(writer.corpus_id)
    note = notes.add if now else None
    with reporting(progress, "unpacking" if unpack else "packing") as notify:
        if unpack:
            report = Unpacking(writer, at_once, notify, note).run()
        elif share is not None:
            report = _compact(writer, choice, share, at_once, notify, note)
        else:
            report = Packing(writer, choice, at_once, notify, note).run()
    if now:
        report.deleted = delete_noted(writer, notes, f"{plural(report.objects, 'object')} moved")
        report.generation = writer.head.generation
    if not report.complete:
        log_incomplete(f"objects of {report.root} are missing or damaged, and were not moved: see the report's failed")
    return report


def _choice(size: int, least: int, most: int, seed: int, group_by: str) -> Choice:
    size = as_whole("size", size, 1, LARGEST_PACK)
    most = as_whole("max_object", most, 1, LARGEST_MEMBER)
    least = as_whole("min_object", least, 0, LARGEST_MEMBER)
    if least > most:
        raise InvalidArgument(f"min_object is {least:,}, above max_object, {most:,}")
    group = as_choice("group_by", group_by, GROUPS) if group_by else ""
    return Choice(size, least, most, as_whole("seed", seed, 0, 2**63 - 1), group)


def usage(corpus: DryRun | Writer) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Live and dead bytes of each pack that the head names, by its id."""
    found = usage_of(corpus.read_table(part, COLUMNS) for part in corpus.head.parts)
    return found.live, found.dead(stored_packs(corpus.storage))


def _share(compact: object) -> float:
    if isinstance(compact, bool) or not isinstance(compact, int | float) or not 0 <= compact < 1:
        raise InvalidArgument("compact must be a share of dead bytes, from 0 to below 1, such as 0.25")
    return float(compact)


def _rehearsed(corpus: DryRun, root: str, choice: Choice, share: float | None, unpack: bool) -> PackReport:
    report = PackReport(root, dry_run=True, generation=corpus.head.generation)
    if share is not None or unpack:
        live, dead = usage(corpus)
        chosen = {one for one in live if share is None or dead[one] > share * (live[one] + dead[one])}
        report.old_packs, report.dead_bytes = len(chosen), sum(dead[one] for one in chosen)
        choice = replace(choice, packs=frozenset(chosen))
    table, _ = window(corpus.head, corpus.read_table, choice, (), math.inf)
    packs = list(packs_of(table, choice, whole=True)) if table.num_rows else []
    packs = [rows for rows in packs if len(rows) > 1 or choice.packs is not None]
    moved = [int(row) for rows in packs for row in rows]
    report.packs, report.objects = 0 if unpack else len(packs), len(moved)
    some = table.take(pa.array(moved, pa.int64())) if moved else None
    if some is not None:
        report.rows = pc.sum(some.column("rows")).as_py()
        report.bytes = pc.sum(some.column("size" if unpack else "sealed_size")).as_py()
    return report


def _compact(
    writer: Writer, choice: Choice, share: float, threads: int | None, progress: Progress | None, note: Note | None
) -> PackReport:
    live, dead = usage(writer)
    chosen = frozenset(one for one in live if dead[one] > share * (live[one] + dead[one]))
    report = Packing(writer, replace(choice, packs=chosen), threads, progress, note).run()
    rewritten = chosen - writer.named(chosen)
    report.old_packs, report.dead_bytes = len(rewritten), sum(dead[one] for one in rewritten)
    return report
