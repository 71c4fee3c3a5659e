"""Those who change rows or objects: ingest, remove, merge, rotate, re-encrypt, prune; and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tests.model.program import Program, Turn, leave, rewritten
from tests.model.state import DAY, Leaving, Part, Row, World


@dataclass(frozen=True)
class Clock(Program):
    """Moves storage's clock: three times 13 hours, or `ticks` times `by`."""

    ticks: int = 3
    by: int = 1
    crashes: ClassVar[bool] = False

    def start(self, turn: Turn, moved: int = 1) -> Iterator[World]:
        after = turn.go("start", moved + 1) if moved < self.ticks else turn.done("moved")
        yield after._replace(time=turn.time + self.by)


@dataclass(frozen=True)
class Ingest(Program):
    """Adds one recording; `replaces` is the origin of a row that it takes out in the same commit."""

    person: str
    consent: str = "old"
    origin: str = "new"
    replaces: str | None = None

    def start(self, turn: Turn, attempt: int = 0) -> Iterator[World]:
        """Seal the object, and the part that will name it."""
        row = self._row(turn, attempt)
        corpus = turn.corpus().with_objects({row.object, f"part-{row.object}"}, turn.time)
        yield turn.go("look", attempt, turn.time, False, corpora={0: corpus})

    def look(self, turn: Turn, attempt: int, put: int, tried: bool) -> Iterator[World]:
        head, row = turn.head(), self._row(turn, attempt)
        if not (tried and not turn.keeps("tombstone at every try")) and head.barred(row):
            yield turn.done("dropped")
        elif any(one.origin == self.origin for one in head.rows()):
            yield turn.done("left")
        elif put < head.horizon and turn.keeps("horizon at every try"):
            yield turn.go("start", attempt + 1)
        elif not (tried and not turn.keeps("hold at every try")) and _held(turn, self.replaces):
            yield turn.done("held")
        else:
            yield turn.go("commit", attempt, put, head.generation)

    def commit(self, turn: Turn, attempt: int, put: int, generation: int) -> Iterator[World]:
        head, row = turn.head(), self._row(turn, attempt)
        if head.generation != generation:
            yield turn.go("look", attempt, put, True)
            return
        parts, left, _ = rewritten(head, lambda one: None if one.origin == self.replaces else one)
        part = Part(f"part-{row.object}", frozenset({row}))
        after = head._replace(parts=parts | {part}, leaving=leave(turn, head, left))
        yield turn.done("added", corpora={0: turn.corpus().committed(after, turn.time)})

    def takes(self, row: Row) -> bool:
        return row.origin == self.replaces

    def brings(self, row: Row) -> bool:
        return row.origin == self.origin

    def _row(self, turn: Turn, attempt: int) -> Row:
        return Row(self.person, self.consent, self.origin, f"{self.origin}-{turn.process}.{attempt}")


def _held(turn: Turn, origin: str | None) -> bool:
    head = turn.head()
    return any(row.origin == origin and row.person in head.holds for row in head.rows())


@dataclass(frozen=True)
class Remove(Program):
    """Takes one recording out."""

    origin: str
    first: ClassVar[str] = "look"

    def look(self, turn: Turn, tried: bool = False) -> Iterator[World]:
        if not any(row.origin == self.origin for row in turn.head().rows()):
            yield turn.done("not there")
        elif not (tried and not turn.keeps("hold at every try")) and _held(turn, self.origin):
            yield turn.done("held")
        else:
            yield turn.go("commit", turn.head().generation)

    def commit(self, turn: Turn, generation: int) -> Iterator[World]:
        head = turn.head()
        if head.generation != generation:
            yield turn.go("look", True)
            return
        parts, left, _ = rewritten(head, lambda row: None if row.origin == self.origin else row)
        after = head._replace(parts=parts, leaving=leave(turn, head, left))
        yield turn.done("removed", corpora={0: turn.corpus().committed(after, turn.time)})

    def takes(self, row: Row) -> bool:
        return row.origin == self.origin


@dataclass(frozen=True)
class Merge(Program):
    """Makes one part of all."""

    def start(self, turn: Turn) -> Iterator[World]:
        head = turn.head()
        if len(head.parts) < 2:
            yield turn.done("one part")
            return
        part = Part(f"part@{head.generation + 1}.all", frozenset(head.rows()))
        left = leave(turn, head, {one.id for one in head.parts})
        after = head._replace(parts=frozenset({part}), leaving=left)
        yield turn.done("merged", corpora={0: turn.corpus().committed(after, turn.time)})


