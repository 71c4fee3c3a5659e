"""Actors over one corpus, what each may change, and the scenarios that put them together."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from securedata.corpus.check.prune import prune
from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import DELAY
from securedata.corpus.writer import Writer
from securedata.errors import HorizonInFuture, NoSuchHold, ObjectMissing, RowReplaced
from securedata.lifecycle.holds.hold import HoldAdded, HoldReleased, add_hold, release_hold
from securedata.lifecycle.reencrypt import ReencryptReport
from securedata.lifecycle.rotate import RotateReport, rotate_head
from securedata.lifecycle.rotate import rotate as rotate_corpus
from securedata.storage.base import Storage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import open_quietly, rows_of
from tests.kit.corpora.erasing import without
from tests.kit.corpora.rows import content, fill, make, row, table
from tests.kit.schedules.interleave import Actor, Explorer, Run, Scripted, pause
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
    rotates: bool = False


def digest(path: str, version: int = 0) -> bytes:
    return hashlib.sha256(content(path, version)).digest()


def writer_of(world: World, storage: Storage) -> Writer:
    return Writer(world.reference, storage=storage)


# -------------------------------------------------------------------------------------------------------------- actors


def ingest(name: str, *paths: str, version: int = 0, replace: bool = False, subjects: Sequence[str] = ("ann",)) -> Role:
    """Seals and commits; seals anew what a prune may have taken meanwhile, as an ingest does."""

    def act(world: World, storage: Storage) -> Outcome:
        writer = writer_of(world, storage)
        todo = list(paths)
        total = Outcome()
        while todo:
            rows = [row(writer, path, content(path, version), subjects) for path in todo]
            outcome = writer.commit(table(*rows), replace=replace)
            seen = outcome.added + outcome.updated + outcome.unchanged
            left = sum(map(len, (outcome.conflicts, outcome.erased, outcome.held, outcome.stale)))
            assert seen + left == len(todo), "every row is accounted for"
            ids = {one["object_id"] for one in rows}
            assert outcome.committed <= ids
            assert outcome.committed <= {one.object_id for m in world.history.values() for one in m.rows.values()}
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


def erase(name: str, person: str) -> Role:
    """The commit of an erasure: the person's rows go and a tombstone comes, in one step."""

    def act(world: World, storage: Storage) -> None:
        writer_of(world, storage).transact(lambda attempt: without([person], attempt))

    def after(world: World, results: Sequence[Any]) -> None:
        assert not any(person in one.subjects for one in world.rows.values()), "RESURRECTED"

    return Role(name, act, lambda path, old, new: bool(old and person in old.subjects and new is None), after)


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


def hold(name: str, person: str, case: str, ended_by: str = "") -> Role:
    """Holds a person for a case; `ended_by`: the actor that may have released it by the end."""

    def act(world: World, storage: Storage) -> HoldAdded:
        return add_hold(writer_of(world, storage), person, case)

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
            except (RowReplaced, ObjectMissing):
                assert object_key(one.object_id) not in world.objects, "and the oracle saw to when it went"
            else:
                assert hashlib.sha256(data).digest() == one.sha256
                done += 1
        return done

    return Role(name, act, mortal=False, points=READS)


# ----------------------------------------------------------------------------------------------------------- scenarios

SCENARIOS: dict[str, Callable[[], list[Role]]] = {
    "two ingests": lambda: [ingest("A", "new/a"), ingest("B", "new/b"), clock(), sweep("P")],
    "the same file twice": lambda: [ingest("A", "x"), ingest("B", "x"), remove("D", "x"), clock(), sweep("P")],
    "two versions": lambda: [
        ingest("A", "x", version=1, replace=True),
        ingest("B", "x", version=2, replace=True),
        remove("D", "x"),
        clock(),
    ],
    "conflict": lambda: [ingest("A", "x", version=1), ingest("B", "x", version=2), remove("D", "old/1"), sweep("P")],
    "descriptions": lambda: [
        describe("U", "old/1", "one"),
        describe("V", "old/2", "two"),
        remove("D", "old/1"),
        ingest("A", "new/a"),
    ],
    "an erased person": lambda: [
        ingest("A", "bob/new", subjects=("bob",)),
        ingest("B", "ann/new"),
        erase("E", "bob"),
        clock(times=2),
        sweep("P"),
    ],
    "removed and recorded again": lambda: [
        remove("D", "old/1", "old/3"),
        ingest("A", "old/1"),
        clock(),
        sweep("P"),
        sweep("Q"),
    ],
    "a rotation": lambda: [
        ingest("A", "new/a"),
        remove("D", "old/1", "old/3"),
        rotate("K"),
        clock(times=2),
        sweep("P"),
    ],
    "sealed again": lambda: [
        seal_again("S"),
        remove("D", "old/1"),
        ingest("A", "old/2", version=1, replace=True),
        clock(hours=25, times=3),
        sweep("P"),
    ],
    "two rotations": lambda: [
        read("R"),
        rotate("K"),
        rotate("L"),
        ingest("A", "old/1", version=1, replace=True),
        clock(hours=25, times=2),
    ],
    "a hold": lambda: [
        hold("H", "ann", "7"),
        ingest("A", "old/1", "bob/2", version=1, replace=True, subjects=("ann",)),
        remove("D", "old/2", "bob/2"),
        clock(times=2),
        sweep("P"),
    ],
    "a hold that ends": lambda: [
        hold("H", "ann", "7", ended_by="L"),
        hold("G", "ann", "8"),
        release("L", "ann", "7"),
        remove("D", "old/2"),
        describe("U", "old/3", "words"),
    ],
    "a reader in flight": lambda: [
        read("R"),
        ingest("A", "old/1", version=1, replace=True),
        remove("D", "old/3"),
        clock(hours=25, times=2),
        sweep("P"),
    ],
}


