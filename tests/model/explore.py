"""Breadth first through every state that the actors can reach, so that a fault is shown by the shortest way to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.model.invariants import broken, broken_commit, broken_end
from tests.model.program import Program, Turn
from tests.model.rules import RULES
from tests.model.state import Actor, Corpus, World


class NotExplored(AssertionError):
    """There are more states than a test wants to see, so that it proves nothing."""


@dataclass(frozen=True)
class Fault:
    """A broken invariant, and the steps that lead there."""

    what: str
    way: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([self.what, *self.way])


@dataclass(frozen=True)
class Explored:
    """The whole of a state space, or the part of it that was seen before a fault.

    `ends` are states in which everybody has ended, and `outcomes` what the actors then say, in their order.
    """

    states: int
    ends: int
    outcomes: frozenset[tuple[str, ...]]
    fault: Fault | None = None


def explore(
    corpora: Sequence[Corpus],
    programs: Sequence[Program],
    *,
    crashes: int = 0,
    without: Iterable[str] = (),
    most: int = 400_000,
) -> Explored:
    """Go through every interleaving.

    Args:
        programs: the actors; each step of each may come next.
        crashes: how many of them may be killed, and run again, together.
        without: names of `RULES` that nobody follows.
        most: states to keep in memory.

    Raises:
        NotExplored: there are more states.
    """
    left_out = frozenset(without)
    assert left_out <= RULES.keys(), left_out - RULES.keys()
    begin = World(tuple(corpora), tuple(Actor(one.first) for one in programs), crashes=crashes)
    states, number, parents = [begin], {begin: 0}, [0]
    before: list[list[int]] = [[]]
    ends = []

    def explored(fault: Fault | None = None) -> Explored:
        said = frozenset(tuple(actor.memory[0] for actor in states[end].actors) for end in ends)
        return Explored(len(states), len(ends), said, fault)

    def fault(what: str, at: int) -> Explored:
        return explored(Fault(what, _way(states, parents, programs, at)))

    at = 0
    while at < len(states):
        world, ended = states[at], True
        for index, program in enumerate(programs):
            for after in program.moves(Turn(world, index, left_out)):
                ended = False
                there = number.get(after)
                if there is None:
                    there = number[after] = len(states)
                    states.append(after)
                    parents.append(at)
                    before.append([])
                    if what := broken(after):
                        return fault(what, there)
                before[there].append(at)
                # of a state that is known, too: another commit led to it before
                if what := _commits(world, after, program):
                    parents[there] = at
                    return fault(what, there)
        if ended:
            ends.append(at)
            if what := broken_end(world):
                return fault(what, at)
        if len(states) > most:
            raise NotExplored(f"more than {most} states")
        at += 1
    stuck = _stuck(before, ends)
    return fault("from here nobody comes to an end", stuck) if stuck is not None else explored()


def _commits(world: World, after: World, by: Program) -> str | None:
    source = world.corpora[0].head
    for number, (was, now) in enumerate(zip(world.corpora, after.corpora, strict=True)):
        if was.head is not now.head:
            above = source if number in source.derived else None
            if what := broken_commit(was.head, now.head, by, above):
                return what
    return None


def _stuck(before: list[list[int]], ends: list[int]) -> int | None:
    """The first state from which no end can be reached."""
    ending, queue = set(ends), list(ends)
    while queue:
        for one in before[queue.pop()]:
            if one not in ending:
                ending.add(one)
                queue.append(one)
    return next((at for at in range(len(before)) if at not in ending), None)


def _way(states: list[World], parents: list[int], programs: Sequence[Program], at: int) -> tuple[str, ...]:
    """Which actor went from which step to which."""
    way = []
    while at:
        was, now = states[parents[at]].actors, states[at].actors
        for program, one, other in zip(programs, was, now, strict=True):
            if one != other:
                crashed = " (killed)" if other.run != one.run else ""
                way.append(f"{type(program).__name__}: {one.step} -> {other.step}{crashed}")
        at = parents[at]
    return tuple(reversed(way))
