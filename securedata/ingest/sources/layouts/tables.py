"""The rows of a layout whose tables cut recordings into segments, collected line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from securedata.ingest.sources.layouts.base import Described, LayoutRows
from securedata.ingest.sources.manifest_reader import collect


class TableRows:
    """Collects rows, whose columns are named as in a manifest."""

    def __init__(self) -> None:
        self._values: list[tuple[int, dict[str, Any]]] = []
        self._located: list[int] = []
        self._files: list[str] = []
        self._faults: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, table: str, line: int, i: int, values: dict[str, Any], fault: str = "") -> None:
        """Add a line of `table` about recording `i` of the tree. A fault keeps the whole recording out."""
        if fault:
            self._faults[len(self._values)] = fault
        self._values.append((line, values))
        self._located.append(i)
        self._files.append(table)

    def give(self, described: Described, paths: list[str], of_what: str, names_people: bool) -> None:
        """Set the rows of `described`, if there are any."""
        if not self._values:
            return
        rows = collect(self._lines(paths), of_what, {"path": "path"}, None)
        for k, fault in self._faults.items():
            rows.fault[k] = rows.fault[k] or fault
        rows.files, rows.of_what, rows.names_people = self._files, of_what, names_people
        rows.columns = ()  # --columns cannot choose among them
        described.names_people = names_people
        described.rows = LayoutRows(rows, self._located)

    def _lines(self, paths: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for (line, values), i in zip(self._values, self._located, strict=True):
            yield line, {**values, "path": paths[i]}


def span_of(start: str, end: str, *, open_end: bool = False) -> tuple[dict[str, float], str]:
    """The columns of a segment, from two texts in seconds, and what is wrong with them ('' if nothing).

    Args:
        open_end: whether an end of -1 means the end of the recording.
    """
    try:
        first, last = float(start), float(end)
    except ValueError:
        return {}, f"its times {start!r} and {end!r} are not numbers of seconds"
    if open_end and last == -1:
        return {"offset": first}, ""
    if not last > first:  # also true of NaN
        return {}, "it ends before it starts"
    return {"offset": first, "duration": last - first}, ""
