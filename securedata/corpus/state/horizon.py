"""The horizon: what was stored before it and no head names may be deleted, and is never committed any more.

It follows storage's clock a day behind. A prune under a wrong clock may leave one in the future: then what is sealed is
older than it at once. Nothing is committed or pruned under such a horizon; only a reset moves it back.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from securedata.corpus.state.head import Head
from securedata.corpus.state.retired import DELAY
from securedata.errors import HorizonInFuture

TOLERANCE = 3600.0
"""Seconds by which verify lets a time lie in the future: the clock that it asks might be another one."""


def check_horizon(head: Head, now: float, root: str) -> None:
    """Refuse to write or prune under a horizon that is later than storage's time.

    Raises:
        HorizonInFuture
    """
    if head.horizon > now:
        raise HorizonInFuture(horizon_text(head, now, root), root=root)


def horizon_text(head: Head, now: float, root: str) -> str:
    """What is wrong with a horizon in the future, and what to do."""
    return (
        f"the head of {root} has its horizon at {shown(head.horizon)}, and storage's time is {shown(now)}: a prune ran "
        "under a wrong clock, and what is sealed now would count as left over. Check the clock of the storage; if that "
        "is right and no prune is running, 'securedata verify --prune --reset-horizon' sets the horizon back"
    )


def times_reset(head: Head, now: float) -> dict[str, Any]:
    """The times of a head that lie in the future, set back: the only step of a horizon backwards.

    What left in the future, by its list, leaves now: no earlier than it did, as long as storage's time is right.
    """
    horizon = now - DELAY if head.horizon > now else max(head.horizon, now - DELAY)
    return {"horizon": horizon, "retired": tuple(replace(one, time=min(one.time, now)) for one in head.retired)}


def shown(seconds: float) -> str:
    """A time in UTC, for people; a number where no calendar reaches."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} seconds since 1970"
