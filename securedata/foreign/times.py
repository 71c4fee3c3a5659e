"""When a file was written, under the names that fsspec backends use."""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Mapping
from typing import Any

_NAMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "created")


def written_at(info: Mapping[str, Any]) -> float | None:
    """Seconds since the epoch, from a backend's info on a file; None if it has no usable time.

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
