"""Each command is killed with -9 at its changes to files, and at random moments, and run again until it ends.

What is left then is what an undisturbed run leaves: the same rows, holds, bars and settings, one final receipt for each
erasure, and no file that nobody needs.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
import shutil
import time
from pathlib import Path

import pytest

import securedata.lifecycle
from securedata.errors import SecuredataError
from tests.conftest import FULL, Note
from tests.kit.killed import Ended, ran
from tests.lifecycle.killed.cases import CASES, Case, begin
from tests.lifecycle.killed.outcome import Facts, differences, outcome

POINTS = 3
"""Of each command's changes to files at which it is killed by default; `make test-full` takes all."""
STORMS, KILLS = 20, 3
"""Of each command in `make test-full`: how often it is killed at random moments, and how often in a row at most."""
RERUNS = 3
ENDED = (0, 3)
_MODULES = [one.name for one in pkgutil.walk_packages(securedata.lifecycle.__path__, "securedata.lifecycle.")]


class Bench:
    """A command, and the same beginning for each of its runs."""

    def __init__(self, case: Case, home: Path, folder: Path) -> None:
        self.case, self.home, self.folder = case, home, folder
        for name in (*_MODULES, *case.imports):  # here, and not in each child
            importlib.import_module(name)
        self._saved = folder.with_name("saved")
        self.at = folder / "at"
        self.at.mkdir(parents=True)
        begin(self.at)
        case.before(self.at)
        for place in (home, folder):
            shutil.copytree(place, self._saved / place.name)
        self.again()
        began = time.monotonic()
        done = self.run()
        assert done.code in ENDED, done.said
        self.seconds, self.changes = time.monotonic() - began, done.changes
        self.expected = self.facts()

    def again(self) -> None:
        """Everything is as it was in the beginning."""
        for place in (self.home, self.folder):
            shutil.rmtree(place)
            shutil.copytree(self._saved / place.name, place)
        self.words = self.case.arguments(self.at)

    def run(self, at: int | None = None, after: float | None = None, largest: int | None = None) -> Ended:
        return ran(self.words, at, after, largest)

    def facts(self) -> Facts:
        return outcome(self.home, self.folder)

    def wrong(self) -> str:
        """Run it until it ends, and compare; '' if all is well."""
        for _ in range(RERUNS):
            done = self.run()
            if ended := done.code in ENDED or bool(self.case.gone and re.search(self.case.gone, done.said)):
                break
        if not ended:
            return done.said
        try:
            found = self.facts()
        except (AssertionError, SecuredataError) as error:
            return repr(error)
        return "; ".join(differences(found, self.expected))


@pytest.fixture
def bench(request: pytest.FixtureRequest, own_home: Path, tmp_path: Path) -> Bench:
    return Bench(CASES[request.param], own_home, tmp_path / "corpora")


def points(changes: int) -> list[int]:
    """Some of them, from the first to the last but one, or all."""
    if FULL:
        return list(range(1, changes + 1))
    return sorted({1 + (changes - 1) * (2 * n + 1) // (2 * POINTS) for n in range(POINTS)})


DAILY = (
    *("remove now", "split", "rotate data keys", "pack now", "encrypt pack", "hand on", "retain", "hold add"),
    *("consent withdraw erase", "erase subject", "erase with derived", "receipt complete"),
)
"""The commands that are killed by default: of commands that write in the same way, one."""


@pytest.mark.parametrize(
    "bench", [one if one in DAILY else pytest.param(one, marks=pytest.mark.full) for one in CASES], indirect=True
)
def test_at_its_changes(bench: Bench, note: Note) -> None:
    assert bench.changes > POINTS
    problems = []
    for at in points(bench.changes):
        bench.again()
        done = bench.run(at)
        # a run has fewer changes if objects, whose ids are random, share folders: then it may end before this one
        assert done.code is None or (done.code in ENDED and done.changes < at)
        if wrong := bench.wrong():
            problems.append(f"killed at {at} of {bench.changes}: {wrong}")
    assert not problems, "\n".join(problems)
    note(f"{len(points(bench.changes))} of {bench.changes} changes")


LARGEST = (*range(0, 8_000, 250),) if FULL else (0, 1_000, 3_000)
"""Bytes to which files can grow: between these, notes, heads, parts and receipts do or do not fit."""


@pytest.mark.parametrize(
    "bench",
    ["remove now", "erase subject", *(pytest.param(one, marks=pytest.mark.full) for one in ("hold add", "erase path"))],
    indirect=True,
)
def test_a_full_disk(bench: Bench) -> None:
    """A clear error, by a command that can be run again when there is room."""
    for largest in LARGEST:
        bench.again()
        done = bench.run(largest=largest)
        if done.code not in ENDED:
            assert done.code == 1
            assert "securedata: error: " in done.said
            assert "File too large" in done.said
        assert not bench.wrong(), f"at {largest} bytes"
    bench.again()
    assert bench.run(largest=0).code == 1


@pytest.mark.full
@pytest.mark.parametrize("bench", CASES, indirect=True)
def test_at_random_moments(bench: Bench, note: Note) -> None:
    drawn, kills = random.Random(0), 0
    for storm in range(STORMS):
        bench.again()
        for _ in range(KILLS):
            kills += bench.run(after=drawn.uniform(0, bench.seconds)).code is None
        assert not bench.wrong(), f"in storm {storm}"
    assert kills
    note(f"{kills} kills")
