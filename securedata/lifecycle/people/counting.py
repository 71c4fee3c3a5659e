"""Count the rows of every person, part by part, without a Python object for a row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.durations import seconds_of

COLUMNS = ("subjects", "consent_id", "purposes", "expires", "frames", "frames_in_segment", "sample_rate")
"""Columns of the manifest that `Counts.add` looks at."""

_PURPOSE = pa.schema([("name", pa.large_string()), ("purpose", pa.large_string())])
_COUNT = pa.schema(
    [
        *(("name", pa.large_string()), ("consent", pa.large_string()), ("rows", pa.int64()), ("seconds", pa.float64())),
        *(("first_end", pa.int64()), ("expired", pa.int64())),
    ]
)


class Counts:
    """The rows of every person; a row of several people counts for each of them.

    Attributes:
        rows, seconds: of the corpus, where each row counts once.
    """

    def __init__(self, now: float) -> None:
        """`now`: seconds since the epoch, by which consents have ended."""
        self.rows, self.seconds = 0, 0.0
        self._now = pa.scalar(int(now * 1e6), pa.int64())
        self._counted: list[pa.Table] = []
        self._purposes: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a part, with COLUMNS."""
        seconds = seconds_of(rows).combine_chunks()
        self.rows += rows.num_rows
        self.seconds += pc.sum(seconds).as_py() or 0.0
        names, parents = each_person(rows)
        ends = rows.column("expires").combine_chunks().cast(pa.int64())
        expired = pc.fill_null(pc.less_equal(ends, self._now), False).cast(pa.int64())
        values = {"consent": rows.column("consent_id").combine_chunks(), "seconds": seconds, "end": ends}
        taken = {name: column.take(parents) for name, column in {**values, "expired": expired}.items()}
        grouped = pa.table({"name": names, **taken}).group_by(["name", "consent"], use_threads=False)
        sums = [("seconds", "count"), ("seconds", "sum"), ("end", "min"), ("expired", "sum")]
        self._counted.append(pa.table(grouped.aggregate(sums).columns, schema=_COUNT))
        lists = rows.column("purposes").combine_chunks()
        if lists.null_count < len(lists):
            mine = lists.take(parents)
            pairs = pa.table([names.take(pc.list_parent_indices(mine)), mine.flatten()], schema=_PURPOSE)
            self._purposes.append(distinct(pairs))

    def people(self) -> pa.Table:
        """By name: rows, seconds, consents (how many), first_end (microseconds since the epoch; null: none), expired
        (rows whose consent has ended)."""
        grouped = pa.concat_tables([_COUNT.empty_table(), *self._counted]).group_by("name", use_threads=False)
        only = pc.CountOptions(mode="only_valid")
        wanted = [("rows", "sum"), ("seconds", "sum"), ("consent", "count_distinct", only)]
        found = grouped.aggregate([*wanted, ("first_end", "min"), ("expired", "sum")])
        return found.rename_columns(["name", "rows", "seconds", "consents", "first_end", "expired"]).sort_by("name")

    def purposes(self) -> dict[str, tuple[str, ...]]:
        """By name, the purposes that at least one of the rows may be used for, sorted."""
        pairs = distinct(pa.concat_tables([_PURPOSE.empty_table(), *self._purposes])).sort_by("purpose")
        lists = pairs.group_by("name", use_threads=False).aggregate([("purpose", "list")]).to_pylist()
        return {one["name"]: tuple(one["purpose_list"]) for one in lists}


def each_person(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    """The people of all rows, and the row that each is named in; a person whom a row names twice is given once."""
    column = rows.column("subjects").combine_chunks()
    names, parents = column.flatten(), pc.list_parent_indices(column)
    if len(names) > rows.num_rows:
        pairs = distinct(pa.table([names, parents], ["name", "row"]))
        names, parents = (pairs.column(name).combine_chunks() for name in ("name", "row"))
    return names, parents


def distinct(pairs: pa.Table) -> pa.Table:
    """Each row of a table once."""
    return pairs.group_by(pairs.column_names, use_threads=False).aggregate([])
