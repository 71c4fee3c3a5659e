"""Actors over a corpus and one that is made from it, which lies in a storage of its own."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.seen import remember
from securedata.corpus.writer import Writer
from securedata.errors import NotFound
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure import erase as erasing
from securedata.lifecycle.features.computing import Computed, Source
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.report import RetainReport
from securedata.lifecycle.features.storing import StoringFeatures
from securedata.lifecycle.select import FEATURES_SUFFIX
from securedata.storage.base import Storage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, open_quietly, rows_of
from tests.kit.corpora.rows import content, make
from tests.kit.hooked import Hooked
from tests.kit.schedules.oracle import World
from tests.kit.schedules.roles import Role, erase, nothing, writer_of

_RECIPE = Recipe("log-mel", 16_000, "float16")
_mine = threading.local()


@functools.lru_cache(maxsize=1)
def _begin(home: str) -> tuple[Reference, MemoryStorage]:
    """An empty corpus, with its entry in the config of this home."""
    place = MemoryStorage("memory://made")
    return make(place, root="memory://made", name="made"), place


@dataclass
class Made:
    """The corpus of features of one schedule."""

    reference: Reference = field(init=False)
    place: MemoryStorage = field(init=False)

    def __post_init__(self) -> None:
        self.reference, start = _begin(os.environ["XDG_CONFIG_HOME"])
        self.place = MemoryStorage(start.url, start.clock)
        self.place.objects = dict(start.objects)
        remember(look(self.reference, self.place).head, reset=True)

    def door(self, world: World, storage: Storage) -> Hooked:
        """Its storage, behind the hooks of an actor, and at the same time as the corpus's."""
        assert isinstance(storage, Hooked)
        self.place.clock = world.clock
        return Hooked(self.place, storage.before, storage.after)


def reached(patch: pytest.MonkeyPatch) -> None:
    """From here on an erasure opens a corpus that was made from its own through the door of its actor."""
    patch.setattr(erasing, "open_to_erase", lambda reference: Writer(reference, storage=_mine.door))


def erase_both(name: str, person: str, made: Made) -> Role:
    """An erasure to its receipt, which asks the corpus of features first, if that is registered by then."""
    alone = erase(name, person)

    def act(world: World, storage: Storage) -> object:
        _mine.door = made.door(world, storage)
        return alone.act(world, storage)

    def after(world: World, results: Sequence[Any]) -> None:
        alone.after(world, results)
        head = look(made.reference, made.place).head
        rows = rows_of(head, made.place).values()
        assert not any(person in row["subjects"] for row in rows), "RESURRECTED in what was made of it"
        assert not head.erasures, "UNFINISHED in what was made of it"

    return Role(name, act, alone.rule, after, rotates=True, erases=person)


def retain(name: str, made: Made, *people: str) -> Role:
    """Registers the corpus of features, and commits features of each recording, as `securedata.retain` does.

    `people`: whose recordings nobody takes out meanwhile.
    """

    def act(world: World, storage: Storage) -> RetainReport:
        source, target = writer_of(world, storage), Writer(made.reference, storage=made.door(world, storage))
        report = RetainReport("", "", None, 0)
        with open_quietly(world.reference, storage, columns=Source._columns) as corpus:
            register_derived(source, target.head)  # after the rows were read: some can be erased by now
            storing = StoringFeatures(source, corpus, target, _RECIPE, 1, _there(target), report)
            todo = list(range(len(corpus)))
            while todo:
                storing.take([Computed(row, content(corpus.index.path(row)), (1, 1, 1), (1, 1)) for row in todo])
                storing.commit()
                todo, storing.stale = storing.stale, []
        return report

    def after(world: World, results: Sequence[Any]) -> None:
        assert results, "it was run again until it ended"
        head = look(made.reference, made.place).head
        assert [one["corpus"] for one in world.now_named.head.derived] == [head.corpus_id.hex()]
        found = rows_of(head, made.place)
        for path, row in world.rows.items():
            assert not row.subjects & set(people) or path + FEATURES_SUFFIX in found, f"LOST: the features of {path}"

    return Role(name, act, nothing, after)


def _there(target: Writer) -> set[str]:
    while True:
        try:
            return set(rows_of(target.head, target.storage))
        except NotFound:  # an erasure has replaced the head meanwhile, and deleted its parts
            target.refresh()


def with_made(roles: Callable[[Made], list[Role]]) -> Callable[[], list[Role]]:
    """The roles of a schedule, with an empty corpus of features."""
    return lambda: roles(Made())
