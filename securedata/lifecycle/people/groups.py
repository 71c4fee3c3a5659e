"""Rows, audio and people by the values of a column, part by part, without a Python object for a row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from securedata.lifecycle.people.counting import distinct

WITHHELD = "(withheld)"
"""What stands in place of a value that is the name of a person."""

_TOTALS = pa.schema([("value", pa.large_string()), ("rows", pa.int64()), ("seconds", pa.float64())])
_PAIRS = pa.schema([("value", pa.large_string()), ("name", pa.large_string())])


@dataclass(frozen=True, slots=True)
class Group:
    """The rows with one value of a column.

    Attributes:
        value: '' if the rows have none; '(withheld)' stands for all values that are the name of a person.
        rows, seconds, people: how many rows, seconds of audio and people.
    """

    value: str
    rows: int
    seconds: float
    people: int


class Groups:
    """Collects the rows of a corpus by the values of one column."""

    def __init__(self) -> None:
        self._totals: list[pa.Table] = []
        self._pairs: list[pa.Table] = []

    def add(self, values: pa.Array, seconds: pa.Array, names: pa.Array, parents: pa.Array) -> None:
        """Add the rows of a part: a value and the seconds of each, and the people with the row that each is in."""
        self._totalled(values, seconds)
        self._paired(values.take(parents), names)

    def add_lists(self, lists: pa.Array, seconds: pa.Array, names: pa.Array, parents: pa.Array) -> None:
        """As `add`, of rows with several values, each of which counts."""
        if lists.null_count == len(lists):
            return
        each = distinct(pa.table([pc.list_parent_indices(lists), lists.flatten()], ["row", "value"]))
        self._totalled(each.column("value").combine_chunks(), seconds.take(each.column("row").combine_chunks()))
        mine = lists.take(parents)
        self._paired(mine.flatten(), names.take(pc.list_parent_indices(mine)))

    def found(self, names: Collection[str]) -> tuple[Group, ...]:
        """The groups by value; those whose value is one of these names of people become one."""
        totals = pa.concat_tables([_TOTALS.empty_table(), *self._totals])
        pairs = pa.concat_tables([_PAIRS.empty_table(), *self._pairs])
        values = pc.unique(totals.column("value")).to_pylist()
        folded = {name.casefold() for name in names}
        hidden = pa.array([one for one in values if one.casefold() in folded], pa.large_string())
        totals = _without(totals, hidden).group_by("value", use_threads=False)
        people = distinct(_without(pairs, hidden)).group_by("value", use_threads=False).aggregate([("name", "count")])
        several = dict(zip(*(people.column(name).to_pylist() for name in ("value", "name_count")), strict=True))
        return tuple(
            Group(one["value"], one["rows_sum"], one["seconds_sum"], several.get(one["value"], 0))
            for one in totals.aggregate([("rows", "sum"), ("seconds", "sum")]).sort_by("value").to_pylist()
        )

    def _totalled(self, values: pa.Array, seconds: pa.Array) -> None:
        found = pa.table([values, seconds], ["value", "seconds"]).group_by("value", use_threads=False)
        found = found.aggregate([("seconds", "count"), ("seconds", "sum")])
        self._totals.append(pa.table(found.columns, schema=_TOTALS))

    def _paired(self, values: pa.Array, names: pa.Array) -> None:
        self._pairs.append(distinct(pa.table([values, names], schema=_PAIRS)))


def _without(table: pa.Table, hidden: pa.Array) -> pa.Table:
    values = table.column("value")
    shown = pc.if_else(pc.is_in(values, value_set=hidden), pa.scalar(WITHHELD, values.type), values)
    return table.set_column(0, table.schema.field(0), shown)
