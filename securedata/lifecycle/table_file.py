"""Files in which people name recordings: a list of logical paths, or a table with a column of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from securedata.corpus.columns import target_of
from securedata.errors import InvalidArgument
from securedata.files import read_bounded
from securedata.foreign.describe import describe
from securedata.ingest.sources.manifest_reader import lines_in, place_of
from securedata.ingest.sources.origin import MAX_CONTENT
from securedata.ingest.sources.texts import NoText, lines_of

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


def read_paths(file: str | os.PathLike[str]) -> list[str]:
    """The logical paths in a file: the column of paths of a table, or the lines of any other text.

    Raises:
        InvalidArgument: it cannot be read, or holds no paths.
    """
    name = os.path.basename(os.fspath(file))
    if not name.lower().endswith(TABLES):
        found = read_lines(file)
    else:
        found = [row.path for row in read_table_rows(file)]
    if not found:
        raise InvalidArgument(f"{name} names no path")
    return list(dict.fromkeys(found))


def read_lines(file: str | os.PathLike[str]) -> list[str]:
    """The lines of a text that are not empty, each once.

    Raises:
        InvalidArgument: it cannot be read, or is no text.
    """
    name = os.path.basename(os.fspath(file))
    try:
        return list(dict.fromkeys(line for _, line in lines_of(_content(file, name))))
    except NoText as error:
        raise InvalidArgument(f"{name} is {error}") from None


class TableRow:
    """One row of a table: the logical path in it, its other cells by the name of their column, and where it is."""

    __slots__ = ("cells", "path", "place")

    def __init__(self, path: str, cells: dict[str, Any], place: str) -> None:
        self.path, self.cells, self.place = path, cells, place

    def __repr__(self) -> str:  # no paths, names or transcripts
        return f"<TableRow {getattr(self, 'place', '')}>"


def read_table_rows(file: str | os.PathLike[str]) -> Iterator[TableRow]:
    """The rows of a table (CSV, TSV, JSON lines, Parquet) with a column of logical paths.

    Raises:
        InvalidArgument: it cannot be read, or has no column of paths.
    """
    name = os.path.basename(os.fspath(file))
    if not name.lower().endswith(TABLES):
        raise InvalidArgument(f"{name}: a table must have one of the suffixes {', '.join(TABLES)}")
    for line, values in lines_in(_content(file, name), name):
        columns = [column for column in values if target_of(column) == "path"]
        if len(columns) != 1:
            what = "no column" if not columns else f"columns {' and '.join(map(repr, columns))}, not one,"
            raise InvalidArgument(
                f"{place_of(name, line)} has {what} of logical paths: call it 'path', as 'securedata ls -R --json' does"
            )
        path = values.pop(columns[0])
        if not isinstance(path, str) or not path:
            raise InvalidArgument(f"{place_of(name, line)}: the path is empty or not text")
        yield TableRow(path, values, place_of(name, line))


def _content(file: str | os.PathLike[str], name: str) -> bytes:
    try:
        return read_bounded(os.open(file, os.O_RDONLY | os.O_CLOEXEC), os.fspath(file), MAX_CONTENT)
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {describe(error)}") from None
