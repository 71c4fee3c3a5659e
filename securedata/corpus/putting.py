"""Put a new object on storage, and read it back before anybody relies on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from securedata.corpus.leaving import object_key
from securedata.errors import AuthenticationFailed
from securedata.format.cobblestone import Buffer
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_stream, seal_stream
from securedata.storage.base import Storage

_PIECE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Put:
    """A new object on storage, not yet committed. Sizes in bytes, `time` by storage's clock in seconds."""

    object_id: bytes
    data_key: bytes = field(repr=False)
    sealed_size: int
    size: int
    sha256: bytes
    time: float


def put_object(storage: Storage, corpus_id: bytes, pieces: Iterable[Buffer]) -> Put:
    """Seal pieces of plaintext into a new object, store it, read it back and compare.

    Raises:
        AuthenticationFailed: what was read back is not what was sealed.
        StorageError
    """
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
        for piece in seal_stream(Header(Kind.DATA, corpus_id, object_id), key, plain()):
            sealed += len(piece)
            yield piece

    when = storage.put_new(object_key(object_id), counted())
    expect = Expect(Kind.DATA, corpus_id, object_id, storage.url, sealed, size)
    check = hashlib.sha256()
    for piece in open_stream(key, _read_pieces(storage, object_key(object_id), sealed), expect):
        check.update(piece)
    if check.digest() != digest.digest():
        raise AuthenticationFailed(
            f"{expect.name} reads back differently than it was sealed; the disk or memory is faulty",
            root=storage.url,
            object_id=object_id,
        )
    return Put(object_id, key, sealed, size, digest.digest(), when)


def _read_pieces(storage: Storage, key: str, size: int) -> Iterator[Buffer]:
    for at in range(0, size, _PIECE):
        yield storage.get_ranges(key, [(at, min(_PIECE, size - at))])[0]
