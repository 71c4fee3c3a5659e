"""The tasks of an ingest, as the process that commits sees them."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from securedata.corpus.config import Reference
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.tasks.pool import Work
from securedata.corpus.tasks.worker import newest
from securedata.corpus.writer import Writer
from securedata.ingest.items import Item
from securedata.ingest.sealing import Done, Sealing
from securedata.ingest.sources.members.origin import InTable, InTar, MemberOrigin
from securedata.ingest.sources.origin import PIECE, Origin
from securedata.ingest.sources.recordings import SourceList

TASK_FILES, TASK_BYTES = 32, 64 * 1024 * 1024
"""The most files, and the bytes of small ones, of a task in another process: it is sent, done, and lost together."""

_ORIGIN = "origin"
_NEEDED = ("path", "size", "mtime_ns", "version", "start", "frames_in_segment", "duration", "memory", "media_type")


class Answered(NamedTuple):
    """What became of a task's files, with the horizon of the head that the worker had before it put their objects."""

    done: list[Done]
    put: list[tuple[bytes, float]]
    horizon: float
    read_bytes: int


class IngestWork(Work[list[Item], list[Done]]):
    """Read, seal and put files: by `Sealing`, in this process or another."""

    worker = "securedata.ingest.tasks.worker:IngestWorker"

    def __init__(self, sources: SourceList, writer: Writer, sealing: Sealing, replace: bool, threads: int) -> None:
        """`threads`: files that a worker processes at once."""
        self.single_writer = writer.single_writer
        self._sources, self._writer, self._sealing = sources, writer, sealing
        self._replace, self._threads = replace, threads
        self._sizes = sources.table.column("size").to_numpy()
        self._table = sources.table.select(_NEEDED)

    def do(self, task: list[Item]) -> list[Done]:
        """Do a task in a thread."""
        return self._sealing.seal(task)

    def next(self, todo: deque[Item]) -> list[Item]:
        """The items of one task for another process."""
        items, room = [todo.popleft()], TASK_BYTES
        room -= self._size(items[0])
        while todo and len(items) < TASK_FILES and self._size(todo[0]) <= room:
            room -= self._size(todo[0])
            items.append(todo.popleft())
        return items

    def _size(self, item: Item) -> int:
        size = int(self._sizes[item.rows[0]])
        return size if size >= 0 else PIECE

    @property
    def reference(self) -> Reference:
        return self._writer.reference

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._writer.lease, again)

    def settings(self) -> Any:
        return self._sources.origin.elsewhere(), self._replace, self._threads

    def pack(self, task: list[Item]) -> Any:
        rows = rows_of(task)
        new = {row: at for at, row in enumerate(rows)}
        items = [replace(one, rows=tuple(new[row] for row in one.rows)) for one in task]
        places = {}
        if isinstance(origin := self._sources.origin, MemberOrigin):
            places = origin.places_of([one.file for one in task])
        return to_ipc(self._table.take(pa.array(rows, pa.int64()))), items, pack_places(places)

    def unpack(self, task: list[Item], answer: Any) -> list[Done]:
        found = Answered(*answer)
        rows = rows_of(task)
        self._writer.uncommitted.take_over(found.put, found.horizon)
        self._sealing.read_bytes += found.read_bytes
        return [
            replace(one, item=replace(one.item, rows=tuple(rows[at] for at in one.item.rows))) for one in found.done
        ]


def rows_of(task: Sequence[Item]) -> list[int]:
    """The source rows of a task, once each, in order."""
    rows: list[int] = np.unique([row for one in task for row in one.rows]).tolist()
    return rows


def to_ipc(table: pa.Table) -> bytes:
    """A small table as bytes."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def from_ipc(data: bytes) -> pa.Table:
    """The table of `to_ipc`."""
    with ipc.open_stream(pa.py_buffer(data)) as stream:
        return stream.read_all()


class _Packing(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        # a shard refers to the origin that reads it, which each process has for itself
        return _ORIGIN if isinstance(value, Origin) else None


class _Unpacking(pickle.Unpickler):
    def __init__(self, data: bytes, origin: Origin) -> None:
        super().__init__(io.BytesIO(data))
        self._origin = origin

    def persistent_load(self, name: str) -> Origin:
        return self._origin


def pack_places(places: dict[str, InTar | InTable]) -> bytes:
    """Where recordings are inside other files, for another process."""
    sink = io.BytesIO()
    _Packing(sink, pickle.HIGHEST_PROTOCOL).dump(places)
    return sink.getvalue()


def unpack_places(data: bytes, origin: Origin) -> dict[str, InTar | InTable]:
    """The places of `pack_places`, in files that `origin` reads; `data` is of a message that was opened."""
    found: dict[str, InTar | InTable] = _Unpacking(data, origin).load()
    return found
