"""The cache of sealed objects: where it is, and what leaves it when people are erased.

    cache = "/nvme/securedata"      in the corpus's entry, as the argument cache=, or as SECUREDATA_CACHE
    cache_size = "200GB"            likewise: cache_size=, SECUREDATA_CACHE_SIZE

Only objects and packs pass through it, as they are stored: heads, manifests and leaving lists are read from storage
itself, as are the objects that `verify` reads. It is below the decryption, so what it holds opens with a living grant
or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from securedata.corpus.config import Reference
from securedata.corpus.objects.counters import Counters
from securedata.corpus.option_values import as_bytes, as_text
from securedata.corpus.rows.index import Index
from securedata.corpus.state.head import Head
from securedata.corpus.state.layout import OBJECTS, PACKS
from securedata.corpus.state.lifecycle import erasures_of
from securedata.corpus.state.tables import read_table
from securedata.errors import InvalidArgument, SecuredataError
from securedata.storage.base import Storage
from securedata.storage.cache.entry import Entry
from securedata.storage.cache.folder import CacheFolder
from securedata.storage.cache.reads import CachedReads

CACHE, SIZE = "cache", "cache_size"
OFF = "off"
"""A value of `cache` that switches it off."""

_DEFAULT = "10GB"
_LEAST = 16 * 1024 * 1024
_NO_ERASURE = bytes(16)

_log = logging.getLogger("securedata")


def with_cache(
    reference: Reference, cache: str | os.PathLike[str] | None = None, cache_size: int | str | None = None
) -> Reference:
    """The reference with the settings of its cache: the arguments, else its entry's, else those of the environment.

    Raises:
        InvalidArgument: no folder on this machine, inside the corpus or around it; no size.
    """
    options = {name: value for name, value in reference.options.items() if name not in (CACHE, SIZE)}
    place = _first(cache, reference.options.get(CACHE), os.environ.get("SECUREDATA_CACHE"))
    if place is None or place == OFF:
        return replace(reference, options=options)
    place = _folder(as_text(CACHE, os.fspath(place) if isinstance(place, os.PathLike) else place), reference.root)
    limit = as_bytes(
        SIZE, _first(cache_size, reference.options.get(SIZE), os.environ.get("SECUREDATA_CACHE_SIZE"), _DEFAULT)
    )
    if limit < _LEAST:
        raise InvalidArgument(f"cache_size= must be at least {_LEAST // 1024**2} MiB, not {limit} bytes")
    return replace(reference, options={**options, CACHE: place, SIZE: str(limit)})


def _first(*values: object) -> object:
    return next((one for one in values if one is not None and one != ""), None)


def _folder(place: str, root: str) -> str:
    if "://" in place or "\0" in place:
        raise InvalidArgument("cache= must be a folder on a local disk, such as /nvme/securedata")
    place = os.path.realpath(os.path.expanduser(place))
    if "://" not in root and (
        root == place or f"{root}/".startswith(f"{place}/") or f"{place}/".startswith(f"{root}/")
    ):
        raise InvalidArgument(f"the cache {place} and the corpus {root} must not be inside each other", root=root)
    return place


def cached_reads(
    reference: Reference, storage: Storage, corpus_id: bytes, counters: Callable[[], Counters]
) -> CachedReads | None:
    """Reads through the cache that the reference names; None: it names none."""
    if CACHE not in reference.options:
        return None
    folder = CacheFolder(reference.options[CACHE], as_bytes(SIZE, reference.options.get(SIZE, _DEFAULT)))
    return CachedReads(storage, folder, corpus_id, (OBJECTS, PACKS), counters)


def evict_rows(reads: CachedReads, index: Index, rows: Iterable[int]) -> int:
    """Delete what the cache has of the objects of some rows; returns the number of files."""
    places = map(index.location, rows)
    return reads.evict(
        (one.object_id if one.pack is None else one.pack, one.offset or 0, one.sealed_size, one.pack is not None)
        for one in places
    )


def evict_unnamed(reads: CachedReads, head: Head, *, always: bool = False) -> int:
    """Delete entries that the head's manifest does not name, once on this host after each erasure.

    That reads all parts, since a filter may have left out of an index what other jobs have cached.

    Args:
        always: also if there was no erasure.

    Returns:
        The number of files.

    Raises:
        FormatError, MalformedManifest, StorageError
    """
    ids = sorted(erasures_of(head))
    mark = hashlib.sha256(" ".join(ids).encode()).digest()[:16] if ids else _NO_ERASURE
    if not always and (not ids or reads.swept() == mark):
        return 0
    with reads.sweeping() as mine:
        if not mine:
            return 0
        entries = reads.entries()
        named = _named(reads.storage, head, entries)
        done = reads.drop(entry for entry, stays in zip(entries, named, strict=True) if not stays)
        reads.note_swept(mark)
        return done


def try_evict_unnamed(reads: CachedReads, head: Head) -> None:
    """As `evict_unnamed`; an error is logged, since reading does not depend on it. The next opening tries again."""
    try:
        evict_unnamed(reads, head)
    except SecuredataError as error:
        _log.warning("the cache may still hold sealed objects of people who were erased: %s", error)


def _named(storage: Storage, head: Head, entries: list[Entry]) -> NDArray[np.bool_]:
    """Does the manifest name all bytes of each entry?"""
    named = np.zeros(len(entries), dtype=bool)
    if not entries:
        return named
    ids = pa.array([bytes.fromhex(one.stored) for one in entries], pa.binary(16))
    packed: dict[bytes, list[tuple[int, int]]] = {}
    for part in head.parts:
        table = read_table(storage, head.corpus_id, part, ["object_id", "pack", "offset", "sealed_size"])
        packs = table.column("pack")
        alone = table.filter(pc.is_null(packs)).column("object_id").combine_chunks()
        named |= np.asarray(pc.is_in(ids, value_set=alone))
        members = table.filter(pc.is_in(packs, value_set=ids)).select(["pack", "offset", "sealed_size"])
        for pack, offset, size in zip(*(column.to_pylist() for column in members.columns), strict=True):
            packed.setdefault(pack, []).append((offset or 0, size))
    for extents in packed.values():
        extents.sort()
    for at, one in enumerate(entries):
        if extents := packed.get(bytes.fromhex(one.stored), []):
            named[at] = covered(one.offset, one.length, extents)
    return named


def covered(offset: int, length: int, extents: list[tuple[int, int]]) -> bool:
    """Do sorted extents, which do not overlap, cover a range without a hole?"""
    end = offset + length
    for start, size in extents[max(0, bisect_right(extents, (offset, math.inf)) - 1) :]:
        if start > offset:
            break
        offset = max(offset, start + size)
        if offset >= end:
            return True
    return False
