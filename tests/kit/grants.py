"""A clock that tests move, and a KMS that they refuse or delay, for grants."""

from __future__ import annotations

from collections.abc import Callable

from securedata.errors import SecuredataError
from securedata.keys.grant import Grant


class Clock:
    """Stands in for the module `time`; sleeping moves it."""

    CLOCK_BOOTTIME = 7
    CLOCK_MONOTONIC = 1

    def __init__(self) -> None:
        self.boot, self.wall = 50_000.0, 1_700_000_000.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def clock_gettime(self, which: int) -> float:
        assert which == self.CLOCK_BOOTTIME, "time that the machine slept counts"
        return self.boot

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.boot

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.move(seconds)
        self.on_sleep()

    def move(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds


class KMS:
    """Renews, or fails as it is told; counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails: SecuredataError | None = None

    def __call__(self, old: Grant) -> Grant:
        self.calls += 1
        if self.fails:
            raise self.fails
        return Grant.issue(old.generation + 1, old.key_id, old.superseded, old.ttl)
