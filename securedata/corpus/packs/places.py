"""Where objects are by now: one that could not be read may only have been moved, or be gone with its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.index import Location

COLUMNS = ("object_id", "pack", "offset")


def still_at(parts: Iterable[pa.Table], places: Mapping[bytes, Location]) -> set[bytes]:
    """Those of some objects, by id, that rows still name at these places.

    Args:
        parts: the rows of the manifest, with COLUMNS.
    """
    wanted, found = pa.array(list(places), pa.binary(16)), set[bytes]()
    for table in parts:
        mine = table.select(COLUMNS).filter(pc.is_in(table.column("object_id"), value_set=wanted))
        found.update(
            one["object_id"]
            for one in mine.to_pylist()
            if (one["pack"], one["offset"]) == (places[one["object_id"]].pack, places[one["object_id"]].offset)
        )
    return found
