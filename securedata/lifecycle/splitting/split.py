"""`split`: an object for each segment of a recording of several people, so that each can be erased alone."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

from securedata.corpus.config import Reference, resolve
from securedata.corpus.notices import log_incomplete
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_texts, as_whole
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.leaving import Notes, delete_noted
from securedata.lifecycle.select import ByPath
from securedata.lifecycle.splitting.plan import COLUMNS
from securedata.lifecycle.splitting.report import SplitReport
from securedata.lifecycle.splitting.run import Split, would_split
from securedata.printable import plural
from securedata.storage.base import Storage


def split(
    target: str | os.PathLike[str] | Reference,
    path: str | Sequence[str] = (),
    *,
    now: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
    storage: Storage | None = None,
) -> SplitReport:
    """Give each segment of a recording of several people an object of its own, so that each can be erased alone.

    `ingest` does this with new recordings. In older corpora the segments can share one object, which is erased with any
    of its people. Each such object is read, compared with its rows, cut, and its segments are sealed under fresh keys,
    as WAV files whose samples are the same float32 values as before. Then its rows name the new objects, all of them in
    one commit, and each row names only the people heard in its segment: its speaker, and the speakers of segments that
    overlap it. What is in no segment is in the corpus no more; `seconds_left_out` says how much that is.

    Nobody is guessed: if a row's speaker is none of its people, or one of the people is the speaker of no segment, the
    recording stays as it is. Name the speakers with `relabel` first. Recordings of people under a hold stay, too. If a
    run is killed, run it again.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        path: logical paths, folders or globs: only recordings of which one of them matches a segment. None: all.
        now: delete the old objects at once, instead of after 24 hours; readers in flight then get `RowReplaced`.
        dry_run: write nothing, and read no recording: report what would be done.
        threads: objects are handled by so many threads. None: two per core, at most 8.
        kms: KMS URIs that are trusted. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        single_writer: write to storage where two writers could lose rows; nobody else may ever write there.
        accept_generation: take a head of this generation although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (objects done, objects in total, bytes done, bytes in total).
        storage: used instead of the one that the root names, for tests.

    Returns:
        A report. `complete` is False if a recording was left that needs somebody to look at it, which is also logged.

    Raises:
        NoSuchPath: a path matches nothing; `path` is the first one. Nothing was split.
        InvalidArgument: an empty path.
        PinRequired, PinMismatch, NoTrustedKey, KMSDenied, ...: the corpus cannot be opened for writing.
        DeleteRefused, StorageError, KeysExpired, CommitRace, OutcomeUnknown: what was committed stays; run it again.

    Example:
        report = sd.split("voice-a", dry_run=True)
        print(report.objects, "shared recordings,", report.seconds_left_out, "seconds outside all segments")
    """
    check_progress(progress)
    now, dry_run = as_flag("now", now), as_flag("dry_run", dry_run)
    at_once = min(8, 2 * (os.cpu_count() or 1)) if threads is None else as_whole("threads", threads, 1, MAX_THREADS)
    reference = resolve(target, kms, pin)
    chosen = _chosen(as_texts("path", path))
    if dry_run:
        rehearsal = DryRun(reference, accept_generation=accept_generation, storage=storage)
        _check_matched(rehearsal, chosen, reference.root)
        report = SplitReport(reference.root, dry_run=True, generation=rehearsal.head.generation)
        for part in rehearsal.head.parts:
            would_split(report, rehearsal.head, rehearsal.read_table(part, COLUMNS), chosen)
        return _logged(report)
    reference.require_pin()
    writer = Writer(
        reference,
        single_writer=as_flag("single_writer", single_writer),
        accept_generation=accept_generation,
        storage=storage,
    )
    _check_matched(writer, chosen, reference.root)
    notes = Notes(writer.corpus_id)
    with reporting(progress, "splitting") as notify:
        report = Split(writer, chosen, at_once, notify, notes.add if now else None).run()
    if now:
        report.deleted = delete_noted(writer, notes, f"{plural(report.objects, 'object')} split")
    return _logged(report)


def _chosen(paths: Sequence[str]) -> ByPath | None:
    cleaned = [unicodedata.normalize("NFC", one.strip("/")) for one in paths]
    if "" in cleaned:
        raise InvalidArgument("a path is empty; for all recordings, name none")
    return ByPath(dict.fromkeys(cleaned)) if cleaned else None


def _check_matched(corpus: DryRun | Writer, chosen: ByPath | None, root: str) -> None:
    """Raise NoSuchPath if a path matches nothing."""
    if chosen is None:
        return
    left = list(chosen.patterns)
    for part in corpus.head.parts:
        if not left:
            return
        left = ByPath(left).unmatched(corpus.read_table(part, ("path",)).column("path").to_pylist())
    if left:
        what = "one path matches" if len(left) == 1 else f"{len(left):,} paths match"
        raise NoSuchPath(
            f"{what} nothing in {root}; nothing was split: 'securedata ls -R' lists all paths", path=left[0]
        )


def _logged(report: SplitReport) -> SplitReport:
    if not report.complete:
        log_incomplete(
            f"recordings of several people in {report.root} stay as they are: see the report's unclear, unnamed, "
            "erased and failed"
        )
    return report
