"""A hold, readers in flight, and the making of a derived corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tests.model.program import Program, Turn
from tests.model.state import DAY, Corpus, Head, Part, Row, World

SOURCE, DERIVED = 0, 1


@dataclass(frozen=True)
class Hold(Program):
    """Holds a person: derived corpora first, the source last. Releases, if asked, in the other order."""

    person: str
    releases: bool = False
    first: ClassVar[str] = "hold"

    def hold(self, turn: Turn, held: frozenset[int] = frozenset()) -> Iterator[World]:
        """The source's commit, whose every try checks the registry."""
        waiting = turn.head().derived - held if turn.keeps("hold in leaves") else frozenset()
        if waiting:
            yield turn.go("hold_leaf", min(waiting), held)
        else:
            yield turn.go("release" if self.releases else "end", corpora=self._held(turn, SOURCE))

    def hold_leaf(self, turn: Turn, at: int, held: frozenset[int]) -> Iterator[World]:
        yield turn.go("hold", held | {at}, corpora=self._held(turn, at))

    def release(self, turn: Turn) -> Iterator[World]:
        yield turn.go("release_leaves", turn.head().derived, corpora=self._released(turn, SOURCE))

    def release_leaves(self, turn: Turn, left: frozenset[int]) -> Iterator[World]:
        if left:
            yield turn.go("release_leaves", left - {min(left)}, corpora=self._released(turn, min(left)))
        else:
            yield turn.go("end")

    def end(self, turn: Turn) -> Iterator[World]:
        yield turn.done("held or released")

    def _held(self, turn: Turn, at: int) -> dict[int, Corpus]:
        head = turn.head(at)
        return {at: turn.corpus(at).committed(head._replace(holds=head.holds | {self.person}), turn.time)}

    def _released(self, turn: Turn, at: int) -> dict[int, Corpus]:
        head = turn.head(at)
        return {at: turn.corpus(at).committed(head._replace(holds=head.holds - {self.person}), turn.time)}


class View(NamedTuple):
    """What a reader holds: the head that it opened last, when that was, and rows that it has not fetched yet."""

    head: Head
    rows: tuple[Row, ...]
    opened: int
    refreshed: bool = False


@dataclass(frozen=True)
class Reader(Program):
    """Opens the corpus and fetches each row, then does it again after a refresh."""

    crashes: ClassVar[bool] = False

    def start(self, turn: Turn) -> Iterator[World]:
        yield turn.go("open", None)

    def open(self, turn: Turn, before: View | None) -> Iterator[World]:
        """Read the head."""
        yield turn.go("parts", turn.head(), turn.time, before)

    def parts(self, turn: Turn, head: Head, opened: int, before: View | None) -> Iterator[World]:
        """Read its parts; if one is missing, start over, unless the head that is there now still names it."""
        missing = {part.id for part in head.parts if not turn.corpus().has(part.id)}
        if missing & turn.head().ids():
            yield turn.done("PartMissing")
        elif missing:
            yield turn.go("open", before)
        else:
            rows = before.head.rows() if before and not turn.keeps("refresh") else head.rows()
            rows = {row for row in rows if row.person not in head.restricted or not turn.keeps("refresh")}
            yield turn.go("fetch", View(head, tuple(sorted(rows)), opened, before is not None))

    def fetch(self, turn: Turn, view: View) -> Iterator[World]:
        if not view.rows:
            yield turn.done("read") if view.refreshed else turn.go("open", view)
        elif not turn.corpus().has(view.rows[0].object):
            yield turn.go("explain", view)
        elif view.head.barred(view.rows[0]) or view.rows[0].person in view.head.restricted:
            yield turn.done("a sample of an erased person")
        else:
            yield turn.go("fetch", view._replace(rows=view.rows[1:]))

    def explain(self, turn: Turn, view: View) -> Iterator[World]:
        """Read the head again, after the miss: SubjectErased, RowReplaced, or ObjectMissing."""
        row = view.rows[0]
        head = turn.head() if turn.keeps("explained after") else view.head
        if not head.barred(row) and row.object in head.ids():
            yield turn.done("ObjectMissing")
        elif not head.barred(row) and turn.time < view.opened + DAY:
            yield turn.done("RowReplaced within a day")
        else:
            yield turn.go("fetch", view._replace(rows=view.rows[1:]))


