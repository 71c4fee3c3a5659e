"""When a recording first came into the corpus (`ingested`), under which object (`origin`), and how old its key is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.inherit import unequal
from securedata.corpus.schema import OPTIONAL, optional, set_optional

_RECORDING = ("source_sha256", "start", "frames_in_segment")
_SECOND = 1_000_000
_MOST = 2**43
"""Seconds; a later time does not fit into the column, and no clock means it."""


def carriers(rows: pa.Table) -> list[bytes]:
    """By row, the id under which its bytes are stored: of its pack, else of its object."""
    found: list[bytes] = pc.coalesce(rows.column("pack"), rows.column("object_id")).to_pylist()
    return found


def stamped(new: pa.Table, put_times: Mapping[bytes, float]) -> pa.Table:
    """Rows that no commit had before, with `ingested` where they have none: the time of the put of their object.

    Args:
        put_times: storage's time of each new object or pack, in seconds. Rows of others get none: they were committed
            before, under another path.
    """
    times = [_whole(put_times.get(id)) for id in carriers(new)]
    field = OPTIONAL.field("ingested")
    column = pc.coalesce(optional(new, "ingested"), pa.chunked_array([pa.array(times, pa.int64()).cast(field.type)]))
    return set_optional(new, "ingested", column)


def first_objects(view: pa.Table, old: pa.Table, new: pa.Table) -> dict[bytes, bytes]:
    """By object id, the first object of each recording that replaced rows and the rows in their place both hold.

    Args:
        view: the replaced rows: `object_id` and what tells recordings apart.
        old: the same rows: `origin`.
    """
    ids = view.column("object_id")
    firsts = pc.coalesce(optional(old, "origin"), ids)
    other = np.zeros(len(ids), dtype=bool)
    for name in _RECORDING:
        other |= unequal(view.column(name), new.column(name))
    same = pa.array(~other)
    return dict(zip(ids.filter(same).to_pylist(), firsts.filter(same).to_pylist(), strict=True))


def carried(old: pa.Table, new: pa.Table) -> pa.Table:
    """The rows of `new`, which replace those of `old`, with what stays: `ingested`, and `origin` of the same recording.

    Cells that `new` has are not changed.
    """
    new = set_optional(new, "ingested", pc.coalesce(optional(new, "ingested"), optional(old, "ingested")))
    first = pc.coalesce(optional(old, "origin"), old.column("object_id"))
    same = pa.array([True] * new.num_rows, pa.bool_())
    for name in _RECORDING:
        same = pc.and_not(same, pa.array(unequal(old.column(name), new.column(name))))
    moved = pc.and_(same, pc.not_equal(first, new.column("object_id")))
    first = pc.if_else(moved, first, pa.scalar(None, first.type))
    return set_optional(new, "origin", pc.coalesce(optional(new, "origin"), first))


def keyed(new: pa.Table, put_times: Mapping[bytes, float], generation: int) -> pa.Table:
    """Rows to add, with `keyed_since` where their object was put for this commit: no head yet names its data key.

    Args:
        put_times: by id, of the objects and packs that no head names.
        generation: of the newest head that is known.
    """
    field = OPTIONAL.field("keyed_since")
    since = [generation if id in put_times else None for id in carriers(new)]
    column = pc.coalesce(optional(new, "keyed_since"), pa.chunked_array([pa.array(since, field.type)]))
    return set_optional(new, "keyed_since", column)


def _whole(time: float | None) -> int | None:
    """Microseconds of a whole second, as storage's clock gives it over HTTP; it takes no room, compressed."""
    if time is None or not math.isfinite(time) or abs(time) >= _MOST:
        return None
    return math.floor(time) * _SECOND
