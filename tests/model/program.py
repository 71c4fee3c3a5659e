"""How an actor is written: a program whose methods are its steps, each of which is atomic.

A step touches shared storage at most once, besides putting what nobody else knows of. A commit that is planned by the
head alone is one step: the conditional put makes it one. A commit that relies on something it looked at earlier (time,
another corpus, a check of the first try) is two, `look` and `commit`, and `commit` goes back if the head has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.model.state import Actor, Corpus, Head, Leaving, Part, Receipt, Row, Took, World


class Turn:
    """One actor's turn: what it sees of the world, and how it changes it. `process` is a name that no other has."""

    def __init__(self, world: World, index: int, without: frozenset[str]) -> None:
        self.world = world
        self.actor = world.actors[index]
        self.time = world.time
        self.process = f"{index}.{self.actor.run}"
        self._index, self._without = index, without

    def keeps(self, rule: str) -> bool:
        """Is this rule of `RULES` followed?"""
        return rule not in self._without

    def corpus(self, number: int = 0) -> Corpus:
        return self.world.corpora[number]

    def head(self, number: int = 0) -> Head:
        return self.world.corpora[number].head

    def go(
        self,
        step: str,
        *memory: Any,
        corpora: Mapping[int, Corpus] | None = None,
        receipt: Receipt | None = None,
        took: Took | None = None,
    ) -> World:
        """The world after this step. `corpora` are those that it changes."""
        world = self._at(Actor(step, self.actor.run, memory))
        if corpora:
            world = world._replace(corpora=tuple(corpora.get(i, one) for i, one in enumerate(world.corpora)))
        if receipt:
            world = world._replace(receipts=world.receipts | {receipt})
        if took:
            world = world._replace(took=world.took | {took})
        return world

    def done(self, outcome: str, **changes: Any) -> World:
        return self.go("done", outcome, **changes)

    def crash(self, step: str) -> World:
        """Killed here, and run again by another process, which remembers nothing."""
        return self._at(Actor(step, self.actor.run + 1))._replace(crashes=self.world.crashes - 1)

    def _at(self, actor: Actor) -> World:
        actors = self.world.actors
        return self.world._replace(actors=(*actors[: self._index], actor, *actors[self._index + 1 :]))


@dataclass(frozen=True)
class Program:
    """The steps of one actor; `first` names the first. A subclass says which rows its commits take out and bring."""

    first: ClassVar[str] = "start"
    crashes: ClassVar[bool] = True

    def moves(self, turn: Turn) -> Iterator[World]:
        """Every world that one step of this actor can lead to; one that has ended has none."""
        step = turn.actor.step
        if step == "done":
            return
        yield from getattr(self, step)(turn, *turn.actor.memory)
        if self.crashes and turn.world.crashes and step != self.first:
            yield turn.crash(self.first)

    def takes(self, row: Row) -> bool:
        return False

    def brings(self, row: Row) -> bool:
        return False


def rewritten(
    head: Head, change: Callable[[Row], Row | None], more: Iterable[Row] = ()
) -> tuple[frozenset[Part], frozenset[str], frozenset[Row]]:
    """The parts with rows changed or dropped (None), each written again, and one more part of `more`.

    Returns:
        the next parts, the ids that leave (parts, and objects that no row names any more), the rows that were dropped
    """
    parts, left, dropped = set(), set(), set()
    for number, part in enumerate(sorted(head.parts, key=lambda one: one.id)):
        rows = {row: change(row) for row in part.rows}
        if all(row == after for row, after in rows.items()):
            parts.add(part)
            continue
        left.add(part.id)
        left |= {row.object for row, after in rows.items() if after is None or after.object != row.object}
        dropped |= {row for row, after in rows.items() if after is None}
        if kept := frozenset(after for after in rows.values() if after is not None):
            parts.add(Part(f"part@{head.generation + 1}.{number}", kept))
    if added := frozenset(more):
        parts.add(Part(f"part@{head.generation + 1}.new", added))
    return frozenset(parts), frozenset(left), frozenset(dropped)


def leave(turn: Turn, head: Head, ids: Iterable[str]) -> frozenset[Leaving]:
    """The leaving lists of the next head, with one of these ids."""
    ids = frozenset(ids)
    if not ids or not turn.keeps("leaving list"):
        return head.leaving
    return head.leaving | {Leaving(f"list@{head.generation + 1}", ids, turn.time)}
