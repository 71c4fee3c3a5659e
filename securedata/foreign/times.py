"""When a file was written, as the backends of fsspec call it."""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Mapping
from typing import Any

_NAMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "created")


def written_at(info: Mapping[str, Any]) -> float | None:
    """Seconds since the epoch, by what a backend says of a file; None where it says nothing of use.

    A time without a zone is in UTC.
    """
    for name in _NAMES:
        value = info.get(name)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
        with contextlib.suppress(ValueError):
            if isinstance(value, str):
                value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    return None
