"""fsspec's own suite for filesystems, which runs over a corpus; a class for each part of it is in the tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from securedata.errors import PlaintextRefused
from tests.conftest import FULL

_STEP = 1 if FULL else 5
"""Of the cases of patterns, about 30 for each kind of call, one in so many runs by default."""

WRITING = (AbstractCopyTests, AbstractPutTests, AbstractPipeTests, AbstractOpenTests)
READING = AbstractGetTests


class Fixtures(AbstractFixtures):
    """What the suite asks for, over the fixture `fs` of the test."""

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self, request: pytest.FixtureRequest) -> str:
        """A folder of its own for each test."""
        return f"t{abs(hash(request.node.nodeid)):x}"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


def tests_of(*suites: type) -> dict[str, Any]:
    """The tests of suites, by name."""
    return {name: test for suite in suites for name, test in vars(suite).items() if name.startswith("test_")}


def sampled(suite: type) -> type:
    """The same tests; of those with many cases, a sample by default."""

    def fewer(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*arguments: Any, **fixtures: Any) -> None:
            test(*arguments, **fixtures)

        run.pytestmark = [  # type: ignore[attr-defined]  # where pytest keeps the marks of a function
            pytest.mark.parametrize(mark.args[0], mark.args[1][::_STEP]).mark if mark.name == "parametrize" else mark
            for mark in getattr(test, "pytestmark", ())
        ]
        return run

    return type(suite.__name__, (), {name: fewer(test) for name, test in tests_of(suite).items()})


def refused(suite: type) -> type:
    """The same tests, each of which must raise PlaintextRefused."""

    def wrapped(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def raises(*arguments: Any, **fixtures: Any) -> None:
            with pytest.raises(PlaintextRefused):
                test(*arguments, **fixtures)

        return raises

    return type(f"Refused{suite.__name__}", (), {name: wrapped(test) for name, test in tests_of(suite).items()})


def cases(*suites: type) -> int:
    """How many cases the tests of suites have."""
    total = 0
    for test in tests_of(*suites).values():
        number = 1
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == "parametrize":
                number *= len(mark.args[1])
        total += number
    return total
