"""Count the rows of every person, part by part, without a Python object for a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.durations import seconds_of

COLUMNS = ("subjects", "consent_id", "purposes", "expires", "frames", "frames_in_segment", "sample_rate")
"""Columns of the manifest that `Counts.add` looks at."""

_PAIRS = pa.schema([("name", pa.large_string()), ("value", pa.large_string())])
_COUNT = pa.schema(
    [
        *(("name", pa.large_string()), ("rows", pa.int64()), ("seconds", pa.float64())),
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
        self._counted = [_COUNT.empty_table()]
        self._consents, self._purposes = [_PAIRS.empty_table()], [_PAIRS.empty_table()]

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a part, with COLUMNS."""
        seconds = seconds_of(rows).combine_chunks()
        self.rows += rows.num_rows
        self.seconds += pc.sum(seconds).as_py() or 0.0
        names, parents = each_person(rows)
        ends = rows.column("expires").combine_chunks().cast(pa.int64())
        expired = pc.fill_null(pc.less_equal(ends, self._now), False).cast(pa.int64())
        values = {"seconds": seconds, "end": ends, "expired": expired}
        taken = {name: column.take(parents) for name, column in values.items()}
        grouped = pa.table({"name": names, **taken}).group_by("name", use_threads=False)
        sums = [("seconds", "count"), ("seconds", "sum"), ("end", "min"), ("expired", "sum")]
        self._counted.append(pa.table(grouped.aggregate(sums).columns, schema=_COUNT))
        consents = pa.table([names, rows.column("consent_id").combine_chunks().take(parents)], schema=_PAIRS)
        self._consents.append(distinct(consents.drop_null()))
        lists = rows.column("purposes").combine_chunks().take(parents)
        several = pa.table([names.take(pc.list_parent_indices(lists)), lists.flatten()], schema=_PAIRS)
        self._purposes.append(distinct(several))

    def people(self) -> pa.Table:
        """By name: rows, seconds, first_end (microseconds since the epoch; null: none), expired (rows whose consent has
        ended)."""
        sums = [("rows", "sum"), ("seconds", "sum"), ("first_end", "min"), ("expired", "sum")]
        found = pa.concat_tables(self._counted).group_by("name", use_threads=False).aggregate(sums)
        return found.rename_columns(_COUNT.names).sort_by("name")

    def consents(self) -> dict[str, int]:
        """By name, how many consents the rows record; only of people with one."""
        counted = pc.value_counts(distinct(pa.concat_tables(self._consents)).column("name"))
        return {one["values"]: one["counts"] for one in counted.to_pylist()}

    def purposes(self) -> dict[str, tuple[str, ...]]:
        """By name, the purposes that at least one of the rows may be used for, sorted."""
        pairs = distinct(pa.concat_tables(self._purposes)).sort_by("value")
        lists = pairs.group_by("name", use_threads=False).aggregate([("value", "list")]).to_pylist()
        return {one["name"]: tuple(one["value_list"]) for one in lists}


def each_person(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    """The people of all rows, and the row that each is named in; a person whom a row names twice is given once."""
    column = rows.column("subjects").combine_chunks()
    names, parents = column.flatten(), pc.list_parent_indices(column)
    if len(names) > rows.num_rows:
        pairs = distinct(pa.table([names, parents], ["name", "row"]))
        names, parents = (pairs.column(name).combine_chunks() for name in ("name", "row"))
    return names, parents


def distinct(pairs: pa.Table) -> pa.Table:
    """Each pair of values once. Sorting numbers is several times as fast as grouping by two columns of text."""
    code = np.zeros(pairs.num_rows, dtype=np.int64)
    for column in pairs.columns:
        encoded = column.combine_chunks().dictionary_encode("encode")
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
    return pairs.take(pa.array(np.unique(code, return_index=True)[1]))
