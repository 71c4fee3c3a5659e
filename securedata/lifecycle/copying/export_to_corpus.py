"""`export --to-corpus`: hand recordings on, sealed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from securedata.corpus.config import Reference, resolve
from securedata.corpus.notices import log_incomplete
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_texts, as_whole
from securedata.corpus.progress import Progress, check_progress
from securedata.errors import InvalidArgument
from securedata.ingest.target import find_target
from securedata.lifecycle.copying.copying import Options, run
from securedata.lifecycle.copying.report import CorpusExportReport
from securedata.lifecycle.copying.selection import Selection


def export_to_corpus(
    target: str | os.PathLike[str] | Reference,
    to: str | os.PathLike[str] | Reference,
    *,
    paths: str | Sequence[str] | None = None,
    subjects: str | Sequence[str] | None = None,
    splits: str | Sequence[str] | None = None,
    purpose: str | None = None,
    threads: int | None = None,
    verify_sample: int = 100,
    seed: int = 0,
    name: str | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    to_kms: str | Sequence[str] | None = None,
    to_pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
) -> CorpusExportReport:
    """Hand recordings on as a sealed corpus of its own: another key, another place, other people who open it.

    Each recording is opened in memory, compared with the digest taken at ingest, and sealed again under a fresh data
    key; no plaintext reaches a disk. Its people, words, split, consent, purposes and expiry come along, and holds of
    its people. Recordings without consent, or whose people are restricted, are left out. A recording in which several
    segments share one object is handed on if all of its segments are chosen.

    Before its first row is committed, the other corpus is registered in the head of the source, so that an erasure, a
    hold and a withdrawal of consent find it. If a run is killed, run it again: it continues where it stopped. A later
    run adds what is new or was not chosen before, and takes over other words and consent. It deletes nothing.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        to: the other corpus, likewise. A new or empty folder becomes a corpus, with a key file unless `to_kms` names a
            key. It may hold what earlier runs took over from the same corpus, and recordings of its own.
        paths: logical paths, folders or globs (`*` and `?` within a folder, `**` across folders). None: all.
        subjects: people: only recordings of these and nobody else. None: all.
        splits: only recordings of these splits. None: all.
        purpose: what they are handed on for, as `open_corpus` takes it; those without consent to it are left out.
        threads: objects are sealed by so many threads; None: two per CPU, at most 8.
        verify_sample: how many recordings are read from both corpora in the end and compared.
        seed: chooses them.
        name: name of a new corpus; None: that of its folder.
        kms, pin: of the source, which is written to, too. None: from the config.
        to_kms, to_pin: of the other corpus, likewise.
        single_writer: allow storage where concurrent writers could lose rows; use it only if nobody else writes there.
        accept_generation: accept this generation of the source although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (objects done, objects in all, bytes done, bytes in all).

    Returns:
        The results; `complete` is False if a chosen recording that may be read was not handed on, and then the logger
        `securedata` warns, too.

    Raises:
        NoSuchPath, NoSuchSubject, InvalidArgument: nothing has such a path, person or split; `to` is the source, lies
            in it, or holds something else. Nothing was written.
        PinRequired, PinMismatch, NoTrustedKey, KMSDenied, ...: a corpus cannot be opened for writing.
        StorageError, KeysError, CorpusError: what was committed stays; run it again for the rest.

    Example:
        handed = sd.export_to_corpus("voice-a", "./vendor-b", paths="ann/*")
        print(handed)
        assert handed.complete, (handed.shared, handed.conflicts, handed.failed, handed.held, handed.different)
    """
    check_progress(progress)
    selection = Selection(_texts("paths", paths), _texts("subjects", subjects), _texts("splits", splits))
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    at_once = min(8, 2 * (os.cpu_count() or 1)) if threads is None else as_whole("threads", threads, 1, MAX_THREADS)
    options = Options(
        selection,
        purpose=purpose,
        threads=at_once,
        verify_sample=as_whole("verify_sample", verify_sample, 0, 2**31),
        seed=as_whole("seed", seed, 0, 2**63 - 1),
        name=name,
        single_writer=as_flag("single_writer", single_writer),
        accept_generation=accept_generation,
        progress=progress,
    )
    source = resolve(target, kms, pin)
    source.require_pin()
    found, there = find_target(to, to_kms, to_pin, name)
    report = run(source, found, there, options)
    if not report.complete:
        log_incomplete(
            f"{report.root} does not hold all recordings of {report.source} that were chosen: see the report's shared, "
            "conflicts, failed, held and different"
        )
    return report


def _texts(name: str, value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    found = as_texts(name, value)
    if not found:  # of a program that found nothing, and would hand on everything
        raise InvalidArgument(f"{name}= is an empty list, which chooses nothing; leave it out to choose all")
    return found
