"""Duration of a row: of its segment, or of the whole recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def seconds(frames: int, in_segment: int | None, rate: int) -> float:
    """Seconds of one row, from `frames`, `frames_in_segment` and `sample_rate`; 0 without a rate."""
    return (frames if in_segment is None else in_segment) / rate if rate else 0.0


def frames_of(column: Callable[[str], Any]) -> Any:
    """Frames of rows: an array if `column` is `Table.column`, an expression if it is `pc.field`."""
    return pc.coalesce(column("frames_in_segment"), column("frames"))


def seconds_of(rows: pa.Table) -> pa.ChunkedArray:
    """Seconds of rows as float64; 0 for rows without a rate."""
    rates = rows.column("sample_rate")
    counts = frames_of(rows.column).cast(pa.float64())
    return pc.if_else(pc.equal(rates, 0), 0.0, pc.divide(counts, rates.cast(pa.float64())))
