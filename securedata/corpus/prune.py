"""Deletes what the head of a corpus names nowhere, and what was replaced, once it is a day old."""

from __future__ import annotations

from securedata.corpus.census import Listing, named_now
from securedata.corpus.commit import Writer
from securedata.corpus.head import Head
from securedata.corpus.report import PruneReport
from securedata.corpus.verify import Progress
from securedata.errors import UnknownVersion


def prune(writer: Writer, progress: Progress | None = None) -> PruneReport:
    """Delete what the head names nowhere and was stored before a horizon that is committed first.

    A writer whose objects are older than the horizon of the head that it replaces seals them anew: so nothing that is
    deleted here can be committed afterwards. What is on a leaving list counts as named until its day is over.

    Raises:
        PartMissing, FormatError, ...: a part or a leaving list cannot be read; nothing was deleted, for what it names
            is not known.
        UnknownVersion: a newer securedata wrote the head.
        CommitRace, StorageError, ...
    """
    before = {one.table.storage_key for one in writer.refresh().leaving}
    _refuse_unknown(writer.head)
    head = writer.commit_horizon()
    report = PruneReport(writer.root, head.generation, head.horizon)
    report.cleared = sorted(before - {one.table.storage_key for one in head.leaving})
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
