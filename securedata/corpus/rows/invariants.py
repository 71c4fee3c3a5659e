"""The rules that every row of a manifest must keep, so that it can be read, exported and erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import check_path
from securedata.corpus.state.head import Head
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger

COLUMNS = (
    "path",
    "object_id",
    "data_key",
    "pack",
    "offset",
    "sealed_size",
    "size",
    "frames",
    "start",
    "frames_in_segment",
    "subjects",
    "source_sha256",
)
_SHARED = ("data_key", "pack", "offset", "sealed_size", "size", "subjects", "source_sha256")
"""Columns on which all rows of one object must agree."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that breaks a rule, and why."""

    reason: str
    object_id: bytes
    path: str = field(repr=False)
    erased: bool = False


class Rules:
    """Checks the rows of one head, first part by part, then across parts."""

    def __init__(self, head: Head) -> None:
        self._tagger = Tagger(head.secret)
        self._tombstones = {one.tag for one in head.tombstones}
        self._dead: dict[str, bool] = {}
        self._paths: list[pa.Array] = []
        self._objects: list[pa.Array] = []

    def part(self, table: pa.Table) -> Iterator[Broken]:
        """The rows of one part that break a rule on their own; `table` has COLUMNS."""
        self._paths += table.column("path").chunks
        self._objects.append(pc.unique(table.column("object_id")))
        paths = table.column("path").to_pylist()
        for row, path in enumerate(paths):
            try:
                check_path(path)
            except InvalidArgument as error:
                yield _broken(table, row, str(error))
        for reason, rows in _impossible(table):
            for row in rows:
                yield _broken(table, int(row), reason)
        if self._tombstones:
            for row, names in enumerate(table.column("subjects").to_pylist()):
                if any(self._is_dead(name) for name in names):
                    yield _broken(table, row, "a person recorded in it was erased from this corpus", erased=True)
        yield from _disagreeing(table)

    def across(self) -> Iterator[Broken]:
        """Paths of several rows, and objects whose rows are in several parts; called after the last part."""
        for path in _repeated(pa.chunked_array(self._paths, pa.large_string())):
            yield Broken("several rows have its path", b"", path)
        for id in _repeated(pa.chunked_array(self._objects, pa.binary(16))):
            yield Broken("its rows are in several manifest parts", id, "")

    def _is_dead(self, name: str) -> bool:
        if name not in self._dead:
            self._dead[name] = self._tagger.tag(name) in self._tombstones
        return self._dead[name]


def _broken(table: pa.Table, row: int, reason: str, erased: bool = False) -> Broken:
    return Broken(reason, table.column("object_id")[row].as_py(), table.column("path")[row].as_py(), erased)


def _impossible(table: pa.Table) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    def column(name: str) -> pa.ChunkedArray:
        return table.column(name)

    def rows(mask: pa.ChunkedArray) -> np.ndarray[Any, Any]:
        return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))

    negative = pc.or_(pc.less(column("size"), 0), pc.less(column("sealed_size"), 0))
    yield "its sizes are negative", rows(negative)
    nobody = pc.equal(pc.list_value_length(column("subjects")), 0)
    yield "it names no subject, so nobody could be erased", rows(nobody)
    packed, at = pc.is_valid(column("pack")), column("offset")
    yield "it has a pack without an offset, or the reverse", rows(pc.xor(packed, pc.is_valid(at)))
    yield "its offset in the pack is negative", rows(pc.less(at, 0))
    start, length = column("start"), column("frames_in_segment")
    yield "one bound of its segment is missing", rows(pc.xor(pc.is_valid(start), pc.is_valid(length)))
    # compared without adding: start + length of a broken row may overflow
    outside = pc.or_(pc.greater(length, column("frames")), pc.greater(start, pc.subtract(column("frames"), length)))
    empty = pc.or_(pc.less(start, 0), pc.less_equal(length, 0))
    yield "its segment is not inside the recording", rows(pc.or_kleene(empty, outside))


def _disagreeing(table: pa.Table) -> Iterator[Broken]:
    """Rows that share an object with an earlier row but describe it differently."""
    encoded = table.column("object_id").combine_chunks().dictionary_encode()
    if len(encoded.dictionary) == table.num_rows:
        return
    index = encoded.indices.to_numpy()
    first = np.full(len(encoded.dictionary), -1)
    for row, object_number in enumerate(index):
        if first[object_number] < 0:
            first[object_number] = row
            continue
        for name in _SHARED:
            column = table.column(name)
            mine, others = column[row].as_py(), column[int(first[object_number])].as_py()
            if name == "subjects":
                mine, others = sorted(mine), sorted(others)
            if mine != others:
                yield _broken(table, row, f"it shares its object with a row that has another {name}")
                break


def _repeated(values: pa.ChunkedArray) -> Iterable[Any]:
    if pc.count_distinct(values).as_py() == len(values):
        return []
    counts = pc.value_counts(values)
    values, numbers = counts.field("values"), counts.field("counts")
    repeated: Iterable[Any] = values.filter(pc.greater(numbers, 1)).to_pylist()
    return repeated
