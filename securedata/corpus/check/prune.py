"""Deletes what the head of a corpus names nowhere, and what was replaced, once it is a day old."""

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
    """A writer that may prune. Where this machine has not seen the corpus, nothing is noted that would tell otherwise.

    Raises:
        PinRequired: before any call.
        UnconfirmedGeneration: this machine has not seen the corpus, and no generation was named.
        as `Writer`
    """
    pin = reference.require_pin()
    if accept_generation is None and recall(pin.corpus_id) is None:
        lease = HeadLease(reference, connect(reference, storage=storage), 0.0, 0.0)
        raise unconfirmed(reference.root, lease.open().head.generation)
    return Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)


def prune(writer: Writer, progress: Progress | None = None, *, reset_horizon: bool = False) -> PruneReport:
    """Delete what the head names nowhere and was stored before a horizon that is committed first.

    A writer whose objects are older than the horizon of the head that it replaces seals them anew: so nothing that is
    deleted here can be committed afterwards. What is on a leaving list counts as named until its day is over.

    Args:
        reset_horizon: set a horizon that is later than storage's time back to a day before it, and times of what leaves
            to now. The caller has seen that storage's clock is right and that no other prune is running.

    Raises:
        HorizonInFuture: it is later than storage's time, and not to be reset; nothing was moved or deleted.
        PartMissing, FormatError, ...: a part or a leaving list cannot be read; nothing was deleted, for what it names
            is not known.
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
            f"the head holds {', '.join(sorted(head.unknown))}, which this securedata does not know, and "
            "what they name must not be deleted: update securedata, then prune"
        )
