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

    def age(self) -> float:
        """Seconds since then, by whichever clock shows more."""
        return max(time.clock_gettime(_SINCE_BOOT) - self.boot, time.time() - self.wall)
