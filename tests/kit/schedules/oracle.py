"""A storage in memory that knows what may happen to a corpus, and refuses the step that breaks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.head import Head, TableRef, open_with, peek
from securedata.corpus.state.layout import TABLES
from securedata.corpus.state.retired import DELAY, listed
from securedata.corpus.state.seen import remember
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError
from securedata.keys.tags import Tagger
from securedata.storage.base import Buffer, Purged
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import key_of, look

HOUR = 3600.0
RESETS = "Z"
"""The actor that may set a horizon back."""


class Row(NamedTuple):
    """What matters of a row."""

    object_id: bytes
    sha256: bytes
    subjects: frozenset[str]
    transcript: str


Rows = dict[str, Row]
Rule = Callable[[str, Row | None, Row | None], bool]
"""May this actor change the row of that path from one to the other?"""


def nothing(path: str, old: Row | None, new: Row | None) -> bool:
    return False


@dataclass(frozen=True)
class Moment:
    """A head, and the rows that it names."""

    head: Head
    rows: Rows
    named: frozenset[str]


@dataclass
class World(MemoryStorage):
    """Checks at every write: what the head names is there; each actor changes only what it may; nothing comes back."""

    reference: Reference
    keys: dict[bytes, bytes]
    rules: dict[str, Rule] = field(default_factory=dict)

    def __init__(
        self,
        reference: Reference,
        start: MemoryStorage,
        rules: dict[str, Rule],
        pruning: frozenset[str] = frozenset(),
        rotating: frozenset[str] = frozenset(),
        erasing: Mapping[str, str] | None = None,
    ) -> None:
        """`pruning`: actors that prune; of them, those named 'Z' may set the horizon back. `rotating`: that rotate.

        `erasing`: the person whom each of some actors erases.
        """
        super().__init__(start.url, start.clock)
        self.pruning, self.rotating, self.erasing = pruning, rotating, erasing or {}
        self.objects = dict(start.objects)
        self.reference = reference
        self.rules = rules
        opened = look(reference, self)
        self.keys = {opened.head.key_id: opened.key}
        self.tagger = Tagger(opened.head.secret)
        self._tables: dict[bytes, list[dict[str, Any]]] = {}
        self.history: dict[int, Moment] = {}
        self.left_at: dict[str, float] = {}
        self.ever: set[str] = set()
        self.gone: set[bytes] = set()
        self.lists: set[str] = set()
        self.people: dict[str, frozenset[str]] = {}
        self.now_named = self._moment()
        self.history[self.now_named.head.generation] = self.now_named
        self.ever |= self._lasting(self.now_named)
        remember(opened.head, reset=True)  # a schedule before this one has seen more, and a prune needs to have seen it

    # ------------------------------------------------------------ the steps

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        super().replace(key, data, version)
        before, after = self.now_named, self._moment()
        assert after.head.generation == before.head.generation + 1
        missing = after.named - set(self.objects)
        assert not missing, f"DANGLING: the new head names {sorted(missing)}"
        name = threading.current_thread().name
        rule = self.rules.get(name, nothing)
        assert name == RESETS or after.head.horizon >= before.head.horizon, f"BACKWARDS: the horizon, by {name}"
        assert after.head.horizon <= max(before.head.horizon, self.clock - DELAY), f"AHEAD: the horizon, by {name}"
        old = {key for key in after.named - before.named if self.objects[key][1] < before.head.horizon}
        assert not old - {"head"}, f"STALE: {old} are older than the horizon"
        for path in sorted(before.rows.keys() | after.rows.keys()):
            old, new = before.rows.get(path), after.rows.get(path)
            if old != new:
                who = threading.current_thread().name
                assert rule(path, old, new), f"{who} changed {path} from {old} to {new}"
        self._check_dead(before, after)
        self._check_held(before, after)
        self._check_key(before.head, after.head)
        ids = {row.object_id for row in after.rows.values()} | {part.id for part in after.head.parts}
        assert not ids & self.gone, "COMES BACK: an object or part that had left"
        self.gone |= {row.object_id for row in before.rows.values()} | {part.id for part in before.head.parts}
        self.gone -= ids
        back = (self._lasting(after) - self._lasting(before)) & set(self.left_at)
        assert not back, f"COMES BACK: {back}, which another writer may be about to delete"
        known = {one.table.id for one in before.head.retired}
        for one in after.head.retired:
            if one.table.id not in known:
                for name in listed(self, after.head, one):
                    self.left_at[name] = min(self.left_at.get(name, one.time), one.time)  # an erasure lists it again
        unlisted = self._lasting(before) - self._lasting(after) - set(self.left_at)
        assert not unlisted, f"LEFT without being listed: {unlisted}"
        self.now_named = after
        self.history[after.head.generation] = after
        self.ever |= self._lasting(after)

    def _check_dead(self, before: Moment, after: Moment) -> None:
        dead = {one.tag for one in before.head.tombstones}
        known = {row.object_id for row in before.rows.values()}
        for path, row in after.rows.items():
            if row.object_id not in known:
                assert not any(self.tagger.tag(name) in dead for name in row.subjects), f"ERASED person in {path}"

    def _check_key(self, before: Head, after: Head) -> None:
        """A corpus key is replaced by rotations only, and what it was replaced by does not go back."""
        if after.key_id == before.key_id:
            assert after.superseded == before.superseded
            return
        name = threading.current_thread().name
        assert name in self.rotating, f"ROTATED by {name}"
        assert after.superseded == (*before.superseded, before.key_id), "a superseded key is forgotten"
        assert after.key_id not in after.superseded, "a superseded key comes back"
        assert len(set(self.keys.values())) == len(self.keys), "two ids for one key"
        assert len(after.wraps) == len(before.wraps)

    def _check_held(self, before: Moment, after: Moment) -> None:
        """While the head shows a hold, nothing of that person leaves or changes; its object may get another key."""
        held = {one.tag for one in before.head.holds}
        for path, row in before.rows.items() if held else ():
            if any(self.tagger.tag(name) in held for name in row.subjects):
                now = after.rows.get(path)
                who = threading.current_thread().name
                same = now is not None and now._replace(object_id=row.object_id) == row
                assert same, f"HELD: {who} changed {path} from {row} to {now}"

    def delete(self, key: str) -> None:
        assert key not in self.now_named.named, f"DELETED {key}, which the head names"
        if key in self.ever:
            when = self.left_at.get(key)
            assert when is not None, f"DELETED {key}, which left nowhere"
            assert self.clock >= when + DELAY, f"DELETED {key} {self.clock - when} s after it left, under readers"
        elif threading.current_thread().name in self.pruning and key in self.objects and key not in self.lists:
            age = self.clock - self.objects[key][1]
            assert age >= DELAY, f"DELETED {key}, which was {age} s old and in flight"
        super().delete(key)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        """An erasure deletes at once every part that has left, and the objects of its person; nothing else early."""
        for key in keys:
            person = self.erasing.get(threading.current_thread().name)
            listed_now = key in self.left_at and key not in self.now_named.named
            early = person and listed_now and (key.startswith(TABLES) or person in self.people.get(key, ()))
            if early or key.startswith(".tmp-probe-") or key in self.lists - self.now_named.named:
                yield from super().purge([key])
            else:
                there = key in self.objects
                self.delete(key)
                yield key, Purged(int(there))

    # ------------------------------------------------------------ looking

    def _moment(self) -> Moment:
        sealed = self.objects["head"][0]
        key_id = peek(sealed, self.url)[0].key_id
        if key_id not in self.keys:  # what its wraps open to, not what the writer says
            self.keys[key_id] = look(self.reference, self).key
        head = open_with(sealed, self.keys[key_id], self.url)
        rows: Rows = {}
        lists = {one.table.storage_key for one in head.retired}
        self.lists |= lists
        named = {"head"} | lists
        for part in head.parts:
            assert part.storage_key in self.objects, f"DANGLING: part {part.storage_key}"
            named.add(part.storage_key)
            for one in self._part(head, part):
                assert one["path"] not in rows, "a path stands in two rows"
                people = frozenset(one["subjects"])
                rows[one["path"]] = Row(one["object_id"], one["source_sha256"], people, one["transcript"])
                key = key_of(one)
                named.add(key)
                self.people[key] = self.people.get(key, people) | people
        return Moment(head, rows, frozenset(named))

    def _part(self, head: Head, part: TableRef) -> list[dict[str, Any]]:
        if part.id not in self._tables:
            columns = ["path", "object_id", "pack", "source_sha256", "subjects", "transcript"]
            self._tables[part.id] = read_table(self, head.corpus_id, part, columns).to_pylist()
        return self._tables[part.id]

    @staticmethod
    def _lasting(moment: Moment) -> set[str]:
        """What a head names except itself and the leaving lists, which have no readers."""
        return set(moment.named) - {"head"} - {one.table.storage_key for one in moment.head.retired}

    @property
    def rows(self) -> Rows:
        return self.now_named.rows

    # ------------------------------------------------------------ the end

    def finish(self, thorough: bool) -> None:
        """A day later, after a prune, there is what the head names and nothing else; then another, and verify is glad.

        More than one prune, because a commit may itself clear lists, whose tables go when it has landed, and because of
        objects that are kept for two days.
        """
        if thorough:
            report = verify(self.reference, storage=self, threads=1)
            assert {one.error for one in report.findings} <= {"Orphan", "LeavingDue", "StoredInFuture"}, report.findings
        for _ in range(3):  # from the time on at which storage's clock has reached what was stored under a wrong one
            self.clock = max(self.clock, *(time for _, time in self.objects.values())) + 25 * HOUR
            prune(Writer(self.reference, storage=self))
        assert not self.now_named.head.retired
        assert set(self.objects) == self.now_named.named, "what is there and what is named is the same"
        if thorough:
            report = verify(self.reference, storage=self, threads=1)
            assert not report.findings, report.findings
            assert (report.in_flight, report.objects_opened) == (0, len({row.object_id for row in self.rows.values()}))
