"""The commit protocol as it is meant to be: no interleaving of these actors breaks an invariant."""

from __future__ import annotations

import pytest

from tests.conftest import Note
from tests.model.explore import Explored, NotExplored
from tests.model.scenarios import ACTORS, run

DAILY = (
    "ingest ann",
    "ingest bob",
    "replace ann",
    "remove ann",
    "merge",
    "rotate",
    "re-encrypt ann",
    "prune",
    "hold ann",
    "read",
    "retain ann",
    "erase ann",
    "erase bob",
    "erase a consent",
)
CLOCKS = ("clock", "a day", "days")
ALL = tuple(name for name in ACTORS if name not in CLOCKS)

THREE = (
    "erase ann + hold ann + ingest ann",
    "erase ann + hold ann + replace ann",
    "hold, then erase ann + ingest ann + prune",
    "re-encrypt ann + remove ann + prune + a day",
    "erase ann + retain ann + ingest ann",
    "erase the source only + retain ann + ingest ann",
    "erase the source only + retain ann + reach ann",
    "erase ann + prune + a day",
    "ingest bob + prune + days",
    "merge + prune + erase ann",
    "read + erase ann + re-encrypt ann",
    "read + re-encrypt ann + remove ann",
    "read + remove ann + prune + a day",
    "erase a consent + ingest ann + ingest ann under a new consent",
)
LARGE = (
    "erase ann + hold ann + retain ann",
    "erase ann + retain ann + erase the source only",
    "erase ann + retain ann + prune",
    "hold, then erase ann + erase ann + ingest ann",
    "re-encrypt ann + remove ann + prune + clock",
    "merge + prune + erase ann + clock",
    "erase ann + prune + clock + ingest bob",
    "erase ann + erase ann + prune + a day",
    "erase ann + erase bob + prune + a day",
)


def check(found: Explored) -> None:
    assert found.fault is None, str(found.fault)
    assert found.ends


@pytest.mark.parametrize("one", DAILY)
def test_every_pair_with_one_crash(one: str, note: Note) -> None:
    states = 0
    for other in DAILY[DAILY.index(one) :]:
        found = run(f"{one} + {other}")
        check(found)
        states += found.states
    note(f"{states} states of {one} with each other")


@pytest.mark.parametrize("actors", THREE)
def test_three_with_one_crash(actors: str, note: Note) -> None:
    found = run(actors)
    check(found)
    note(f"{found.states} states of {actors}")


@pytest.mark.parametrize(
    "actors", ["erase ann + erase ann", "erase ann + merge", "erase ann + retain ann", "prune + a day"]
)
def test_a_local_disk_has_one_older_head_and_no_versions(actors: str) -> None:
    check(run(actors, versioned=False))


def test_two_crashes_of_one_erasure() -> None:
    check(run("erase ann", crashes=2))
    check(run("erase ann + ingest ann", crashes=2))


def test_an_ingest_under_a_new_consent_lands_after_the_old_one_was_erased() -> None:
    """Else the bar would be a tombstone, and its invariant empty."""
    ends = run("erase a consent + ingest ann under a new consent", crashes=0).outcomes
    assert {end[1] for end in ends} == {"added"}
    ends = run("erase a consent + ingest ann", crashes=0).outcomes
    assert {end[1] for end in ends} == {"added", "dropped"}


def test_a_hold_that_is_met_restricts() -> None:
    assert ("restricted", "held or released") in run("erase ann + hold ann", crashes=0).outcomes


def test_storage_that_answers_a_deletion_and_deletes_nothing() -> None:
    check(run("erase ann on deaf storage"))


def test_an_exploration_that_is_cut_off_says_so() -> None:
    with pytest.raises(NotExplored, match="more than 10 states"):
        run("erase ann + erase bob", most=10)


@pytest.mark.full
@pytest.mark.parametrize("one", ALL)
def test_every_pair_while_the_clock_moves(one: str, note: Note) -> None:
    states = 0
    for other in ALL[ALL.index(one) :]:
        for versioned in (True, False):
            found = run(f"{one} + {other} + a day", versioned=versioned, most=2_000_000)
            check(found)
            states += found.states
    note(f"{states} states of {one} with each other and the clock")


@pytest.mark.full
@pytest.mark.parametrize("actors", LARGE)
def test_large_state_spaces(actors: str, note: Note) -> None:
    found = run(actors, most=4_000_000)
    check(found)
    note(f"{found.states} states of {actors}")
