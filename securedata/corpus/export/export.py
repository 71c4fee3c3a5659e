"""Restore the source files of a corpus byte for byte, with a manifest from which they can be sealed again.

A recording that was cut apart, because its segments name different people, is restored as those segments.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from securedata.corpus.config import Reference, resolve
from securedata.corpus.export.destination import Destination, DestinationFailed
from securedata.corpus.export.manifest import MANIFEST, manifest_lines
from securedata.corpus.notices import log_incomplete
from securedata.corpus.opening import open_corpus, open_for_case
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_text, as_whole
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import ADDED, ALL, check_path
from securedata.corpus.segments import recording_path
from securedata.errors import (
    InvalidArgument,
    KeysError,
    MalformedManifest,
    NoSuchPath,
    PlaintextRefused,
    SecuredataError,
    StorageError,
)
from securedata.printable import plural
from securedata.storage.base import Storage
from securedata.threads import BoundedPool

WHOLE = 8 * 1024 * 1024
"""Objects up to this size are fetched whole, larger ones in pieces of it, so that memory stays bounded."""


@dataclass(slots=True)
class ExportReport:
    """Results of an export.

    Attributes:
        root: of the corpus.
        destination: absolute path of the folder that now holds plaintext.
        manifest: path of the manifest in it, from which `ingest` can seal the files again.
        rows, files: exported from the corpus; several rows may be segments of one file.
        written, right_already: files written, and files that were already right.
        bytes: plaintext bytes written.
        seconds: duration of the export.
        failed: logical path and error of each file that could not be restored.
    """

    root: str
    destination: str
    manifest: str = ""
    rows: int = 0
    files: int = 0
    written: int = 0
    right_already: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failed: list[tuple[str, SecuredataError]] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        return (
            f"{self.root} to {self.destination}: {plural(self.written, 'file')} written, "
            f"{self.right_already:,} already there, {len(self.failed):,} failed"
        )

    @property
    def complete(self) -> bool:
        """Is every file restored, by this export or an earlier one?"""
        return not self.failed


@dataclass(frozen=True, slots=True)
class _File:
    """One source file: its path, the row through which its object is read, and what its content must be."""

    path: str = field(repr=False)
    row: int
    size: int
    sha256: bytes
    mtime_ns: int


def export(
    target: str | os.PathLike[str] | Reference,
    destination: str | os.PathLike[str],
    *,
    allow_plaintext_export: bool = False,
    path: str = "",
    overwrite: bool = False,
    mode_from_umask: bool = False,
    threads: int | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    purpose: str | None = None,
    held: str | None = None,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
    storage: Storage | None = None,
) -> ExportReport:
    """Restore the source files of a corpus into a folder, byte for byte, and write a manifest beside them.

    Files that are there and right are left alone. Each other file is written under a temporary name, compared with the
    digest of its source, flushed to disk and renamed, so a killed export can simply be run again. A file that cannot be
    restored is recorded in the report, and the export goes on. A recording that was cut apart, because its segments
    name different people, is restored as those segments, a file each.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        destination: a folder; made if it is missing. Nothing is written outside it, whatever links are in it.
        allow_plaintext_export: must be True, because this writes plaintext to a disk.
        path: a logical path, of a recording or a folder; '' for everything.
        overwrite: replace existing files that differ.
        mode_from_umask: for a shared folder, make files and folders with the mode that the umask allows; otherwise only
            this user can access them (0600 and 0700). Existing folders keep their mode.
        threads: files written in parallel; None: one per CPU, at most 8.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        purpose, accept_generation: as `open_corpus` takes them.
        held: the reference of a case (see docs/lifecycle.md): export the recordings of the people whom it holds, and no
            others, whatever their consent, and also if a request for erasure restricts them.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (files done, files in total, bytes done, bytes in total).
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The results; `complete` is False if a file could not be restored, and then the logger `securedata` warns, too.

    Raises:
        PlaintextRefused: `allow_plaintext_export` is not True; nothing was opened.
        NoSuchPath: nothing has this path.
        InvalidArgument: the destination is not a folder, or lies in the corpus.
        StorageUnreachable: the destination is full or failed.
        KeysError, CorpusError, ...: the corpus cannot be opened, or its keys expired.

    Example:
        report = sd.export("voice-a", "./restored", allow_plaintext_export=True)
        print(report)
        assert report.complete, report.failed
    """
    reference = resolve(target, kms, pin)
    check_progress(progress)
    if not as_flag("allow_plaintext_export", allow_plaintext_export):
        raise PlaintextRefused(
            f"export writes the plaintext of {reference.root} to a disk: pass --allow-plaintext-export to "
            "allow this (in Python: allow_plaintext_export=True)",
            root=reference.root,
        )
    overwrite, mode_from_umask = as_flag("overwrite", overwrite), as_flag("mode_from_umask", mode_from_umask)
    at_once = as_whole("threads", threads, 1, MAX_THREADS) if threads is not None else min(8, os.cpu_count() or 1)
    started = time.monotonic()
    with (
        _open(reference, purpose, held, accept_generation, storage) as corpus,
        reporting(progress, "exporting") as notify,
    ):
        report = ExportReport(reference.root, os.path.abspath(os.fspath(destination)))
        files, rows = _plan(corpus, as_text("path", path).strip("/"), report)
        with Destination(report.destination, reference.root, mode_from_umask) as out:
            _write_all(corpus, out, files, overwrite, at_once, notify, report)
            _write_manifest(corpus, out, rows, overwrite, report)
            out.make_durable()
    report.seconds = time.monotonic() - started
    if not report.complete:
        log_incomplete(
            f"not all files of {report.root} were restored ({len(report.failed)} missing): see the report's failed"
        )
    return report


def _open(
    reference: Reference, purpose: str | None, held: str | None, accept_generation: int | None, storage: Storage | None
) -> Corpus:
    columns = [*ALL, *ADDED.names]
    if held is None:
        return open_corpus(
            reference, columns=columns, purpose=purpose, storage=storage, accept_generation=accept_generation
        )
    if purpose is not None:
        raise InvalidArgument("held= exports what a case needs, whatever the consent: leave out purpose=")
    case = as_text("held", held).strip()
    return open_for_case(reference, case, columns=columns, storage=storage, accept_generation=accept_generation)


def _plan(corpus: Corpus, prefix: str, report: ExportReport) -> tuple[list[_File], list[int]]:
    """The files to restore, in order of their paths, and the rows for the manifest."""
    files: dict[str, _File] = {}
    rows = []
    names = ("path", "start", "frames_in_segment", "size", "source_sha256", "source_mtime_ns")
    for row in corpus.index.order.tolist():
        path, start, frames, size, sha256, mtime_ns = corpus.index.values(names, row)
        whole = recording_path(path, start, frames)
        if prefix and not any(one == prefix or one.startswith(f"{prefix}/") for one in (path, whole)):
            continue
        try:
            check_path(whole)
        except InvalidArgument as error:
            report.failed.append((whole, error))
            continue
        rows.append(row)
        known = files.setdefault(whole, _File(whole, row, size, sha256, mtime_ns))
        if known.sha256 != sha256:
            report.failed.append((path, _two_contents(corpus, row)))
    if prefix and not rows and not report.failed:
        raise NoSuchPath(f"no row of {corpus.root} has the requested path or lies below it", path=prefix)
    if MANIFEST in files:
        raise InvalidArgument(
            f"a file of {corpus.root} is called {MANIFEST}, like the manifest: export folder by folder with --path",
            root=corpus.root,
        )
    report.files, report.rows = len(files), len(rows)
    return list(files.values()), rows


def _write_all(
    corpus: Corpus,
    out: Destination,
    files: list[_File],
    overwrite: bool,
    threads: int,
    progress: Progress | None,
    report: ExportReport,
) -> None:
    total = sum(file.size for file in files)
    done = bytes_done = 0
    calls = ((file, partial(_write, corpus, out, file, overwrite)) for file in files)
    with BoundedPool[_File, bool]("securedata-export", threads, 4 * threads) as pool:
        try:
            for file, written in pool.results(calls):
                try:
                    if written.result():
                        report.written += 1
                        report.bytes += file.size
                    else:
                        report.right_already += 1
                except (KeysError, DestinationFailed):  # every other file would fail, too
                    raise
                except SecuredataError as error:
                    report.failed.append((file.path, error))
                done += 1
                bytes_done += file.size
                if progress:
                    progress(done, len(files), bytes_done, total)
        except BaseException:  # raised again, Ctrl-C too: the threads stop first
            out.stop()
            raise


def _write(corpus: Corpus, out: Destination, file: _File, overwrite: bool) -> bool:
    return out.write(
        file.path,
        _pieces(corpus, file),
        sha256=file.sha256,
        size=file.size,
        mtime_ns=file.mtime_ns,
        overwrite=overwrite,
    )


def _pieces(corpus: Corpus, file: _File) -> Iterator[bytearray]:
    if file.size <= WHOLE:
        yield corpus.read(file.row)
        return
    for at in range(0, file.size, WHOLE):
        yield corpus.read_range(file.row, at, WHOLE)


def _write_manifest(corpus: Corpus, out: Destination, rows: list[int], overwrite: bool, report: ExportReport) -> None:
    """The same rows give the same bytes, so that a repeated export finds its own manifest right."""
    digest, size = hashlib.sha256(), 0
    for line in manifest_lines(corpus, rows):
        digest.update(line)
        size += len(line)
    report.manifest = os.path.join(out.path, MANIFEST)
    try:
        lines = manifest_lines(corpus, rows)
        out.write(MANIFEST, lines, sha256=digest.digest(), size=size, overwrite=overwrite)
    except DestinationFailed:
        raise
    except StorageError as error:
        report.failed.append((MANIFEST, error))


def _two_contents(corpus: Corpus, row: int) -> SecuredataError:
    object_id = corpus.value("object_id", row)
    return MalformedManifest(
        f"object {object_id.hex()} of {corpus.root} is not the recording that was exported under its file's path: "
        "read it with 'securedata cat'",
        root=corpus.root,
        object_id=object_id,
    )
