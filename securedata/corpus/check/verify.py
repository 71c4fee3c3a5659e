"""`verify`: every row, object and orphan of a corpus accounted for, and what is left over deleted on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from securedata.corpus.check.prune import open_for_pruning
from securedata.corpus.check.prune import prune as prune_unnamed
from securedata.corpus.check.report import PruneReport, VerifyReport
from securedata.corpus.check.verification import Verification
from securedata.corpus.config import Reference, resolve
from securedata.corpus.connection import connect
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_seconds, as_whole
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.state.lease import HeadLease
from securedata.errors import InvalidArgument
from securedata.storage.base import Storage


def verify(
    target: str | os.PathLike[str] | Reference,
    *,
    prune: bool = False,
    reset_horizon: bool = False,
    before_prune: Callable[[VerifyReport], object] | None = None,
    threads: int | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
    ttl: float = 3600.0,
    kms_wait: float = 600.0,
    storage: Storage | None = None,
) -> VerifyReport:
    """Open every object, compare it with what was ingested, and account for everything on storage.

    A failure is a finding, and verify goes on to the end. What a writer left within the last 24 hours is in flight, and
    no finding.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        prune: delete afterwards what no commit took and what was replaced, once it is 24 hours old; needs the pin.
        reset_horizon: with `prune`, set times of the head that are later than storage's clock back. No other prune may
            be running, and storage's clock must be right.
        before_prune: is called with what was found before anything is deleted; what it raises stops the prune.
        threads: objects opened side by side; None: one for each CPU, at most 8.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: the corpus that is meant, as `securedata info` prints it. None: from the config.
        single_writer: prune on storage on which two writers could lose rows: nobody else ever writes there.
        accept_generation: a head of this generation is no finding although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (objects done, objects in all, bytes done, bytes in all), once more from 0 for what is deleted.
        ttl: seconds that the keys may be used before the KMS is asked again.
        kms_wait: seconds that a read waits, after the deadline, for a KMS that is away.
        storage: the storage to use in place of the one that the root names, for tests and benchmarks.

    Returns:
        What was found, less what a prune has mended; `ok` is True if nothing is left.

    Raises:
        InvalidArgument: `reset_horizon` or `before_prune` without `prune`.
        NotACorpus, CorpusGone, PinMismatch, NoTrustedKey, KMSDenied, FormatError, ...: the head cannot be opened.
        KeysExpired, KMSDenied: the keys ended while objects were still to be opened.
        StorageError: storage cannot be listed.
        PinRequired: before any call, with `prune` and without the pin.
        UnconfirmedGeneration, HorizonInFuture, PartMissing, ...: the prune was refused, and nothing was deleted.

    Example:
        report = sd.verify("voice-a")
        print(report.objects_opened, "objects opened,", len(report.findings), "findings")
        assert report.ok, report.counts()
    """
    reference = resolve(target, kms, pin)
    check_progress(progress)
    prune, reset_horizon = as_flag("prune", prune), as_flag("reset_horizon", reset_horizon)
    if not prune and (reset_horizon or before_prune is not None):
        raise InvalidArgument(f"{'--reset-horizon' if reset_horizon else 'before_prune='} goes with --prune")
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    ttl, kms_wait = as_seconds("ttl", ttl), as_seconds("kms_wait", kms_wait)
    if prune:
        reference.require_pin()
    at_once = as_whole("threads", threads, 1, MAX_THREADS) if threads is not None else min(8, os.cpu_count() or 1)
    reference = reference.without_role()  # a role's session may not list
    lease = HeadLease(
        reference, connect(reference, storage=storage), ttl, kms_wait, accept_generation=accept_generation
    )
    with reporting(progress, "verifying") as told:
        report = Verification(lease).run(at_once, told)
    if prune:
        if before_prune is not None:
            before_prune(report)
        report.pruned = _pruned(reference, reset_horizon, single_writer, accept_generation, progress, storage)
        report.findings = [one for one in report.findings if not report.pruned.done_with(one)]
    return report


def _pruned(
    reference: Reference,
    reset_horizon: bool,
    single_writer: bool,
    accept_generation: int | None,
    progress: bool | Progress | None,
    storage: Storage | None,
) -> PruneReport:
    writer = open_for_pruning(
        reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage
    )
    with reporting(progress, "pruning") as told:
        return prune_unnamed(writer, told, reset_horizon=reset_horizon)