def begin() -> tuple[Reference, MemoryStorage]:
    """Three recordings of ann and one of bob in two parts, and a leaving list that is nearly due."""
    place = MemoryStorage()
    reference = make(place)
    writer = Writer(reference, storage=place)
    fill(writer, "old/1", "gone")
    fill(writer, "old/2", "old/3", "bob/1")
    writer.commit(table(row(writer, "bob/2", content("bob/2"), ["bob"])), remove=["gone", "bob/1"])
    place.clock += 20 * HOUR
    return reference, place


AHEAD: dict[str, Callable[[], list[Role]]] = {
    "ingests and a reset": lambda: [
        unless_ahead(ingest("A", "new/a")),
        unless_ahead(remove("D", "old/1")),
        unless_ahead(sweep("P")),
        reset(),
    ],
    "a reset while time passes": lambda: [
        reset(),
        clock(hours=25, times=2),
        unless_ahead(ingest("A", "old/1", version=1, replace=True)),
    ],
}
"""With a horizon, and a list of what leaves, that a prune and a removal under a wrong clock have left in the future."""


def ahead(start: tuple[Reference, MemoryStorage]) -> tuple[Reference, MemoryStorage]:
    """The same corpus after a while in which the clock was wrong by four days."""
    reference, place = start
    writer = Writer(reference, storage=place)
    place.clock += 96 * HOUR
    writer.commit(remove=["old/3"])
    writer.commit_horizon()
    place.clock -= 96 * HOUR
    return reference, place


def play(
    start: tuple[Reference, MemoryStorage],
    scenario: str,
    choose: Callable[[int], int],
    preemptions: int,
    faults: int,
    thorough: bool = False,
) -> World:
    """One schedule of a scenario, from the same start."""
    roles, world, actors = cast(start, {**SCENARIOS, **AHEAD}[scenario]())
    return see(Run(world, actors, choose, preemptions, faults, lambda: None), world, roles, thorough)


def act_out(start: tuple[Reference, MemoryStorage], roles: list[Role], script: Sequence[tuple[str, str]]) -> World:
    """One schedule, told step by step."""
    roles, world, actors = cast(start, roles)
    return see(Scripted(world, actors, script), world, roles, thorough=True)


def cast(start: tuple[Reference, MemoryStorage], roles: list[Role]) -> tuple[list[Role], World, list[Actor]]:
    reference, place = start
    pruning = frozenset(role.name for role in roles if role.prunes)
    rotating = frozenset(role.name for role in roles if role.rotates)
    world = World(reference, place, {role.name: role.rule for role in roles}, pruning, rotating)
    actors = []
    shutil.rmtree(state_dir() / "holds", ignore_errors=True)  # notes of the schedule before this one
    for role in roles:
        actor = Actor(role.name, functools.partial(role.act, world), role.mortal)
        if role.points is not None:
            actor.points = role.points
        actors.append(actor)
    return roles, world, actors


def see(run: Run, world: World, roles: list[Role], thorough: bool) -> World:
    run.run()
    try:
        for role, actor in zip(roles, run.actors, strict=True):
            role.after(world, actor.results)
        world.finish(thorough)
    except AssertionError as error:
        raise AssertionError(f"{error}\n  after the steps:\n    " + "\n    ".join(run.trace)) from error
    return world


def explore(
    start: tuple[Reference, MemoryStorage],
    scenario: str,
    preemptions: int,
    faults: int,
    share: float = 1.0,
    seed: int = 0,
) -> int:
    """How many schedules it took to go through them."""
    explorer = Explorer(share, seed)
    explorer.each(lambda choose: play(start, scenario, choose, preemptions, faults, explorer.runs % 20 == 0))
    return explorer.runs
