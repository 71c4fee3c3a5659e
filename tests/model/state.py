"""What the model holds: heads, what is on storage, and one world of corpora and actors. All of it is immutable.

A *saved* copy is everything that was ever named by a head (`Corpus.named`): a thief or a backup might have kept each
head, with the corpus key that sealed it. It opens with today's corpus key if that key is still the same.
"""

from __future__ import annotations

from typing import NamedTuple

DAY = 2
"""Ticks of the clock that are more than 24 hours; a tick is 13 hours."""


class Row(NamedTuple):
    """One recording of one person under one consent; `origin` stays when its object is sealed again."""

    person: str
    consent: str
    origin: str
    object: str


class Part(NamedTuple):
    """A part, which holds the data keys of its rows; only a head that names it can open it."""

    id: str
    rows: frozenset[Row]


class Leaving(NamedTuple):
    """A leaving list: ids of objects and parts that a commit took out at `time`."""

    id: str
    ids: frozenset[str]
    time: int


class Draft(NamedTuple):
    """The draft of a receipt, in the head from the erasing commit until the receipt is final: no name, no id but these.

    `leaving` is the list that the same commit wrote; `unreached` are derived corpora that could not be erased first.
    """

    id: str
    leaving: str
    unreached: frozenset[int] = frozenset()


class Final(NamedTuple):
    """What the head records of a receipt: the digest that makes one of several files the final one."""

    draft: str
    digest: str


class Pending(NamedTuple):
    """In the head: a derived corpus that an erasure has still to reach, and what is to be erased there, by tags."""

    draft: str
    corpus: int
    person: str
    consent: str | None = None


class Head(NamedTuple):
    """The only object that is replaced. `derived` are the registered derived corpora, by their index in the world."""

    generation: int
    key: int
    parts: frozenset[Part]
    tombstones: frozenset[str] = frozenset()
    bars: frozenset[tuple[str, str]] = frozenset()
    holds: frozenset[str] = frozenset()
    restricted: frozenset[str] = frozenset()
    leaving: frozenset[Leaving] = frozenset()
    horizon: int = 0
    drafts: frozenset[Draft] = frozenset()
    finals: frozenset[Final] = frozenset()
    derived: frozenset[int] = frozenset()
    pending: frozenset[Pending] = frozenset()

    def rows(self) -> set[Row]:
        return {row for part in self.parts for row in part.rows}

    def ids(self) -> set[str]:
        """Every object and part that the head names."""
        return {part.id for part in self.parts} | {row.object for row in self.rows()}

    def barred(self, row: Row) -> bool:
        """Was the person, or this consent of the person, erased?"""
        return row.person in self.tombstones or (row.person, row.consent) in self.bars

    def listed(self) -> set[str]:
        """Every id on a leaving list."""
        return {id for one in self.leaving for id in one.ids}


class Version(NamedTuple):
    """A head that was replaced and is still on storage: a noncurrent version, or head.prev."""

    generation: int
    time: int
    parts: frozenset[Part]


class Corpus(NamedTuple):
    """One storage prefix.

    Attributes:
        store: id and time of each object and part.
        hidden: ids that were deleted, but whose old version is still there (behind a delete marker).
        versions: heads that were replaced. Locally (`versioned` is False) there is one, and `hidden` stays empty.
        put: when the current head was put.
        named: the corpus key and a part of each head that ever was: what a saved copy could show.
    """

    head: Head
    store: frozenset[tuple[str, int]]
    hidden: frozenset[str] = frozenset()
    versions: frozenset[Version] = frozenset()
    put: int = 0
    named: frozenset[tuple[int, Part]] = frozenset()
    versioned: bool = True

    def with_objects(self, ids: set[str], time: int) -> Corpus:
        return self._replace(store=self.store | {(id, time) for id in ids})

    def has(self, id: str) -> bool:
        return any(one == id for one, _ in self.store)

    def deleted(self, ids: set[str] | frozenset[str]) -> Corpus:
        """Plain deletion: on a bucket with versions the old version stays behind a delete marker."""
        left = frozenset(one for one in self.store if one[0] not in ids)
        hidden = self.hidden | {id for id, _ in self.store - left} if self.versioned else self.hidden
        return self._replace(store=left, hidden=hidden)

    def purged(self, ids: set[str] | frozenset[str]) -> Corpus:
        """Strict deletion: every version of these keys."""
        left = frozenset(one for one in self.store if one[0] not in ids)
        return self._replace(store=left, hidden=self.hidden - ids)

    def committed(self, head: Head, time: int) -> Corpus:
        """The head replaced, with its new parts put just before."""
        old = Version(self.head.generation, self.put, self.head.parts)
        new = {part.id for part in head.parts - self.head.parts}
        return self.with_objects({id for id in new if not self.has(id)}, time)._replace(
            head=head._replace(generation=self.head.generation + 1),
            put=time,
            versions=self.versions | {old} if self.versioned else frozenset({old}),
            named=self.named | {(head.key, part) for part in head.parts},
        )

    def on_storage(self) -> set[str]:
        """Ids of which any version is there."""
        return {id for id, _ in self.store} | self.hidden


class Receipt(NamedTuple):
    """A receipt that a process wrote: a fact outside storage, which nothing takes back.

    `deleted` are the ids that it lists as deleted; `unreached` the derived corpora that it says were not reached.
    """

    corpus: int
    draft: str
    digest: str
    deleted: frozenset[str]
    unreached: frozenset[int]


class Took(NamedTuple):
    """What an erasing commit really took out: known to the model only, so that it can tell whether a receipt lies."""

    corpus: int
    draft: str
    rows: frozenset[Row]


class Actor(NamedTuple):
    """Where an actor is. `run` counts crashes: the rerun is another process, which remembers nothing."""

    step: str
    run: int = 0
    memory: tuple = ()


class World(NamedTuple):
    """One state. `crashes` is how many may still happen."""

    corpora: tuple[Corpus, ...]
    actors: tuple[Actor, ...]
    time: int = 0
    crashes: int = 0
    receipts: frozenset[Receipt] = frozenset()
    took: frozenset[Took] = frozenset()


def corpus(*rows: Row, past: tuple[Row, ...] = (), versioned: bool = True) -> Corpus:
    """A corpus with one part a row. `past` rows were merged away and pruned earlier: of their parts versions remain."""
    parts = frozenset(Part(f"part-{row.origin}", frozenset({row})) for row in rows)
    old = frozenset(Part(f"part-past-{row.origin}", frozenset({row})) for row in past)
    head = Head(0, 0, parts)
    made = Corpus(head, frozenset(), versioned=versioned, named=frozenset((0, part) for part in parts | old))
    if versioned:
        made = made._replace(hidden=frozenset(part.id for part in old))
    return made.with_objects(head.ids(), 0)
