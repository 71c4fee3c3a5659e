"""Delete what the head of a corpus does not name, and what was replaced, once it is a day old."""

from __future__ import annotations

from securedata.corpus.check.inventory import Listing, named_now
from securedata.corpus.check.report import PruneReport
from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.progress import Progress
from securedata.corpus.state.head import Head
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.seen import recall
from securedata.corpus.state.writer_lease import unconfirmed
from securedata.corpus.writer import Writer
from securedata.errors import UnknownVersion
from securedata.storage.base import Storage


def open_for_pruning(
    reference: Reference,
    *,
    single_writer: bool = False,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> Writer:
    """Open a writer that may prune. If it is refused, this machine does not record the corpus as seen.

    Raises:
        PinRequired: the pin is missing; no request was made.
        UnconfirmedGeneration: this machine has not seen the corpus, and no generation was given.
        as `Writer`
    """
    pin = reference.require_pin()
    if accept_generation is None and recall(pin.corpus_id) is None:
        lease = HeadLease(reference, connect(reference, storage=storage), 0.0, 0.0)
        raise unconfirmed(reference.root, lease.open().head.generation)
    return Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)


def prune(writer: Writer, progress: Progress | None = None, *, reset_horizon: bool = False) -> PruneReport:
    """Delete what the head does not name and was stored before a horizon that is committed first.

    A writer must seal objects again that are older than the horizon of the head that it replaces, so nothing deleted
    here can be committed afterwards. Entries of a leaving list count as named until the list is a day old.

    Args:
        reset_horizon: set a horizon that is later than storage's time back to a day before it, and later times of
            leaving lists to now. The caller has checked that storage's clock is right and that no other prune runs.

    Raises:
        HorizonInFuture: the horizon is later than storage's time, without `reset_horizon`; nothing was deleted.
        PartMissing, FormatError, ...: a part or a leaving list cannot be read; nothing was deleted, since what it
            names is unknown.
        UnconfirmedGeneration: this machine had not seen the corpus before `writer` was opened; see `open_for_pruning`.
        OlderGeneration: storage still has a head that this one does not follow from.
        UnknownVersion: a newer securedata wrote the head.
        CommitRace, StorageError, ...
    """
    before = {one.table.storage_key for one in writer.refresh().retired}
    writer.require_newest()
    _refuse_unknown(writer.head)
    head = writer.commit_horizon(reset_horizon)
    report = PruneReport(writer.root, head.generation, head.horizon, reset=reset_horizon)
    report.cleared = sorted(before - {one.table.storage_key for one in head.retired})
    listing = Listing(writer.storage, before=head.horizon)
    head, named = named_now(writer.refresh, writer.storage)
    _refuse_unknown(head)
    unnamed = [entry for _, entry in listing.unnamed(named)]
    total = sum(entry.size for entry in unnamed)
    for entry in unnamed:
        writer.storage.delete(entry.key)
        report.deleted.add(entry.key)
        report.deleted_bytes += entry.size
        if progress:
            progress(len(report.deleted), len(unnamed), report.deleted_bytes, total)
    return report


def _refuse_unknown(head: Head) -> None:
    if head.unknown:
        raise UnknownVersion(
            f"the head has {', '.join(sorted(head.unknown))}, which this version of securedata does not know; "
            "whatever they name must not be deleted: update securedata, then prune"
        )
