"""Put a new pack on storage, and check that it holds what was sent before a commit names it.

The members are sealed objects as they lie on storage. Whoever packs them has opened each with its data key; here it is
checked that storage keeps these very bytes. Storage that verifies a checksum of what it receives does so; from any
other storage the pack is read back and compared by its digest, which costs a tenth of opening every member again.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.objects.put import GONE, put_once, why_gone
from securedata.corpus.state.layout import pack_key
from securedata.errors import AuthenticationFailed
from securedata.format.cobblestone import Buffer
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class PackPut:
    """A new pack on storage, not yet committed. `time` by storage's clock; -inf: a prune has already deleted it."""

    pack_id: bytes
    size: int
    time: float


def put_pack(storage: Storage, members: Iterable[Buffer], pruned: Callable[[], bool]) -> PackPut:
    """Store sealed objects back to back under a new pack id, and check what storage has; holds one member at a time.

    Args:
        pruned: called if the pack is missing after it was put: might a prune have deleted it?

    Raises:
        AuthenticationFailed: it does not read back as it was sent.
        StorageError, what `members` raises
    """
    pack_id, digest, size = os.urandom(16), hashlib.sha256(), 0

    def counted() -> Iterator[Buffer]:
        nonlocal size
        for member in members:
            digest.update(member)
            size += len(member)
            yield member

    when, refused = put_once(storage, pack_key(pack_id), counted())
    put = PackPut(pack_id, size, when)
    if refused is None and storage.checksums:
        return put
    try:
        _compare(storage, put, digest.digest())
    except GONE as error:
        if pruned():
            return replace(put, time=-math.inf)
        raise why_gone(error, refused) from error
    return put


def _compare(storage: Storage, put: PackPut, wanted: bytes) -> None:
    key, digest, at = pack_key(put.pack_id), hashlib.sha256(), 0
    while at <= put.size:  # once more at its end: a longer one is another's
        piece = storage.get_ranges(key, [(at, PIECE)])[0]
        digest.update(piece)
        at += len(piece)
        if len(piece) < PIECE:
            break
    if digest.digest() != wanted:
        raise AuthenticationFailed(
            f"pack {put.pack_id.hex()} of {storage.url} does not read back as it was written, so no commit names it: "
            "the disk or memory is faulty",
            root=storage.url,
            object_id=put.pack_id,
        )
