"""Seal objects again under fresh keys: the tasks of `rotate --data-keys`, in threads or in other processes."""

from __future__ import annotations

from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.objects.put import Put
from securedata.corpus.rows.index import Location
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.tasks.pool import Work
from securedata.corpus.tasks.worker import Worker, newest
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError
from securedata.lifecycle.sealing import ObjectsOfHead, OldObject, Sealing, batches

Done = tuple[OldObject, Put | SecuredataError]
"""An object, and the one that it was sealed into, or why it could not be read."""


class ReencryptWork(Work[list[OldObject], list[Done]]):
    """Read objects, compare them with their rows, seal and put them again."""

    worker = "securedata.lifecycle.tasks.reencrypt:ReencryptWorker"

    def __init__(self, writer: Writer) -> None:
        self.single_writer = writer.single_writer
        self._writer, self._sealing = writer, Sealing(ObjectsOfHead(writer), writer)

    def do(self, task: list[OldObject]) -> list[Done]:
        return self._sealing.do(task)

    def stop(self) -> None:
        """Stop the threads early."""
        self._sealing.stopping = True

    @property
    def reference(self) -> Reference:
        return self._writer.reference

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._writer.lease, again)

    def settings(self) -> Any:
        return None

    def pack(self, task: list[OldObject]) -> Any:
        return [(tuple(one.location), one.data_key, one.sha256) for one in task]

    def unpack(self, task: list[OldObject], answer: Any) -> list[Done]:
        results, handed, horizon = answer
        self._writer.uncommitted.take_over(handed, horizon)
        by_id = {one.id: one for one in task}
        return [(by_id[object_id], result) for object_id, result in results]


class ReencryptWorker(Worker):
    """The corpus opened for writing. It never commits."""

    def __init__(self, reference: Reference, single_writer: bool) -> None:
        self._writer = Writer(reference, single_writer=single_writer)

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._writer.lease, again)

    def begin(self, settings: Any) -> None:
        """There is nothing to take."""

    def do(self, task: Any) -> Any:
        horizon = self._writer.head.horizon
        sealing = Sealing(ObjectsOfHead(self._writer), self._writer)
        objects = [OldObject(Location(*location), key, sha256, (), ()) for location, key, sha256 in task]
        results = [(one.id, result) for batch in batches(iter(objects)) for one, result in sealing.do(batch)]
        put = [result.object_id for _, result in results if isinstance(result, Put)]
        return results, self._writer.uncommitted.hand_over(put), horizon
