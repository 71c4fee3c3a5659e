"""Put a new object on storage, and check that it opens before a commit names it.

Storage that verifies a checksum of what it receives holds exactly what it was sent: there, each piece is opened again
in memory before it is sent. From any other storage the object is read back.

Ids are random and never reused. If storage refuses a new id because it exists, an intermediary has sent the put twice
and the first one landed: the object is read back, and counts as put if it is the same.

If a writer is suspended for a day, a prune may delete its object before it is read back. The object then counts as put
and is stale for every commit, so it is sealed again under a new id, like everything that a prune deleted.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from securedata.clocks import Moment
from securedata.corpus.objects.fetch import expect_of, open_in_pieces
from securedata.corpus.rows.index import Location
from securedata.corpus.state.layout import object_key
from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    AuthenticationFailed,
    NotFound,
    PreconditionFailed,
    StorageError,
)
from securedata.format.cobblestone import Buffer
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, check_sealed, seal, seal_stream
from securedata.storage.base import CLOCK_SLACK, Storage

_LOOKS = (0.1, 0.5, 2.0)
_sleep = time.sleep
_NO = (AlreadyExists, PreconditionFailed, NotFound)
"""Refusals after which a put of a new key may still have landed: 412, 409, and 404 to completing an upload."""
GONE = (NotFound, AccessDenied)
"""Answers to a get of a missing key: S3 denies access to a session without the right to list."""


@dataclass(frozen=True, slots=True)
class Put:
    """A new object on storage, not yet committed. Sizes in bytes, `time` by storage's clock in seconds.

    `time` is -inf if it is not on storage: not yet, or a prune has already deleted it.
    """

    object_id: bytes
    data_key: bytes = field(repr=False)
    sealed_size: int
    size: int
    sha256: bytes
    time: float

    def columns(self) -> dict[str, Any]:
        """The manifest columns that describe this object."""
        return {
            "object_id": self.object_id,
            "data_key": self.data_key,
            "sealed_size": self.sealed_size,
            "size": self.size,
            "source_sha256": self.sha256,
        }


def put_object(storage: Storage, corpus_id: bytes, pieces: Iterable[Buffer], pruned: Callable[[], bool]) -> Put:
    """Seal pieces of plaintext into a new object, store it and check it; holds a few pieces at a time.

    Args:
        pruned: called if the object is missing after it was put: might a prune have deleted it?

    Raises:
        AuthenticationFailed: what was sealed, or what was read back, does not open to the plaintext.
        StorageError
    """
    put, refused = _put_pieces(storage, corpus_id, pieces)
    if refused or not storage.checksums:
        return _read_back(storage, corpus_id, put, refused, pruned)
    return put


def put_objects(
    storage: Storage, corpus_id: bytes, plains: Iterable[bytes], pruned: Callable[[], bool]
) -> Iterator[tuple[int, Put]]:
    """Seal whole plaintexts, each into a new object, store them in parallel and check them; in any order.

    The next one is read and sealed while others are under way. Raises as `put_object`; others may be stored by then.
    """
    made: dict[int, Put] = {}
    begun = Moment.now()

    def sealed() -> Iterator[tuple[str, Buffer]]:
        for at, plain in enumerate(plains):
            made[at], message = seal_object(storage.url, corpus_id, plain, check=storage.checksums)
            yield object_key(made[at].object_id), message

    for at, outcome in storage.put_many(sealed()):
        refused = outcome if isinstance(outcome, _NO) else None
        if refused:
            outcome = _look_for(storage, object_key(made[at].object_id), begun)
        if not isinstance(outcome, float):
            raise outcome
        put = replace(made.pop(at), time=outcome)
        if refused or not storage.checksums:
            put = _read_back(storage, corpus_id, put, refused, pruned)
        yield at, put


def _put_pieces(storage: Storage, corpus_id: bytes, pieces: Iterable[Buffer]) -> tuple[Put, StorageError | None]:
    object_id, key = os.urandom(16), os.urandom(32)
    digest, size, sealed = hashlib.sha256(), 0, 0

    def plain() -> Iterator[Buffer]:
        nonlocal size
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            yield piece

    def counted() -> Iterator[Buffer]:
        nonlocal sealed
        check = Expect(Kind.DATA, corpus_id, object_id, storage.url) if storage.checksums else None
        for piece in seal_stream(Header(Kind.DATA, corpus_id, object_id), key, plain(), check):
            sealed += len(piece)
            yield piece

    when, refused = put_once(storage, object_key(object_id), counted())
    return Put(object_id, key, sealed, size, digest.digest(), when), refused


def seal_object(root: str, corpus_id: bytes, plain: bytes, check: bool) -> tuple[Put, Buffer]:
    """Seal a whole plaintext under a new id and data key; nothing is stored, so the time is -inf.

    Args:
        check: open it again and compare. Not needed of an object that is read back.

    Raises:
        AuthenticationFailed: it does not open to the plaintext: the memory is faulty.
    """
    object_id, key = os.urandom(16), os.urandom(32)
    message = seal(Header(Kind.DATA, corpus_id, object_id), key, plain)
    if check:
        check_sealed(key, message, plain, Expect(Kind.DATA, corpus_id, object_id, root, len(message), len(plain)))
    return Put(object_id, key, len(message), len(plain), hashlib.sha256(plain).digest(), -math.inf), message


def put_once(storage: Storage, key: str, pieces: Iterable[Buffer]) -> tuple[float, StorageError | None]:
    """`Storage.put_new` under a random id, which nobody else can be using.

    Returns:
        Storage's time of the put in seconds, or an earlier one; and the refusal, if there was one. After a refusal the
        object counts as stored only once it was read back; if it is missing, the caller raises the refusal.

    Raises:
        AccessDenied, StorageUnreachable
    """
    begun = Moment.now()
    try:
        return storage.put_new(key, pieces), None
    except _NO as error:
        return _look_for(storage, key, begun), error


def _look_for(storage: Storage, key: str, begun: Moment) -> float:
    """Wait for an object that may exist although its put was refused; returns a time before any put since `begun`.

    Of two concurrent puts, the one that was not refused might not have landed yet.
    """
    when = storage.now() - begun.age() - CLOCK_SLACK
    for seconds in _LOOKS:
        try:
            storage.get_ranges(key, [(0, 1)])
            break
        except GONE:
            _sleep(seconds)
    return when


def _read_back(
    storage: Storage, corpus_id: bytes, put: Put, refused: StorageError | None, pruned: Callable[[], bool]
) -> Put:
    if refused is not None and not put.sealed_size:  # refused before a byte was sealed: there is nothing to read back
        if pruned():
            return replace(put, time=-math.inf)
        raise refused
    try:
        _compare(storage, corpus_id, put)
    except GONE as error:
        if pruned():
            return replace(put, time=-math.inf)
        raise why_gone(error, refused) from error
    return put


def why_gone(error: StorageError, refused: StorageError | None) -> StorageError:
    """What to raise if an object cannot be read back and no prune deleted it; `refused` is from `put_once`."""
    return refused if refused and isinstance(error, NotFound) else error


def _compare(storage: Storage, corpus_id: bytes, put: Put) -> None:
    location = Location(put.object_id, None, None, put.sealed_size, put.size)
    expect = expect_of(location, corpus_id, storage.url)
    digest = hashlib.sha256()
    for piece in open_in_pieces(storage, location, put.data_key, expect):
        digest.update(piece)
    if digest.digest() != put.sha256:
        raise AuthenticationFailed(
            f"{expect.name} does not read back as it was sealed: the disk or memory is faulty",
            root=storage.url,
            object_id=put.object_id,
        )
