"""Open a corpus for reading."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.connection import connect
from securedata.corpus.objects.cache import try_evict_unnamed, with_cache
from securedata.corpus.option_values import as_flag, as_seconds, as_text, as_texts, as_whole
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.loading import Look, Options, load_index, speaker_tags
from securedata.corpus.schema import TRAINING
from securedata.corpus.state.consent import as_purpose
from securedata.corpus.state.head import Head, Seen
from securedata.corpus.state.lease import HeadLease
from securedata.storage.base import Storage


class UnpinnedWarning(UserWarning):
    """A corpus was opened without a pin: anyone who can swap the storage can choose what is read."""


def open_corpus(
    target: str | os.PathLike[str] | Reference,
    *,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    filter: pc.Expression | None = None,
    speakers: str | Sequence[str] | None = None,
    role: str | None = None,
    purpose: str | None = None,
    ttl: float = 3600.0,
    kms_wait: float = 600.0,
    refresh: bool = False,
    accept_generation: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    storage: Storage | None = None,
    look: Look | None = None,
    others: bool = True,
    seen: Mapping[bytes, Seen] | None = None,
) -> Corpus:
    """Open a corpus for reading.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        kms: KMS URIs that are trusted to unwrap the corpus key, in the order to try.
        pin: identifies the corpus, as `securedata info` prints it. Without one, a warning shows it.
        columns: manifest columns to keep in memory besides path, subjects, format and subtype; None: those that
            training needs.
        filter: a pyarrow expression over the manifest's columns; only rows that match are kept, with their keys.
        speakers: keep only rows of these speakers. A pickle holds their tags under the corpus's secret, whereas
            names in `filter` are pickled as they are.
        role: ARN of a role to assume, under a policy limited to this corpus; needs the pin.
        purpose: what the recordings are read for, such as 'asr'; None: from the config. Recordings without consent to
            it are left out, as are, with or without a purpose, those whose consent has ended: see docs/consent.md.
        ttl: seconds that the keys may be used before the KMS is asked again.
        kms_wait: seconds that a read waits, after that deadline, for a KMS that does not answer.
        refresh: a pickle of this corpus may be opened at a newer generation than the one it was made from.
        accept_generation: read a head of this generation, and no other, although this machine has seen a newer one:
            the corpus is a copy or a backup. It applies to this opening, its workers and its pickles.
        cache: a folder on a local disk in which sealed objects are kept, for all processes of this host; 'off' for
            none. None: from the config or SECUREDATA_CACHE. See docs/cache.md.
        cache_size: bytes that it takes at most, such as '200GB'. None: from the config or SECUREDATA_CACHE_SIZE, else
            10 GB.
        storage: used instead of the one that the root names, for tests and benchmarks.
        look: called with the rows of every manifest part before the filter, without keys, while the corpus is opened.
        others: False leaves out the files that are neither recordings nor features; `Corpus.others` counts them.
        seen: `Corpus.seen` of an earlier opening that this one continues; an older head is refused.

    Raises:
        InvalidArgument: an option has a wrong type or value.
        OlderGeneration, SupersededKey: an old head was put back, as far as this machine knows.
        PurposeRequired: the corpus opens only with a purpose named.
        ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

    Example:
        with sd.open_corpus("voice-a") as corpus:
            print(corpus.table.select(["path", "speaker"]).slice(0, 2))
            data = corpus.read("ann/utt0.wav")  # a bytearray, never a file
    """
    speakers = None if speakers is None else as_texts("speakers", speakers)
    reference, options = prepare(
        target, kms, pin, columns, filter, role, purpose, ttl, kms_wait, refresh, accept_generation, cache, cache_size
    )
    return _open(reference, replace(options, others=as_flag("others", others)), storage, look, speakers, seen)


def prepare(
    target: str | os.PathLike[str] | Reference,
    kms: str | Sequence[str] | None,
    pin: str | Sequence[str] | None,
    columns: str | Sequence[str] | None,
    filter: pc.Expression | None,
    role: str | None,
    purpose: str | None,
    ttl: float,
    kms_wait: float,
    refresh: bool,
    accept_generation: int | None,
    cache: str | os.PathLike[str] | None,
    cache_size: int | str | None,
) -> tuple[Reference, Options]:
    """What the arguments of `open_corpus` mean. Raises InvalidArgument, ConfigError"""
    ttl, kms_wait = as_seconds("ttl", ttl), as_seconds("kms_wait", kms_wait)
    refresh = as_flag("refresh", refresh)
    # a string is one name, not a list of letters
    columns = None if columns is None else as_texts("columns", columns)
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    reference = resolve(target, kms, pin)
    # path finds rows; subjects tell an erased person's object from a lost one
    kept = TRAINING if columns is None else tuple(dict.fromkeys(("path", "subjects", "format", "subtype", *columns)))
    purpose = reference.options.get("purpose") if purpose is None else purpose
    purpose = None if purpose is None else as_purpose(purpose)
    options = Options(kept, filter, ttl, kms_wait, refresh, accept_generation, purpose=purpose)
    if role is not None:
        reference = replace(reference, options={**reference.options, "role": as_text("role", role)})
    return with_cache(reference, cache, cache_size), options


def open_manifest(
    target: str | os.PathLike[str] | Reference,
    *,
    columns: Sequence[str],
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> Corpus:
    """Open a corpus to list and count all of its rows, whatever their consent; their objects cannot be read.

    `Corpus.left_out` counts what reading, for the purpose of the config if it names one, would leave out.

    Raises:
        as `open_corpus`, but never PurposeRequired
    """
    reference = resolve(target)
    kept = tuple(dict.fromkeys(("path", "subjects", "format", "subtype", *columns)))
    purpose = reference.options.get("purpose")
    options = Options(kept, None, 3600.0, 600.0, False, accept_generation, purpose=purpose, listed=True)
    return _open(reference, options, storage)


def open_for_case(
    reference: Reference,
    case: str,
    *,
    columns: Sequence[str],
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> Corpus:
    """Open the rows of people whom a case holds, whatever their consent, and restricted or not: for those who work on
    the case.

    Raises:
        NoSuchHold: the case holds nobody.
        as `open_corpus`, but never PurposeRequired
    """
    kept = tuple(dict.fromkeys(("path", "subjects", "format", "subtype", *columns)))
    return _open(reference, Options(kept, None, 3600.0, 600.0, False, accept_generation, held=case), storage)


def _open(
    reference: Reference,
    options: Options,
    storage: Storage | None,
    look: Look | None = None,
    speakers: Sequence[str] | None = None,
    seen: Mapping[bytes, Seen] | None = None,
) -> Corpus:
    accept = options.accept_generation
    connection = connect(reference, storage=storage)
    lease = HeadLease(reference, connection, options.ttl, options.kms_wait, accept_generation=accept, seen=seen)
    opened, index = load_index(lease, options, look, speakers)
    if speakers is not None:
        options = replace(options, speakers=speaker_tags(opened.head, speakers))
    warn_unpinned(reference, opened.head)
    lease.begin(opened)
    corpus = Corpus(lease, options, opened.head, index)
    if corpus.snapshot.cache is not None and not options.listed:
        try_evict_unnamed(corpus.snapshot.cache, opened.head)
    return corpus


def warn_unpinned(reference: Reference, head: Head) -> None:
    """Warn the caller of the function that opens, if no pin was given."""
    if not reference.pins:
        warnings.warn(
            f"{reference.root} was opened without a pin; if it is the corpus you mean, pin it: {head.pin}",
            UnpinnedWarning,
            stacklevel=4,
        )
