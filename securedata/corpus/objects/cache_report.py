"""What the cache on this host holds of a corpus, and deleting it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from securedata.corpus.config import Reference, resolve
from securedata.corpus.connection import connect
from securedata.corpus.objects.cache import CACHE, SIZE, cached_reads, evict_unnamed, with_cache
from securedata.corpus.objects.counters import Counters
from securedata.corpus.option_values import as_flag
from securedata.corpus.state.head import MAX_SEALED, peek
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.lease import HeadLease, explain_missing_head
from securedata.errors import CorpusBusy, InvalidArgument, StorageUnreachable
from securedata.foreign.describe import describe
from securedata.storage.beneath import Root
from securedata.storage.cache.counts import Counts, forget_counts, read_counts
from securedata.storage.cache.entry import SHARDS
from securedata.storage.cache.folder import open_folder
from securedata.storage.cache.ledger import Busy, Uncounted, locked
from securedata.storage.cache.shards import Census, census, delete

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The cache of a corpus on this host. Sizes in bytes of sealed objects.

    Attributes:
        folder, limit: where it is, and how much it takes at most, all corpora together.
        entries, bytes: what it holds of this corpus, in files and in blocks of 4 kB.
        total_bytes: of all corpora.
        foreign: files in it that are not securedata's.
        hits, misses: ranges that were read from it, and that it did not have, since it was made or cleared.
        hit_bytes: read from it.
        errors: failures of the disk.
        deleted: entries of this corpus that this call deleted.
    """

    folder: str
    limit: int
    entries: int = 0
    bytes: int = 0
    total_bytes: int = 0
    foreign: int = 0
    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    errors: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        deleted = f", {self.deleted} deleted" if self.deleted else ""
        holds = f"{self.entries} entries, {self.bytes} bytes{deleted}"
        return f"{self.folder}: {holds}; {self.hits} hits, {self.misses} misses"


def cache(
    target: str | os.PathLike[str] | Reference,
    *,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    evict: bool = False,
    clear: bool = False,
) -> CacheReport:
    """What the cache on this host holds of a corpus. Deletes nothing unless asked to.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        kms, pin: as `open_corpus` takes them.
        folder: where the cache is; None: from the config or SECUREDATA_CACHE.
        evict: delete what the current manifest no longer names: what was erased, removed or sealed again.
        clear: delete all that it has of this corpus, and set the counts to zero. Neither storage nor KMS is asked if
            the pin is known.

    Returns:
        What it holds now, and how often it was used.

    Raises:
        InvalidArgument: no cache is set for the corpus.
        CorpusBusy: other processes keep writing to the cache; what was deleted is deleted.
        StorageUnreachable: the folder cannot be read.
        as `open_corpus`, if the head must be read

    Example:
        report = sd.cache("voice-a", folder="./kept")
        print(report.entries, report.hits, report.misses)
    """
    evict, clear = as_flag("evict", evict), as_flag("clear", clear)
    reference = with_cache(resolve(target, kms, pin), folder)
    if CACHE not in reference.options:
        raise InvalidArgument(
            f"no cache is set for {reference.root}: set cache in its entry in the config file, or SECUREDATA_CACHE"
        )
    deleted = _evict(reference) if evict else 0
    corpus = _corpus_id(reference).hex()
    empty = CacheReport(reference.options[CACHE], int(reference.options[SIZE]), deleted=deleted)
    try:
        root = open_folder(empty.folder, make=False)
        if clear:
            deleted += _clear(root, corpus)
        held, counts = census(root, corpus), read_counts(root, corpus)
    except (FileNotFoundError, NotADirectoryError):
        return empty
    except OSError as error:
        raise StorageUnreachable(f"the cache in {empty.folder} cannot be read: {describe(error)}") from None
    return _report(empty, held, counts, deleted)


def _report(empty: CacheReport, held: Census, counts: Counts, deleted: int) -> CacheReport:
    return CacheReport(
        empty.folder,
        empty.limit,
        held.entries,
        held.size,
        held.total,
        held.foreign,
        counts.hits,
        counts.misses,
        counts.size,
        counts.errors,
        deleted,
    )


def _evict(reference: Reference) -> int:
    connection = connect(reference)
    lease = HeadLease(reference, connection, 3600.0, 0.0)
    head = lease.open().head
    reads = cached_reads(reference, connection.storage, head.corpus_id, Counters)
    assert reads is not None
    return evict_unnamed(reads, head, always=True)


def _corpus_id(reference: Reference) -> bytes:
    if len(reference.pins) == 1:
        return reference.pins[0].corpus_id
    storage = connect(reference).storage
    data = explain_missing_head(reference, storage, lambda: storage.get(HEAD, MAX_SEALED))
    return peek(data, reference.root)[0].corpus_id


def _clear(root: Root, corpus: str) -> int:
    """Raises CorpusBusy, OSError."""
    deleted = 0
    until = time.monotonic() + _PATIENCE
    for shard in range(SHARDS):
        while True:
            try:
                deleted += delete(root, shard, lambda entry: entry.corpus == corpus).files
                break
            except Busy:
                if time.monotonic() > until:
                    raise CorpusBusy(
                        "other processes keep writing to the cache: run it again, or end them first"
                    ) from None
                time.sleep(0.01)
    forget_counts(root, corpus)
    return deleted


def brief(reference: Reference, corpus_id: bytes) -> dict[str, object] | None:
    """Size, limit and hits of the cache of a corpus, without looking at its entries; None without a cache."""
    reference = with_cache(reference)
    if CACHE not in reference.options:
        return None
    used: int | None = 0
    counts = Counts()
    with contextlib.suppress(OSError):
        root = open_folder(reference.options[CACHE], make=False)
        counts = read_counts(root, corpus_id.hex())
        try:
            with locked(root) as ledger:
                used = sum(ledger.used())
        except (Busy, Uncounted):
            used = None
    return {
        "folder": reference.options[CACHE],
        "limit": int(reference.options[SIZE]),
        "total_bytes": used,
        "hits": counts.hits,
        "misses": counts.misses,
        "hit_bytes": counts.size,
    }
