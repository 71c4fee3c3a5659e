"""How long ago something was, also on a host that was suspended or whose clock was set back meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # counts suspended time, where it can


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by two clocks, in seconds: since boot, and since the epoch."""

    boot: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.clock_gettime(_SINCE_BOOT), time.time())

    def since_boot(self) -> float:
        """Seconds since then by the clock since boot, which nobody sets."""
        return time.clock_gettime(_SINCE_BOOT) - self.boot

    def age(self) -> float:
        """Seconds since then, by whichever clock shows more."""
        return max(self.since_boot(), time.time() - self.wall)


class HeardClock:
    """Another machine's clock, going by the last time that it gave."""

    def __init__(self) -> None:
        self._heard: tuple[float, Moment] | None = None

    def hear(self, seconds: float) -> None:
        """It is `seconds` since the epoch there."""
        self._heard = seconds, Moment.now()

    def now(self) -> float | None:
        """Its time, in seconds; None: it gave none."""
        heard = self._heard  # read once: another thread may replace it
        return None if heard is None else heard[0] + heard[1].since_boot()
