"""The work of threads that seal objects again: read, compare with their rows, seal under a fresh key, and put.

A re-encryption reads the objects of a head and puts them into the same corpus; `export --to-corpus` reads through an
opened corpus and puts them into another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.fetch import PIECE, expect_of, extent_of, open_in_pieces, open_piece
from securedata.corpus.objects.neighbours import fetch_joined
from securedata.corpus.objects.put import GONE, Put
from securedata.corpus.rows.index import Location
from securedata.corpus.schema import ADDED, SCHEMA, optional
from securedata.corpus.writer import Writer
from securedata.errors import FormatError, MalformedManifest, SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.ingest.byte_budget import TOTAL, ByteBudget, needed
from securedata.storage.base import Storage, Wanted

TOGETHER = 32
"""Small objects of one task at most: they are fetched at once, and put at once."""

CELLS = ("path", "object_id", "pack", "offset", "sealed_size", "size", "data_key", "source_sha256", "origin")
"""Columns of the rows whose objects are sealed again in their corpus."""

FAILURES = (FormatError, MalformedManifest, *GONE)
"""What a missing or damaged object raises; anything else stops the run."""


class Sealable(Protocol):
    """An object to seal again: where it is, and the digest of its content by its row."""

    @property
    def location(self) -> Location: ...

    @property
    def sha256(self) -> bytes: ...


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


S = TypeVar("S", bound=Sealable)
S_contra = TypeVar("S_contra", bound=Sealable, contravariant=True)


class Objects(Protocol[S_contra]):
    """Where the objects are read.

    Attributes:
        root: of the corpus that they are in.
        failures: what a missing or damaged object raises; anything else stops the run.
    """

    root: str
    failures: tuple[type[SecuredataError], ...]

    def whole(self, batch: Sequence[S_contra]) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Read small objects at once; yields for each its position and its content, or why it cannot be read."""

    def pieces(self, one: S_contra, check: Callable[[], None]) -> Iterator[Buffer]:
        """Read an object of any size in pieces, and call `check` before each."""


class ObjectsOfHead:
    """Objects as the head names them, by their rows' keys: whatever the consent, for they stay in their corpus."""

    failures: tuple[type[SecuredataError], ...] = FAILURES

    def __init__(self, writer: Writer) -> None:
        self._corpus_id, self._storage = writer.corpus_id, writer.storage
        self.root = writer.root

    def whole(self, batch: Sequence[OldObject]) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """As `Objects.whole`."""
        expects = [expect_of(one.location, self._corpus_id, self.root) for one in batch]
        wanted: list[Wanted] = []
        asked: list[int] = []
        for at, one in enumerate(batch):
            try:
                key, base, [(_, length)] = extent_of(one.location, expects[at], 0, None)
            except FormatError as error:
                yield at, error
            else:
                wanted.append(Wanted(key, base, length, one.location.sealed_size))
                asked.append(at)
        packed = [batch[at].location.pack is not None for at in asked]
        for number, got in fetch_joined(self._storage, wanted, packed, TOTAL):
            at = asked[number]
            if not isinstance(got, SecuredataError):
                try:
                    got = open_piece(batch[at].data_key, [got], [], 0, None, expects[at])
                except FormatError as error:
                    got = error
            yield at, got

    def pieces(self, one: OldObject, check: Callable[[], None]) -> Iterator[Buffer]:
        """As `Objects.pieces`."""
        expect = expect_of(one.location, self._corpus_id, self.root)
        return open_in_pieces(self._storage, one.location, one.data_key, expect, check)


def old_objects(table: pa.Table) -> Iterator[OldObject]:
    """The objects of these rows of a part, which have the columns CELLS."""
    ids = table.column("object_id").combine_chunks()
    origins = pc.coalesce(optional(table, "origin"), table.column("object_id")).combine_chunks()
    codes = ids.dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        at = int(group[0])
        yield OldObject(
            Location(*(table.column(name)[at].as_py() for name in Location._fields)),
            table.column("data_key")[at].as_py(),
            table.column("source_sha256")[at].as_py(),
            tuple(table.column("path")[int(row)].as_py() for row in group),
            tuple(origins[int(row)].as_py() for row in group),
        )


