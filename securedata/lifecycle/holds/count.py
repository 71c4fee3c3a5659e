"""Count the rows of people who are given by their tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.durations import seconds_of
from securedata.keys.tags import Tagger

COLUMNS = ("subjects", "sample_rate", "frames", "frames_in_segment")
"""Columns of the manifest that `add_rows` looks at."""


@dataclass(slots=True)
class Amount:
    """The rows of one person.

    Attributes:
        rows: how many.
        seconds: of audio; a row of several people counts for each.
        names: the person's name as rows have it; empty if there are none.
    """

    rows: int = 0
    seconds: float = 0.0
    names: set[str] = field(default_factory=set, repr=False)


def add_rows(amounts: dict[bytes, Amount], rows: pa.Table, tagger: Tagger) -> None:
    """Add rows with the columns `COLUMNS` to the amounts of those people, by tag, whom `amounts` has."""
    if not amounts or not rows.num_rows:
        return
    column = rows.column("subjects").combine_chunks()
    names, parents = column.flatten(), pc.list_parent_indices(column)
    seconds = seconds_of(rows)
    for name in pc.unique(names).to_pylist():
        amount = amounts.get(tagger.tag(name))
        if amount is None:
            continue
        hits = pc.unique(parents.filter(pc.equal(names, name)))
        amount.names.add(name)
        amount.rows += len(hits)
        amount.seconds += pc.sum(seconds.take(hits)).as_py() or 0.0


def count(tables: Iterable[pa.Table], tags: Iterable[bytes], tagger: Tagger) -> dict[bytes, Amount]:
    """The rows of people, by their tags."""
    amounts = {tag: Amount() for tag in tags}
    for table in tables:
        add_rows(amounts, table, tagger)
    return amounts
