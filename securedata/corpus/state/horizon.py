"""The horizon: what was stored before it and is named by no head may be deleted, and can never be committed.

It follows storage's clock a day behind. A prune under a wrong clock may leave it in the future: everything sealed now
is then older than the horizon. Nothing is committed or pruned under such a horizon; only a reset moves it back.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from securedata.corpus.state.head import Head, Retired
from securedata.corpus.state.retired import DELAY
from securedata.errors import HorizonInFuture

TOLERANCE = 3600.0
"""Seconds that verify lets a time be in the future: its clock might not be the one that set the time."""


def check_horizon(head: Head, now: float, root: str) -> None:
    """Refuse to write or prune under a horizon that is later than storage's time.

    Raises:
        HorizonInFuture
    """
    if head.horizon > now:
        raise HorizonInFuture(horizon_text(head, now, root), root=root)


def horizon_text(head: Head, now: float, root: str) -> str:
    """The message for a horizon in the future: what is wrong, and what to do."""
    return (
        f"the head of {root} has its horizon at {shown(head.horizon)}, but storage's time is {shown(now)}: a prune ran "
        "under a wrong clock, and what is sealed now would count as left over. Check storage's clock; if it is right "
        "and no prune is running, 'securedata verify --prune --reset-horizon' sets the horizon back"
    )


def times_reset(head: Head, now: float) -> dict[str, Any]:
    """The changes that set a head's future times back; nothing else moves a horizon backwards.

    A leaving list dated in the future is dated now, which is not before its commit if storage's clock is right. One
    that has a grace keeps it: only a commit in the future is dated now.
    """
    horizon = now - DELAY if head.horizon > now else max(head.horizon, now - DELAY)
    retired, grace = [], dict(head.grace)
    for one in head.retired:
        committed = committed_at(head, one)
        if committed > now:
            one = replace(one, time=now + (one.time - committed))
            if one.table.id.hex() in grace:
                grace[one.table.id.hex()] = now
        retired.append(one)
    return {"horizon": horizon, "retired": tuple(retired), "grace": grace}


def committed_at(head: Head, one: Retired) -> float:
    """Storage's time of the commit of a leaving list."""
    return min(one.time, head.grace.get(one.table.id.hex(), one.time))


def shown(seconds: float) -> str:
    """A time in UTC for people; a number if it is outside the calendar."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} seconds since 1970"