def new_cells(ready: list[tuple[OldObject, Put]], generation: int) -> pa.Table:
    """The new cells of the rows of these objects."""
    rows: list[dict[str, Any]] = []
    for one, put in ready:
        new = {**put.columns(), "old_id": one.id, "pack": None, "offset": None, "keyed_since": generation}
        rows += [{**new, "path": path, "origin": origin} for path, origin in zip(one.paths, one.origins, strict=True)]
    kinds = {**{one.name: one.type for one in (*SCHEMA, *ADDED)}, "old_id": pa.binary(16)}
    names = ("path", "old_id", "object_id", "data_key", "pack", "offset", "sealed_size", "origin", "keyed_since")
    return pa.table({name: pa.array([row[name] for row in rows], kinds[name]) for name in names})


class Stopped(Exception):
    """Raised in a thread when the run is ending early."""


class Sealing(Generic[S]):
    """The state that the threads share; set `stopping` to stop early."""

    def __init__(self, objects: Objects[S], writer: Writer) -> None:
        """`writer`: of the corpus that the objects are put into."""
        self._objects, self._writer, self._budget = objects, writer, ByteBudget(TOTAL)
        self._storage: Storage = writer.storage
        self.stopping = False

    def do(self, batch: list[S]) -> list[tuple[S, Put | SecuredataError]]:
        """Seal several small objects again, or one of any size.

        Returns:
            For each object the one that it was sealed into, or why it could not be read.
        """
        sizes = [one.location.sealed_size for one in batch]
        with self._budget.take(sum(needed(size, self._storage) for size in sizes)):
            return self._large(batch[0]) if len(batch) == 1 and sizes[0] > PIECE else self._small(batch)

    def _small(self, batch: list[S]) -> list[tuple[S, Put | SecuredataError]]:
        """All are fetched at once; each is sealed as it arrives, while those before it are being sent."""
        done: list[tuple[S, Put | SecuredataError]] = []
        sent: list[S] = []

        def plains() -> Iterator[bytes]:
            for at, got in self._objects.whole(batch):
                self._check_stopping()
                one = batch[at]
                try:
                    if isinstance(got, SecuredataError):
                        raise got
                    check_content(self._objects.root, one.location, one.sha256, hashlib.sha256(got).digest(), len(got))
                except self._objects.failures as error:
                    done.append((one, error))
                    continue
                sent.append(one)
                yield bytes(got)

        done += [(sent[at], put) for at, put in self._writer.put_objects(plains())]
        return done

    def _large(self, one: S) -> list[tuple[S, Put | SecuredataError]]:
        failures = self._objects.failures
        failure: list[SecuredataError] = []

        def pieces() -> Iterator[Buffer]:
            try:
                digest, size = hashlib.sha256(), 0
                for piece in self._objects.pieces(one, self._check_stopping):
                    digest.update(piece)
                    size += len(piece)
                    yield piece
                check_content(self._objects.root, one.location, one.sha256, digest.digest(), size)
            except failures as error:
                failure.append(error)
                raise

        try:
            return [(one, self._writer.put_object(pieces()))]
        except failures as error:
            if error not in failure:
                raise
            return [(one, error)]

    def _check_stopping(self) -> None:
        if self.stopping:
            raise Stopped


def batches(objects: Iterator[S], most: int | None = None, limit: int | None = None) -> Iterator[list[S]]:
    """What `Sealing.do` takes: several small objects, at most TOGETHER unless it is given, or a large one."""
    most = TOGETHER if most is None else most
    limit = PIECE if limit is None else limit
    batch: list[S] = []
    room = limit
    for one in objects:
        size = one.location.sealed_size
        if batch and (len(batch) == most or size > room):
            yield batch
            batch, room = [], limit
        batch.append(one)
        room -= size
    if batch:
        yield batch


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
