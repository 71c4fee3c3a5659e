"""The Date header of an answer: the server's clock."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

from securedata.clocks import HeardClock
from securedata.errors import StorageUnreachable

_MALFORMED = (ValueError, TypeError, OverflowError, IndexError)


def time_of(date: str, where: str, root: str) -> float:
    """A Date header in seconds since the epoch.

    Raises:
        StorageUnreachable: it is missing or malformed.
    """
    try:
        return _seconds(date)
    except _MALFORMED:
        raise StorageUnreachable(
            f"{where}: the answer has no valid Date header, and storage's time is needed; "
            "check the endpoint, and any proxy in between",
            root=root,
        ) from None


def hear_date(clock: HeardClock, date: str) -> None:
    """Set `clock` by a Date header; one that is missing or malformed changes nothing."""
    try:
        clock.hear(_seconds(date))
    except _MALFORMED:
        return


def _seconds(date: str) -> float:
    found = parsedate_to_datetime(date)
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
