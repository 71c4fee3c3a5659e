"""The process that reads, seals and puts files for an ingest that another process runs."""

from __future__ import annotations

import os
import platform
from collections import deque
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.rows.arrow_cells import cells, one_chunk
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.tasks.worker import Worker, newest
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError
from securedata.ingest.items import Item
from securedata.ingest.sealing import Done, Sealing
from securedata.ingest.sources.members.origin import MemberOrigin
from securedata.ingest.sources.origin import LocalOrigin, Origin
from securedata.ingest.sources.remote import from_elsewhere
from securedata.ingest.tasks.work import Answered, from_ipc, unpack_places
from securedata.threads import BoundedPool


class IngestWorker(Worker):
    """The corpus opened for writing, and the source as this machine sees it. It never commits."""

    _origin: Origin
    _members: MemberOrigin | None = None

    def __init__(self, reference: Reference, single_writer: bool) -> None:
        self._writer = Writer(reference, single_writer=single_writer)
        self._replace, self._threads = False, 1

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._writer.lease, again)

    def begin(self, settings: Any) -> None:
        described, self._replace, self._threads = settings
        self._origin = from_elsewhere(described)
        if isinstance(self._origin, LocalOrigin) and not os.path.isdir(self._origin.root):
            raise ConfigError(
                f"the source {self._origin.root} is not a folder on {platform.node()}: mount it there under the same "
                "path, or name the source by a URL that every node can read"
            )
        self._members = MemberOrigin(self._origin)

    def do(self, task: Any) -> Any:
        table, items, places = task
        assert self._members is not None
        found = unpack_places(places, self._origin)
        self._members.places = found
        table = from_ipc(table)
        read = {name: cells(one_chunk(table.column(name))) for name in table.schema.names}
        origin = self._members if found else self._origin
        horizon = self._writer.head.horizon
        sealing = Sealing(origin, self._writer, read, self._threads, self._replace)
        done: list[Done] = []
        todo: deque[Item] = deque(items)
        with BoundedPool[list[Item], list[Done]]("securedata-ingest", sealing.tasks, len(items)) as pool:
            try:
                while todo:
                    batch = sealing.next(todo)
                    pool.begin(batch, lambda batch=batch: sealing.seal(batch))  # type: ignore[misc]  # bound now
                while pool:
                    for _, one in pool.finished(1.0):
                        done += one
            except BaseException:  # raised again: the threads stop first
                sealing.stopping = True
                raise
        ids = [one.put.object_id for one in done if one.put] + [id for one in done for id in one.unused]
        return tuple(Answered(done, self._writer.uncommitted.hand_over(ids), horizon, sealing.read_bytes))
