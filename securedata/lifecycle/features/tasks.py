"""Compute, seal and put features: the tasks of `retain` in other processes, which read the recordings by themselves."""

from __future__ import annotations

import platform
from typing import Any

import torch

from securedata.corpus.config import Reference
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.tasks.messages import describe_reference, read_reference
from securedata.corpus.tasks.pool import Work
from securedata.corpus.tasks.worker import Worker, newest
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, NoSuchPath, RowReplaced
from securedata.lifecycle.deriving.rows import first_object
from securedata.lifecycle.features.computing import Computed, Computing, Source
from securedata.lifecycle.features.recipe import Recipe, environment
from securedata.lifecycle.features.transforms import check


class RetainWork(Work[list[int], list[Computed]]):
    """Compute the features of rows of the source. Another process also puts them: their plaintext never leaves it."""

    worker = "securedata.lifecycle.features.tasks:RetainWorker"

    def __init__(self, source: Reference, dataset: Source, target: Writer, recipe: Recipe, purpose: str | None) -> None:
        self.single_writer = target.single_writer
        self._source, self._dataset, self._target = source, dataset, target
        self._recipe, self._purpose = recipe, purpose

    def do(self, task: list[int]) -> list[Computed]:
        return Computing(self._dataset, self._recipe).__getitems__(task)

    @property
    def reference(self) -> Reference:
        return self._target.reference

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._target.lease, again)

    def settings(self) -> Any:
        return describe_reference(self._source), self._purpose, self._recipe, environment()

    def pack(self, task: list[int]) -> Any:
        # by name and object: another process opens the head of now, in which rows have other numbers
        corpus = self._dataset.corpora[0]
        return [(corpus.index.path(row), first_object(corpus, row)) for row in task]

    def unpack(self, task: list[int], answer: Any) -> list[Computed]:
        made, handed, horizon = answer
        self._target.uncommitted.take_over(handed, horizon)
        return [one._replace(row=row) for row, one in zip(task, made, strict=True)]


class RetainWorker(Worker):
    """The source opened for reading, the corpus of features for writing. It never commits."""

    _dataset: Source
    _recipe: Recipe

    def __init__(self, reference: Reference, single_writer: bool) -> None:
        self._target = Writer(reference, single_writer=single_writer)

    def opened(self, again: bool) -> OpenedHead:
        return newest(self._target.lease, again)

    def begin(self, settings: Any) -> None:
        source, purpose, self._recipe, wanted = settings
        here = environment()
        # rows say what they were computed with, for all rows of a run alike
        if different := [name for name in wanted if here.get(name) != wanted[name]]:
            what = ", ".join(f"{name} {here.get(name)}, not {wanted[name]}" for name in different)
            raise ConfigError(
                f"{platform.node()} computes with {what}: every node needs what the process that commits has, "
                "since rows record what they were computed with"
            )
        torch.set_num_threads(1)  # as in a DataLoader's worker: there is a task for each core
        check(self._recipe)
        self._dataset = Source(read_reference(source), purpose=purpose)
        self._dataset.resample_to(self._recipe.sample_rate)

    def do(self, task: Any) -> Any:
        horizon = self._target.head.horizon
        corpus = self._dataset.corpora[0]
        made: list[Computed] = []
        rows: dict[int, int] = {}  # by number in the dataset, place in the task
        for at, (path, object_id) in enumerate(task):
            try:
                row = corpus.index.find(path)
            except NoSuchPath:
                row = None
            if row is None or first_object(corpus, row) != object_id:
                root = corpus.root
                text = f"a row of {root} was replaced or removed while its features were computed; run it again"
                made.append(Computed(-1, error=RowReplaced(text, root=root, object_id=object_id, path=path)))
            else:
                rows[row] = at
                made.append(Computed(row))
        for one in Computing(self._dataset, self._recipe).__getitems__(list(rows)):
            made[rows[one.row]] = one
        new = [at for at, one in enumerate(made) if one.error is None]
        for number, put in self._target.put_objects(made[at].npy for at in new):
            made[new[number]] = made[new[number]]._replace(npy=b"", put=put)
        ids = [one.put.object_id for one in made if one.put is not None]
        return made, self._target.uncommitted.hand_over(ids), horizon
