"""The work of a re-encryption's threads: read objects, compare them with their rows, seal them again and put them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from securedata.corpus.objects.fetch import PIECE, expect_of, extent_of, open_in_pieces, open_piece
from securedata.corpus.objects.put import GONE, Put
from securedata.corpus.rows.index import Location
from securedata.corpus.writer import Writer
from securedata.errors import FormatError, MalformedManifest, SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.ingest.byte_budget import TOTAL, ByteBudget, needed
from securedata.storage.base import Storage, Wanted

FAILURES = (FormatError, MalformedManifest, *GONE)
"""What a missing or damaged object raises; anything else stops the run."""


@dataclass(frozen=True, slots=True)
class OldObject:
    """An object as its rows name it."""

    location: Location
    data_key: bytes = field(repr=False)
    sha256: bytes
    paths: tuple[str, ...] = field(repr=False)
    origins: tuple[bytes, ...]

    @property
    def id(self) -> bytes:
        return self.location.object_id


Done = tuple[OldObject, Put | SecuredataError]
"""An object, and the one that it was sealed into, or why it could not be read."""


class Stopped(Exception):
    """Raised in a thread when the run is ending early."""


class Sealing:
    """The state that the threads share; set `stopping` to stop early."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._budget = writer, ByteBudget(TOTAL)
        self._storage: Storage = writer.storage
        self.stopping = False

    def do(self, batch: list[OldObject]) -> list[Done]:
        """Seal several small objects again, or one of any size."""
        sizes = [one.location.sealed_size for one in batch]
        with self._budget.take(sum(needed(size, self._storage) for size in sizes)):
            return self._large(batch[0]) if sizes[0] > PIECE else self._small(batch)

    def _small(self, batch: list[OldObject]) -> list[Done]:
        """All are fetched at once; each is sealed as it arrives, while those before it are being sent."""
        done: list[Done] = []
        sent: list[OldObject] = []
        expects = [expect_of(one.location, self._writer.corpus_id, self._writer.root) for one in batch]
        wanted: list[Wanted] = []
        asked: list[int] = []
        for at, one in enumerate(batch):
            try:
                key, base, [(_, length)] = extent_of(one.location, expects[at], 0, None)
            except FormatError as error:
                done.append((one, error))
            else:
                wanted.append(Wanted(key, base, length, one.location.sealed_size))
                asked.append(at)

        def plains() -> Iterator[bytes]:
            for number, got in self._storage.get_many(wanted, TOTAL):
                self._check_stopping()
                one, expect = batch[asked[number]], expects[asked[number]]
                try:
                    if isinstance(got, SecuredataError):
                        raise got
                    plain = open_piece(one.data_key, [got], [], 0, None, expect)
                    check_content(
                        self._writer.root, one.location, one.sha256, hashlib.sha256(plain).digest(), len(plain)
                    )
                except FAILURES as error:
                    done.append((one, error))
                    continue
                sent.append(one)
                yield bytes(plain)

        done += [(sent[at], put) for at, put in self._writer.put_objects(plains())]
        return done

    def _large(self, one: OldObject) -> list[Done]:
        expect = expect_of(one.location, self._writer.corpus_id, self._writer.root)
        failure: list[SecuredataError] = []

        def pieces() -> Iterator[Buffer]:
            try:
                digest, size = hashlib.sha256(), 0
                for piece in open_in_pieces(self._storage, one.location, one.data_key, expect, self._check_stopping):
                    digest.update(piece)
                    size += len(piece)
                    yield piece
                check_content(self._writer.root, one.location, one.sha256, digest.digest(), size)
            except FAILURES as error:
                failure.append(error)
                raise

        try:
            return [(one, self._writer.put_object(pieces()))]
        except FAILURES as error:
            if error not in failure:
                raise
            return [(one, error)]

    def _check_stopping(self) -> None:
        if self.stopping:
            raise Stopped


def check_content(root: str, location: Location, wanted: bytes, sha256: bytes, size: int) -> None:
    """Check digest and size of what an object held against its row.

    Raises:
        MalformedManifest
    """
    if (sha256, size) != (wanted, location.size):
        raise MalformedManifest(
            f"object {location.object_id.hex()} of {root} is authentic but holds other content than its row says; "
            "ingest the file again with --replace",
            root=root,
            object_id=location.object_id,
        )
