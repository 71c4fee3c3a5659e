"""The real commit code under every order of its storage calls that few switches and faults can make, and drawn ones.

Ingests, replacements, removals, merges, an erased person, a prune and readers in flight, while the clock moves; any
write may be where an actor is killed and run again, or where storage's answer is lost.
"""

from __future__ import annotations

import os
import random
import secrets
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securedata.corpus.config import Reference
from securedata.corpus.packs import making
from securedata.corpus.rows import plan
from securedata.lifecycle import reencrypt
from securedata.lifecycle.packing import unpacking
from securedata.testing.memory import MemoryStorage
from tests.conftest import FULL, Note
from tests.kit.schedules.at_once import AtOnce, TasksAtOnce
from tests.kit.schedules.interleave import Explorer, TooManySchedules, listed
from tests.kit.schedules.made import reached
from tests.kit.schedules.scenarios import AHEAD, SCENARIOS, ahead, begin, explore, play

SCHEDULES = 500
"""Drawn of those with two switches and a fault. A scenario has 50,000 to 220,000 of them, by estimate, 12 hours of one
core for eight; these take a minute or two each, and the next run draws others."""


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What writers remember lies in memory: renaming a file takes milliseconds on a disk, a hundred times a second."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        yield


@pytest.fixture
def start(state: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Reference, MemoryStorage]:
    monkeypatch.setattr("securedata.corpus.state.commit._sleep", lambda seconds: None)
    monkeypatch.setattr(plan, "MERGE_AT", 3)
    monkeypatch.setattr(reencrypt, "TaskPool", TasksAtOnce)
    for module in (making, unpacking):
        monkeypatch.setattr(module, "BoundedPool", AtOnce)
    reached(monkeypatch)
    return begin()


FEW = ("two ingests", "removed and recorded again", "packed beside an erasure")
"""Goes through them whole by default; `test_every_schedule_of_a_few_switches` does so with all."""


@pytest.mark.parametrize("scenario", SCENARIOS if FULL else FEW)
def test_a_fault_at_every_write(scenario: str, start: tuple[Reference, MemoryStorage]) -> None:
    assert explore(start, scenario, 0, 1) > 10


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_some_schedules_with_two_switches_and_a_fault(scenario: str, start: tuple[Reference, MemoryStorage]) -> None:
    assert explore(start, scenario, 2, 1, share=0.03) > 2


@pytest.mark.parametrize("scenario", SCENARIOS)
@given(choices=st.lists(st.integers(0, 5), max_size=60), faults=st.integers(0, 2))
@settings(max_examples=500 if FULL else 5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_drawn_schedules(
    scenario: str, start: tuple[Reference, MemoryStorage], choices: list[int], faults: int
) -> None:
    play(start, scenario, listed(choices), preemptions=6, faults=faults)


@pytest.mark.parametrize("scenario", AHEAD)
@pytest.mark.parametrize(("preemptions", "faults"), [(0, 1), (1, 0)])
def test_a_horizon_in_the_future(
    scenario: str, preemptions: int, faults: int, start: tuple[Reference, MemoryStorage]
) -> None:
    assert explore(ahead(start), scenario, preemptions, faults) > 10


@pytest.mark.full
@pytest.mark.parametrize(("preemptions", "faults"), [(1, 1), (2, 0)])
@pytest.mark.parametrize("scenario", AHEAD)
def test_every_schedule_under_a_horizon_in_the_future(
    scenario: str, preemptions: int, faults: int, start: tuple[Reference, MemoryStorage], note: Note
) -> None:
    runs = explore(ahead(start), scenario, preemptions, faults)
    note(f"{runs} schedules, all that need at most {preemptions} switches and {faults} faults")
    assert runs > 100


@pytest.mark.full
@pytest.mark.parametrize(("preemptions", "faults"), [(1, 1), (2, 0)])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_schedule_of_a_few_switches(
    scenario: str, preemptions: int, faults: int, start: tuple[Reference, MemoryStorage], note: Note
) -> None:
    runs = explore(start, scenario, preemptions, faults)
    note(f"{runs} schedules, all that need at most {preemptions} switches and {faults} faults")
    assert runs > 400


@pytest.mark.full
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_drawn_schedules_with_two_switches_and_a_fault(
    scenario: str, start: tuple[Reference, MemoryStorage], note: Note
) -> None:
    seed = secrets.randbits(32)  # others each time
    runs, drawn = 0, random.Random(seed)
    try:
        while runs < SCHEDULES:
            runs += explore(start, scenario, 2, 1, share=0.1, seed=drawn.getrandbits(32))
    finally:
        note(f"{runs} schedules of 2 switches and 1 fault, drawn from seed {seed}")


# -------------------------------------------------------------------------------------------------------- the explorer


def counted(most: int) -> list[tuple[int, int]]:
    """The schedules of two choices between three."""
    found = []
    Explorer(most=most).each(lambda choose: found.append((choose(3), choose(3))))
    return found


def test_the_explorer_takes_every_schedule_once_or_says_that_there_are_more() -> None:
    assert sorted(counted(9)) == [(a, b) for a in range(3) for b in range(3)]
    with pytest.raises(TooManySchedules, match="more than 8 schedules"):
        counted(8)
