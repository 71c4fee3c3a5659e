"""The origin of recordings inside other files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from securedata.format.cobblestone import Buffer
from securedata.ingest.sources.members.shard import Shard
from securedata.ingest.sources.members.table import Groups, TableShard
from securedata.ingest.sources.origin import PIECE, Origin, SourceProblem, Stamp
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges


class InTar(NamedTuple):
    """A member of a tar, by its range of bytes."""

    shard: Shard
    offset: int
    size: int


class InTable(NamedTuple):
    """A recording in a column, by row group and row within that group."""

    table: TableShard
    audio: str
    group: int
    row: int


class MemberOrigin(Origin):
    """Recordings inside files that another origin reads. They pass through memory only.

    Attributes:
        places: name -> where its bytes are.
    """

    def __init__(self, base: Origin) -> None:
        self.root = base.root
        self.places: dict[str, InTar | InTable] = {}
        self._base = base
        self._groups = Groups()
        self._begin = len(super().file(""))

    def whole(self, file: str, stamp: Stamp) -> bytes:
        return b"".join(self.pieces(file, stamp))

    def pieces(self, file: str, stamp: Stamp) -> Iterator[Buffer]:
        return self._pieces(self._place(file))

    def digest(self, place: InTar | InTable) -> bytes:
        """The SHA-256 of a recording that has no name yet. Raises like `pieces`."""
        digest = hashlib.sha256()
        for piece in self._pieces(place):
            digest.update(piece)
        return digest.digest()

    def _pieces(self, place: InTar | InTable) -> Iterator[Buffer]:
        if isinstance(place, InTable):
            data = memoryview(self._recording(place))
            for at in range(0, len(data), PIECE):
                yield data[at : at + PIECE]
            return
        for at in range(0, place.size, PIECE):
            yield place.shard.read_at(place.offset + at, min(PIECE, place.size - at))
        place.shard.check()

    def probe(self, file: str, stamp: Stamp) -> AudioInfo:
        place = self._place(file)
        if isinstance(place, InTable) or place.size <= PIECE:
            return probe(self.whole(file, stamp))
        return probe_ranges(lambda at, length: place.shard.read_at(place.offset + at, length), place.size)

    def peek(self, file: str, stamp: Stamp, offset: int, length: int) -> bytes:
        place = self._place(file)
        if isinstance(place, InTable):
            return bytes(memoryview(self._recording(place))[offset : offset + length])
        length = min(length, place.size - offset)
        return place.shard.read_at(place.offset + offset, length) if length > 0 else b""

    def check(self, file: str, stamp: Stamp) -> None:
        place = self._place(file)
        (place.table.shard if isinstance(place, InTable) else place.shard).check()

    def places_of(self, files: Iterable[str]) -> dict[str, InTar | InTable]:
        """Where these recordings are. Raises SourceProblem"""
        return {file[self._begin :]: self._place(file) for file in files}

    def elsewhere(self) -> tuple[Any, ...]:
        return self._base.elsewhere()

    def content(self, name: str) -> bytes:
        return self._base.content(name)

    def _recording(self, place: InTable) -> Buffer:
        found: Buffer = self._groups.recording(place.table, place.audio, place.group, place.row)
        return found

    def _place(self, file: str) -> InTar | InTable:
        place = self.places.get(file[self._begin :])
        if place is None:
            raise SourceProblem("no such member")
        return place