@dataclass(frozen=True)
class Retain(Program):
    """Writes what is kept of one person's rows to a derived corpus.

    `asks_source` reads the source's head again at each try, for its tombstones: not needed, and not enough.
    """

    person: str
    asks_source: bool = False
    first: ClassVar[str] = "register"

    def register(self, turn: Turn) -> Iterator[World]:
        """Put the derived corpus into the source's registry, before anything else."""
        if not turn.keeps("register first"):
            yield turn.go("read")
        elif not turn.keeps("read after registering"):
            yield turn.go("register_late", self._rows(turn))
        else:
            yield self._registered(turn, "read")

    def register_late(self, turn: Turn, rows: frozenset[Row]) -> Iterator[World]:
        """Register after reading: what the rule forbids."""
        yield self._registered(turn, "seal", rows)

    def read(self, turn: Turn) -> Iterator[World]:
        """Open the source: the rows to keep, of whoever is not erased by now."""
        yield turn.go("seal", self._rows(turn))

    def seal(self, turn: Turn, rows: frozenset[Row]) -> Iterator[World]:
        corpus = turn.corpus(DERIVED).with_objects({row.object for row in rows}, turn.time)
        yield turn.go("look", rows, corpora={DERIVED: corpus})

    def look(self, turn: Turn, rows: frozenset[Row]) -> Iterator[World]:
        """Each try: drop the rows of those whom the derived corpus's own head erased."""
        head = turn.head(DERIVED)
        there = {row.origin for row in head.rows()}
        rows = frozenset(row for row in rows if not head.barred(row) and row.origin not in there)
        if rows and self.asks_source:
            yield turn.go("ask", rows, head.generation)
        elif rows:
            yield turn.go("commit", rows, head.generation)
        else:
            yield self._end(turn)

    def ask(self, turn: Turn, rows: frozenset[Row], generation: int) -> Iterator[World]:
        rows = frozenset(row for row in rows if not turn.head().barred(row))
        yield turn.go("commit", rows, generation) if rows else self._end(turn)

    def commit(self, turn: Turn, rows: frozenset[Row], generation: int) -> Iterator[World]:
        head = turn.head(DERIVED)
        if head.generation != generation:
            yield turn.go("look", rows)
            return
        part = Part(f"part@{generation + 1}.kept", rows)
        after = head._replace(parts=head.parts | {part})
        yield self._end(turn, {DERIVED: turn.corpus(DERIVED).committed(after, turn.time)})

    def late(self, turn: Turn) -> Iterator[World]:
        """Register last: what the rule forbids."""
        yield self._registered(turn, "done", "kept")

    def brings(self, row: Row) -> bool:
        return row.person == self.person

    def _rows(self, turn: Turn) -> frozenset[Row]:
        head = turn.head()
        return frozenset(
            row._replace(origin=f"kept-{row.origin}", object=f"kept-{row.origin}-{turn.process}")
            for row in head.rows()
            if row.person == self.person and row.person not in head.restricted
        )

    def _registered(self, turn: Turn, step: str, *memory: object) -> World:
        head = turn.head()
        if DERIVED in head.derived:
            return turn.go(step, *memory)
        after = head._replace(derived=head.derived | {DERIVED})
        return turn.go(step, *memory, corpora={SOURCE: turn.corpus().committed(after, turn.time)})

    def _end(self, turn: Turn, corpora: dict | None = None) -> World:
        if not turn.keeps("register first"):
            return turn.go("late", corpora=corpora)
        return turn.done("kept", corpora=corpora)
