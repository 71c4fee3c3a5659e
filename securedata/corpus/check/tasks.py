"""Open objects and compare them with their rows: the tasks of `verify`, in threads or in other processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.objects.fetch import PIECE, expect_of, extent_of, open_in_pieces, open_piece
from securedata.corpus.objects.neighbours import MOST, fetch_joined
from securedata.corpus.rows.index import Location
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.tasks.pool import Work
from securedata.corpus.tasks.worker import Worker
from securedata.errors import FormatError, MalformedManifest, SecuredataError, StorageError
from securedata.format.cobblestone import Buffer
from securedata.storage.base import Storage
from securedata.storage.base import Wanted as Range

_TTL, _KMS_WAIT = 3600.0, 600.0

Outcome = tuple[SecuredataError | None, int]
"""Of one object: the error if it does not open, and its size in bytes."""


class Batch(NamedTuple):
    """Objects of one part: for each, the rows of the table that share it."""

    table: pa.Table
    objects: list[list[int]]

    def __repr__(self) -> str:
        return "Batch(...)"  # neither its rows nor their keys


class Wanted(NamedTuple):
    """An object as its row names it."""

    location: Location
    data_key: bytes
    sha256: bytes

    def __repr__(self) -> str:
        return "Wanted(...)"  # without the key


def wanted_of(batch: Batch) -> list[Wanted]:
    """The objects of a batch."""
    names = (*Location._fields, "data_key", "source_sha256")
    table = batch.table.select(names).take(pa.array([rows[0] for rows in batch.objects], pa.int64()))
    columns = [table.column(name).to_pylist() for name in names]
    return [Wanted(Location(*cells[:-2]), *cells[-2:]) for cells in zip(*columns, strict=True)]


def open_objects(
    wanted: Iterable[Wanted], storage: Storage, corpus_id: bytes, root: str, check: Callable[[], object]
) -> list[Outcome]:
    """Open objects; `check` renews the keys, and is called before every fetch. Raises KeysExpired, ..."""
    objects = list(wanted)
    found: list[Outcome | None] = [None] * len(objects)
    for at, got in _members(objects, storage, corpus_id, root, check):
        found[at] = _outcome(partial(_open_member, objects[at], got, corpus_id, root))
    # what is not in a pack, or too large for a request with others
    return [
        one or _outcome(partial(_open, objects[at], storage, corpus_id, root, check)) for at, one in enumerate(found)
    ]


def _outcome(opened: Callable[[], int]) -> Outcome:
    try:
        return None, opened()
    except (FormatError, MalformedManifest, StorageError) as error:
        return error, 0


def _members(
    objects: Sequence[Wanted], storage: Storage, corpus_id: bytes, root: str, check: Callable[[], object]
) -> Iterator[tuple[int, Buffer | SecuredataError]]:
    """The small ones in packs, with neighbours by one request; `check` is called before each."""
    ranges: list[Range] = []
    asked: list[int] = []
    for at, one in enumerate(objects):
        if one.location.pack is None or one.location.sealed_size > PIECE:
            continue
        try:
            key, base, [(_, length)] = extent_of(one.location, expect_of(one.location, corpus_id, root), 0, None)
        except FormatError:  # which opening it alone raises again
            continue
        ranges.append(Range(key, base, length, one.location.sealed_size))
        asked.append(at)
    if ranges:
        check()
    for number, got in fetch_joined(storage, ranges, [True] * len(ranges), MOST):
        yield asked[number], got
        check()


def _open_member(one: Wanted, got: Buffer | SecuredataError, corpus_id: bytes, root: str) -> int:
    if isinstance(got, SecuredataError):
        raise got
    expect = expect_of(one.location, corpus_id, root)
    return _compare(one, [open_piece(one.data_key, [got], [], 0, None, expect)], corpus_id, root)


def _open(one: Wanted, storage: Storage, corpus_id: bytes, root: str, check: Callable[[], object]) -> int:
    """Fetch and open one object in pieces, and compare it with its row; returns its size in bytes."""
    expect = expect_of(one.location, corpus_id, root)
    return _compare(one, open_in_pieces(storage, one.location, one.data_key, expect, check), corpus_id, root)


def _compare(one: Wanted, pieces: Iterable[Buffer], corpus_id: bytes, root: str) -> int:
    expect = expect_of(one.location, corpus_id, root)
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    if size != one.location.size or digest.digest() != one.sha256:
        short = size != one.location.size
        what = f"{size} bytes, not the {one.location.size} that" if short else "other content than"
        raise MalformedManifest(
            f"{expect.name} is authentic but holds {what} its row says; ingest the file again with --replace",
            root=root,
            object_id=one.location.object_id,
        )
    return size


class VerifyWork(Work[Batch, list[Outcome]]):
    """Open the objects of batches."""

    worker = "securedata.corpus.check.tasks:VerifyWorker"

    def __init__(self, lease: HeadLease, opened: OpenedHead) -> None:
        self._lease, self._opened = lease, opened

    def do(self, task: Batch) -> list[Outcome]:
        corpus_id = self._opened.head.corpus_id
        return open_objects(wanted_of(task), self._lease.storage, corpus_id, self._lease.root, self._lease.check)

    @property
    def reference(self) -> Reference:
        return self._lease.reference

    def opened(self, again: bool) -> OpenedHead:
        return self._lease.open() if again else self._opened

    def settings(self) -> Any:
        return None

    def pack(self, task: Batch) -> Any:
        return [tuple(one) for one in wanted_of(task)]

    def unpack(self, task: Batch, answer: Any) -> list[Outcome]:
        found: list[Outcome] = answer
        return found


class VerifyWorker(Worker):
    """The corpus opened for reading. What this machine has seen of it is the driver's to report."""

    def __init__(self, reference: Reference, single_writer: bool) -> None:
        self._lease = HeadLease(reference, connect(reference), _TTL, _KMS_WAIT)
        self._lease.disregard_machine()
        self._opened = self._lease.open()
        self._lease.begin(self._opened)

    def opened(self, again: bool) -> OpenedHead:
        if again:
            self._opened = self._lease.open()
        return self._opened

    def begin(self, settings: Any) -> None:
        """There is nothing to take."""

    def do(self, task: Any) -> Any:
        wanted = [Wanted(Location(*location), key, sha256) for location, key, sha256 in task]
        corpus_id = self._opened.head.corpus_id
        return open_objects(wanted, self._lease.storage, corpus_id, self._lease.root, self._lease.check)
