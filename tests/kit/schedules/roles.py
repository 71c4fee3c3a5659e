"""Actors over one corpus, and what each may change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from securedata.corpus.check.prune import prune
from securedata.corpus.packs.report import PackReport
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import DELAY
from securedata.corpus.writer import Writer
from securedata.errors import HorizonInFuture, NoSuchHold, ObjectMissing, RowReplaced, SubjectErased
from securedata.lifecycle.erasure.erase import Erased, Options
from securedata.lifecycle.erasure.erase import erase as run_erasure
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.hold import HoldAdded, HoldReleased, add_hold, release_hold
from securedata.lifecycle.packing.pack import pack
from securedata.lifecycle.receipt.store import find_receipt
from securedata.lifecycle.reencrypt import ReencryptReport
from securedata.lifecycle.rotate import RotateReport, rotate_head
from securedata.lifecycle.rotate import rotate as rotate_corpus
from securedata.storage.base import Storage
from tests.kit.corpora.contents import open_quietly, rows_of
from tests.kit.corpora.rows import content, packed_rows, row, table
from tests.kit.schedules.interleave import pause
from tests.kit.schedules.oracle import HOUR, RESETS, Row, Rule, World, nothing

READS = frozenset(("get", "get_ranges", "get_versioned", "pause"))


@dataclass(frozen=True)
class Role:
    """An actor, what it may change, and what must hold of the rows once it is done."""

    name: str
    act: Callable[[World, Storage], object]
    rule: Rule = nothing
    after: Callable[[World, Sequence[Any]], None] = lambda world, results: None
    mortal: bool = True
    points: frozenset[str] | None = None
    prunes: bool = False
    erases: str = ""
    rotates: bool = False


def digest(path: str, version: int = 0) -> bytes:
    return hashlib.sha256(content(path, version)).digest()


def writer_of(world: World, storage: Storage) -> Writer:
    return Writer(world.reference, storage=storage)


def ingest(
    name: str,
    *paths: str,
    version: int = 0,
    replace: bool = False,
    subjects: Sequence[str] = ("ann",),
    packed: bool = False,
) -> Role:
    """Seals and commits; seals anew what a prune may have taken meanwhile, as an ingest does.

    `packed`: all as one pack; each recording is of the person whose name its path begins with.
    """

    def act(world: World, storage: Storage) -> Outcome:
        writer = writer_of(world, storage)
        todo = list(paths)
        total = Outcome()
        while todo:
            contents = {path: content(path, version) for path in todo}
            if packed:
                rows = packed_rows(writer, contents)
            else:
                rows = [row(writer, path, data, subjects) for path, data in contents.items()]
            outcome = writer.commit(table(*rows), replace=replace)
            seen = outcome.added + outcome.updated + outcome.unchanged
            left = sum(map(len, (outcome.conflicts, outcome.erased, outcome.held, outcome.stale)))
            assert seen + left == len(todo), "every row is accounted for"
            ids = {one["object_id"] for one in rows}
            packs = {one["pack"] for one in rows if packed}
            assert outcome.committed <= ids | packs
            assert outcome.committed - packs <= {
                one.object_id for m in world.history.values() for one in m.rows.values()
            }
            if packed:
                assert outcome.committed in (set(), ids | packs), "TORN: a part of a new pack"
            total.conflicts += outcome.conflicts
            total.erased += outcome.erased
            total.held += outcome.held
            todo = outcome.stale
        return total

    def rule(path: str, old: Row | None, new: Row | None) -> bool:
        if path not in paths or new is None or new.sha256 != digest(path, version):
            return False
        return old is None or replace

    def after(world: World, results: Sequence[Any]) -> None:
        assert results, "it was run again until it ended"
        last = results[-1]
        for path in set(paths).difference(last.conflicts, last.erased, last.held):
            assert any(
                path in moment.rows and moment.rows[path].sha256 == digest(path, version)
                for moment in world.history.values()
            ), f"LOST: {path} was committed and no head ever named it"

    return Role(name, act, rule, after)


def describe(name: str, path: str, words: str) -> Role:
    """Corrects the transcript of a recording, if it is there."""

    def act(world: World, storage: Storage) -> Outcome:
        writer = writer_of(world, storage)
        known = rows_of(writer.head, storage).get(path)
        return writer.commit(update=table({**known, "transcript": words})) if known else Outcome()

    def rule(changed: str, old: Row | None, new: Row | None) -> bool:
        return bool(changed == path and old and new and new == old._replace(transcript=words))

    return Role(name, act, rule)


def remove(name: str, *paths: str) -> Role:
    def act(world: World, storage: Storage) -> Outcome:
        return writer_of(world, storage).commit(remove=paths)

    return Role(name, act, lambda path, old, new: path in paths and new is None)


def erase(name: str, person: str, held_by: str = "") -> Role:
    """An erasure to its receipt; `held_by`: the actor whose hold may turn it into a restriction."""

    def act(world: World, storage: Storage) -> Erased:
        return run_erasure(writer_of(world, storage), Request("subject", names=(person,)), Options(absent_ok=True))

    def after(world: World, results: Sequence[Any]) -> None:
        assert results, "it was run again until it ended"
        head, tag = world.now_named.head, world.tagger.tag(person)
        if held_by and tag not in {one.tag for one in head.tombstones}:
            assert tag in {one.tag for one in head.restricted}, "NEITHER restricted nor erased"
            return
        assert tag in {one.tag for one in head.tombstones}
        assert not any(person in one.subjects for one in world.rows.values()), "RESURRECTED"
        assert not any(tag.hex() in draft["people"] for draft in head.erasures), "UNFINISHED"
        assert head.receipts
        for one in head.receipts:
            assert find_receipt(head.corpus_id.hex(), one["id"], one["digest"]), "a FINAL receipt that nobody has"
        past = [one for one in world.history.values() if tag not in {stone.tag for stone in one.head.tombstones}]
        last = max(past, key=lambda moment: moment.head.generation).rows.values()
        gone = {object_key(row.object_id) for row in last if person in row.subjects}
        assert not gone & set(world.objects), "NOT ERASED"

    def rule(path: str, old: Row | None, new: Row | None) -> bool:
        return bool(old and person in old.subjects and new is None)

    return Role(name, act, rule, after, rotates=True, erases=person)


def rotate(name: str) -> Role:
    """Seals the head under a fresh corpus key; a run after a killed one does so again."""

    def act(world: World, storage: Storage) -> tuple[RotateReport, bytes]:
        writer = writer_of(world, storage)
        report = rotate_head(writer)
        return report, world.history[report.generation].head.key_id

    def after(world: World, results: Sequence[Any]) -> None:
        head = world.now_named.head
        assert results[-1][1] in (head.key_id, *head.superseded)
        assert head.superseded, "LOST: a rotation"

    return Role(name, act, after=after, rotates=True)


def seal_again(name: str, grace: float = 48 * HOUR) -> Role:
    """Rotates and seals every object again; a run after a killed one goes on with it."""

    def act(world: World, storage: Storage) -> ReencryptReport:
        report = rotate_corpus(world.reference, data_keys=True, grace=grace, threads=1, storage=storage)
        assert report.data_keys is not None
        assert not report.data_keys.failed
        assert report.data_keys.finished
        return report.data_keys

    def rule(path: str, old: Row | None, new: Row | None) -> bool:
        return bool(old and new and new == old._replace(object_id=new.object_id))

    def after(world: World, results: Sequence[Any]) -> None:
        first = world.history[min(world.history)]
        assert results, "it was run again until it ended"
        assert not world.now_named.head.data_keys_since
        assert not {row.object_id for row in world.rows.values()} & {row.object_id for row in first.rows.values()}

    return Role(name, act, rule, after, rotates=True)


def pack_up(name: str, **options: Any) -> Role:
    """Packs, compacts or unpacks; no row changes but for its place, or, unpacked, its object."""

    def act(world: World, storage: Storage) -> PackReport:
        report = pack(world.reference, threads=1, storage=storage, **options)
        assert not report.failed
        return report

    def rule(path: str, old: Row | None, new: Row | None) -> bool:
        return bool(options.get("unpack") and old and new and new == old._replace(object_id=new.object_id))

    def after(world: World, results: Sequence[Any]) -> None:
        assert results, "it was run again until it ended"

    return Role(name, act, rule, after)


def hold(name: str, person: str, case: str, ended_by: str = "", absent_ok: bool = False) -> Role:
    """Holds a person for a case; `ended_by`: the actor that may have released it by the end."""

    def act(world: World, storage: Storage) -> HoldAdded:
        return add_hold(writer_of(world, storage), person, case, absent_ok=absent_ok)

    def after(world: World, results: Sequence[Any]) -> None:
        assert results, "it was run again until it ended"
        tag = world.tagger.tag(person)
        heads = [world.now_named.head] if not ended_by else [moment.head for moment in world.history.values()]
        assert any((one.tag, one.case) == (tag, case) for head in heads for one in head.holds), "NOT HELD"

    return Role(name, act, after=after)


def release(name: str, person: str, case: str) -> Role:
    """Ends a hold, if it is there yet."""

    def act(world: World, storage: Storage) -> HoldReleased | None:
        try:
            return release_hold(writer_of(world, storage), case, subject=person)
        except NoSuchHold:  # only the other case holds the person so far
            return None

    return Role(name, act)


def sweep(name: str) -> Role:
    """A prune."""
    return Role(name, lambda world, storage: prune(writer_of(world, storage)), prunes=True)


def reset() -> Role:
    """A prune that sets times in the future back."""

    def after(world: World, results: Sequence[Any]) -> None:
        assert world.now_named.head.horizon <= world.clock - DELAY

    return Role(
        RESETS, lambda world, storage: prune(writer_of(world, storage), reset_horizon=True), after=after, prunes=True
    )


def unless_ahead(role: Role) -> Role:
    """The role of somebody who goes away when the horizon lies in the future."""

    def act(world: World, storage: Storage) -> object:
        try:
            return role.act(world, storage)
        except HorizonInFuture:
            return None

    def after(world: World, results: Sequence[Any]) -> None:
        if results and results[-1] is not None:
            role.after(world, results)

    return replace(role, act=act, after=after)


def clock(hours: float = 13, times: int = 3) -> Role:
    def act(world: World, storage: Storage) -> None:
        for number in range(times):
            pause(storage, f"+{hours:g} h")
            world.clock += hours * HOUR
            assert number >= 0

    return Role("T", act, mortal=False)


def read(name: str) -> Role:
    """A reader in flight: it has what it opened, for a day at least, and hears the reason afterwards."""

    def act(world: World, storage: Storage) -> int:
        corpus = open_quietly(world.reference, storage)
        rows = world.history[corpus.generation].rows
        assert sorted(corpus.table.column("path").to_pylist()) == sorted(rows)
        done = 0
        for path, one in sorted(rows.items()):
            try:
                data = corpus.read(path)
            except (RowReplaced, ObjectMissing, SubjectErased):
                assert object_key(one.object_id) not in world.objects, "and the oracle saw to when it went"
            else:
                assert hashlib.sha256(data).digest() == one.sha256
                done += 1
        return done

    return Role(name, act, mortal=False, points=READS)
