"""`verify`: check every row and object of a corpus, find orphans, and prune on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from securedata.corpus.check.prune import open_for_pruning
from securedata.corpus.check.prune import prune as prune_unnamed
from securedata.corpus.check.report import PruneReport, VerifyReport, without_advice
from securedata.corpus.check.verification import Verification
from securedata.corpus.config import Reference, resolve
from securedata.corpus.connection import connect
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_seconds, as_whole
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.tasks.engine import Engine, check_engine, executor_of
from securedata.errors import FormatError, InvalidArgument
from securedata.storage.base import Storage


def verify(
    target: str | os.PathLike[str] | Reference,
    *,
    prune: bool = False,
    reset_horizon: bool = False,
    before_prune: Callable[[VerifyReport], object] | None = None,
    threads: int | None = None,
    engine: Engine = "local",
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

    A failure is a finding, and verify goes on. Whatever a writer left within the last 24 hours counts as in flight, not
    as a finding.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        prune: afterwards, delete what no commit names and what was replaced, once it is 24 hours old; needs the pin.
        reset_horizon: with `prune`, set back times of the head that are later than storage's clock. No other prune may
            be running, and storage's clock must be right.
        before_prune: called with the report before anything is deleted; an exception from it stops the prune.
        threads: objects opened in parallel; None: one per CPU, at most 8.
        engine: 'local': objects are opened by threads of this process; 'ray': by tasks of a Ray cluster; or an executor
            of processes. See docs/scale.md.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        single_writer: prune on storage where two writers could lose rows; nobody else may ever write there.
        accept_generation: a head of this generation is not a finding, although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (objects done, objects in total, bytes done, bytes in total), and again from 0 for the prune.
        ttl: seconds that the keys may be used before the KMS is asked again.
        kms_wait: seconds that a read waits, after that deadline, for a KMS that does not answer.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The report, without findings that a prune has settled; `ok` is True if there are none left.

    Raises:
        InvalidArgument: `reset_horizon` or `before_prune` without `prune`.
        NotACorpus, CorpusGone, PinMismatch, NoTrustedKey, KMSDenied, FormatError, ...: the head cannot be opened.
        KeysExpired, KMSDenied: the keys expired before all objects were opened.
        StorageError: storage cannot be listed.
        PinRequired: `prune` without the pin; no request was made.
        UnconfirmedGeneration, HorizonInFuture, PartMissing, ...: the prune was refused, and nothing was deleted.

    Example:
        report = sd.verify("voice-a")
        print(report)
        assert report.ok, report.counts()
    """
    reference = resolve(target, kms, pin)
    check_progress(progress)
    prune, reset_horizon = as_flag("prune", prune), as_flag("reset_horizon", reset_horizon)
    engine = check_engine(engine, storage)
    if not prune and (reset_horizon or before_prune is not None):
        raise InvalidArgument(f"{'--reset-horizon' if reset_horizon else 'before_prune='} needs --prune")
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    ttl, kms_wait = as_seconds("ttl", ttl), as_seconds("kms_wait", kms_wait)
    if prune:
        reference.require_pin()
    at_once = as_whole("threads", threads, 1, MAX_THREADS) if threads is not None else min(8, os.cpu_count() or 1)
    reference = reference.without_role()  # a role's session cannot list
    connection = connect(reference, storage=storage)
    try:
        lease = HeadLease(reference, connection, ttl, kms_wait, accept_generation=accept_generation)
        with executor_of(engine) as executor, reporting(progress, "verifying") as notify:
            report = Verification(lease).run(at_once, notify, executor)
    except FormatError as error:
        error.args = (without_advice(str(error), "restore it from a backup"),)
        raise
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
    with reporting(progress, "pruning") as notify:
        return prune_unnamed(writer, notify, reset_horizon=reset_horizon)
