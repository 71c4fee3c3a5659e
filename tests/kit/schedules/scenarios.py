"""The scenarios that put actors together, and how they are played."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence

from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.writer import Writer
from securedata.lifecycle.receipt.operator import make_operator
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import content, fill, make, row, table
from tests.kit.schedules.interleave import Actor, Explorer, Run, Scripted
from tests.kit.schedules.made import erase_both, retain, with_made
from tests.kit.schedules.oracle import HOUR, World
from tests.kit.schedules.roles import (
    Role,
    clock,
    describe,
    erase,
    hold,
    ingest,
    pack_up,
    read,
    release,
    remove,
    reset,
    rotate,
    seal_again,
    sweep,
    unless_ahead,
)

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
        clock(hours=25, times=2),
        sweep("P"),
    ],
    "replaced while it is sealed again": lambda: [
        seal_again("S"),
        ingest("A", "old/2", version=1, replace=True),
        clock(hours=25, times=2),
    ],
    "two rotations": lambda: [
        read("R"),
        rotate("K"),
        rotate("L"),
        ingest("A", "old/1", version=1, replace=True),
        clock(hours=25, times=2),
    ],
    "packed": lambda: [
        pack_up("S"),
        ingest("A", "old/2", version=1, replace=True),
        remove("D", "old/1"),
        clock(hours=25, times=2),
        sweep("P"),
    ],
    "packed beside an erasure": lambda: [
        pack_up("S"),
        erase("E", "bob"),
        ingest("A", "bob/new", subjects=("bob",)),
        clock(hours=25, times=1),
    ],
    "added in a pack": lambda: [
        ingest("A", "ann/a", "ann/b", packed=True),
        ingest("B", "ann/b", version=1),
        clock(hours=25, times=2),
        sweep("P"),
    ],
    "added in a pack beside an erasure": lambda: [
        ingest("A", "bob/new", "ann/a", packed=True),
        erase("E", "bob"),
        clock(hours=25, times=1),
    ],
    "two packers": lambda: [pack_up("S"), pack_up("T", size=700), read("R"), clock(hours=25, times=2), sweep("P")],
    "packed, compacted and unpacked": lambda: [
        pack_up("S"),
        remove("D", "old/1"),
        pack_up("C", compact=0),
        pack_up("U", unpack=True),
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
    "an erasure beside an ingest": lambda: [
        erase("E", "bob"),
        ingest("A", "bob/new", "old/1", subjects=("bob",)),
        read("R"),
        clock(hours=25, times=1),
    ],
    "two erasures": lambda: [erase("E", "bob"), erase("F", "bob"), remove("D", "bob/2"), sweep("P")],
    "erased or held": lambda: [
        erase("E", "bob", held_by="H"),
        hold("H", "bob", "7", absent_ok=True),
        ingest("A", "bob/2", version=1, replace=True, subjects=("bob",)),
    ],
    "an erasure beside retain": with_made(
        lambda made: [
            retain("M", made, "ann"),
            erase_both("E", "bob", made),
            ingest("A", "bob/new", "old/1", subjects=("bob",)),
        ]
    ),
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
    make_operator("example.com/erasure")
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
    erasing = {role.name: role.erases for role in roles if role.erases}
    world = World(reference, place, {role.name: role.rule for role in roles}, pruning, rotating, erasing)
    actors = []
    for left in ("holds", "receipts"):  # of the schedule before this one
        shutil.rmtree(state_dir() / left, ignore_errors=True)
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