@dataclass(frozen=True)
class Rotate(Program):
    """A fresh corpus key, and nothing else."""

    def start(self, turn: Turn) -> Iterator[World]:
        after = turn.head()._replace(key=turn.head().generation + 1)
        yield turn.done("rotated", corpora={0: turn.corpus().committed(after, turn.time)})


@dataclass(frozen=True)
class Reencrypt(Program):
    """Seals the object of one row again, under a new id and key."""

    origin: str

    def start(self, turn: Turn, attempt: int = 0) -> Iterator[World]:
        row = self._row(turn)
        yield turn.go("seal", attempt, row) if row else turn.done("gone")

    def seal(self, turn: Turn, attempt: int, row: Row) -> Iterator[World]:
        if not turn.corpus().has(row.object):  # by the current head its row might be gone, or name another
            yield turn.go("start", attempt)
            return
        corpus = turn.corpus().with_objects({self._sealed(turn, attempt)}, turn.time)
        yield turn.go("look", attempt, row, turn.time, False, corpora={0: corpus})

    def look(self, turn: Turn, attempt: int, row: Row, put: int, tried: bool) -> Iterator[World]:
        if not (tried and not turn.keeps("compare and swap")) and self._row(turn) != row:
            yield turn.done("moved")
        elif put < turn.head().horizon and turn.keeps("horizon at every try"):
            yield turn.go("start", attempt + 1)
        else:
            yield turn.go("commit", attempt, row, put, turn.head().generation)

    def commit(self, turn: Turn, attempt: int, row: Row, put: int, generation: int) -> Iterator[World]:
        head, swapped = turn.head(), row._replace(object=self._sealed(turn, attempt))
        if head.generation != generation:
            yield turn.go("look", attempt, row, put, True)
            return
        there = self._row(turn) is not None  # always, with compare and swap
        parts, left, _ = rewritten(
            head, lambda one: swapped if one.origin == self.origin else one, [] if there else [swapped]
        )
        if not turn.keeps("swapped object leaves"):
            left -= {row.object}
        after = head._replace(parts=parts, leaving=leave(turn, head, left))
        yield turn.done("swapped", corpora={0: turn.corpus().committed(after, turn.time)})

    def _row(self, turn: Turn) -> Row | None:
        return next((row for row in turn.head().rows() if row.origin == self.origin), None)

    def _sealed(self, turn: Turn, attempt: int) -> str:
        return f"{self.origin}-again-{turn.process}.{attempt}"


@dataclass(frozen=True)
class Prune(Program):
    """Deletes what is due on leaving lists, commits the horizon, then deletes orphans from before it."""

    def start(self, turn: Turn) -> Iterator[World]:
        head = turn.head()
        if not turn.keeps("horizon first"):
            yield turn.go("list", turn.time - DAY + 1)
            return
        due = frozenset(one for one in head.leaving if one.time + DAY <= turn.time or not turn.keeps("a day"))
        yield turn.go("due", head.generation, turn.time, due)

    def due(self, turn: Turn, generation: int, when: int, due: frozenset[Leaving]) -> Iterator[World]:
        ids = {id for one in due for id in one.ids}
        yield turn.go("commit", generation, when, due, corpora={0: turn.corpus().deleted(ids)} if ids else None)

    def commit(self, turn: Turn, generation: int, when: int, due: frozenset[Leaving]) -> Iterator[World]:
        head = turn.head()
        if head.generation != generation:
            yield turn.go("start")
            return
        if turn.keeps("open list"):
            due -= {one for one in due if one.id in {draft.leaving for draft in head.drafts}}
        horizon = max(head.horizon, when - DAY + 1)
        if horizon == head.horizon and not due:
            yield turn.go("list", horizon)
            return
        after = head._replace(horizon=horizon, leaving=head.leaving - due)
        yield turn.go("list", horizon, corpora={0: turn.corpus().committed(after, turn.time)})

    def list(self, turn: Turn, horizon: int) -> Iterator[World]:
        found = frozenset(id for id, put in turn.corpus().store if put < horizon)
        yield turn.go("check", found) if found else turn.done("pruned")

    def check(self, turn: Turn, found: frozenset[str]) -> Iterator[World]:
        yield turn.go("delete", found - turn.head().ids() - turn.head().listed())

    def delete(self, turn: Turn, found: frozenset[str]) -> Iterator[World]:
        yield turn.done("pruned", corpora={0: turn.corpus().deleted(found)} if found else None)
