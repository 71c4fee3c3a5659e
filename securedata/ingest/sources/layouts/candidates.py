"""Tables beside recordings that could name the speakers, for the error when nothing does."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from securedata.corpus.columns import folded, target_of
from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import lines_in
from securedata.ingest.sources.members.shard import Shard
from securedata.ingest.sources.members.table import values_of
from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.texts import not_a_header, spellings
from securedata.ingest.sources.walk.file_kinds import is_line_table
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Tree

_SHOWN = 3  # most tables in a message
_SHOWN_COLUMNS = 20
_LOOKED_AT = 20  # most tables that are opened
_HEAD = 64 * 1024  # bytes that are read of a text
_ROWS = 50  # rows that are read of a table

# words in the names of columns that may name people
_PERSON = frozenset(
    (
        *("speaker", "speakers", "spk", "spkr", "spkid", "client", "person", "talker", "reader", "narrator", "subject"),
        *("voice", "user", "participant", "contributor", "singer", "actor", "informant", "author", "annotator", "name"),
        *("speakerid", "userid", "clientid", "participantid"),
    )
)


def perhaps_people(columns: Sequence[str]) -> list[str]:
    """Columns whose names suggest that they name the speaker."""
    last = {name: name.rpartition(".")[2] for name in columns}
    return [
        name
        for name in columns
        if not _PERSON.isdisjoint(folded(last[name]).split("_")) and target_of(last[name]) != "path"
    ]


def shown_columns(columns: Sequence[str]) -> str:
    """Names of columns, for a message."""
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return ", ".join(printable(name) for name in columns[:_SHOWN_COLUMNS]) + more


def candidates(tree: Tree) -> list[str]:
    """A line for each of the first tables in the tree: the options that would use it, and its columns."""
    names = [name for name in (*tree.companion_names, *tree.tables) if is_line_table(name) or name in tree.tables]
    names.sort(key=lambda name: (name.count("/"), name))
    found = []
    for name in names[:_LOOKED_AT]:
        rows = _rows(tree, name)
        if rows and not (name.lower().endswith((".csv", ".tsv")) and not_a_header(list(rows[0]), name)):
            found.append(_candidate(tree, name, rows))
    return [line for _, line in sorted(found, key=lambda one: one[0])[:_SHOWN]]


def _candidate(tree: Tree, name: str, rows: list[dict[str, Any]]) -> tuple[int, str]:
    """A table's rank, 0 for the most useful, and its line."""
    columns = list(rows[0])
    known = {target: column for column in reversed(columns) if (target := target_of(column))}
    paths = {*tree.paths, *(f"{tree.root}/{path}" for path in tree.paths)}
    folder = posixpath.dirname(name)
    leading = [one for one in columns if any(_leads(row.get(one), folder, paths) for row in rows)]
    path = known.get("path") if known.get("path") in leading else next(iter(leading), None)
    people = [one for one in perhaps_people(columns) if one != path]
    speaker = known.get("speaker") or next(iter(people), None)
    options = [f"--manifest {shlex.quote(printable(name))}"]
    if path != known.get("path"):
        options.append(_option("path", path))
    if speaker is None or "speaker" not in known:
        options.append(_option("speaker", speaker))
    columns_are = f"its columns are {shown_columns(columns)}"
    if path is None:
        return 2, f"  {printable(name)} names none of these recordings by its path; {columns_are}"
    return int(speaker is None), f"  {' '.join(options)}: {columns_are}"


def _option(field: str, column: str | None) -> str:
    return f"--columns {field}={shlex.quote(printable(column)) if column else 'COLUMN'}"


def _leads(value: Any, folder: str, paths: set[str]) -> bool:
    """Is a value the path of a recording, relative to the table's folder, to `clips` in it, or to SRC?"""
    if not isinstance(value, str) or not value:
        return False
    bases = (folder, posixpath.join(folder, "clips"), "")
    return any(posixpath.normpath(posixpath.join(base, one)) in paths for one in spellings(value) for base in bases)


def _rows(tree: Tree, name: str) -> list[dict[str, Any]]:
    """The first rows of a table; none if it cannot be a manifest."""
    stamp = tree.origin.stamp(name)
    if stamp is None:
        return []
    rows: list[dict[str, Any]] = []
    try:
        for _, values in islice(_lines(tree, name, stamp), _ROWS):
            rows.append(values)
    except (SourceProblem, InvalidArgument, pa.ArrowException, OSError):
        pass  # the rows read so far are enough
    return rows


def _lines(tree: Tree, name: str, stamp: Stamp) -> Iterator[tuple[int, dict[str, Any]]]:
    if is_line_table(name):
        data = tree.origin.peek(tree.origin.file(name), stamp, 0, _HEAD)
        whole = data if len(data) < _HEAD else data[: data.rfind(b"\n") + 1]
        yield from lines_in(whole, name)
        return
    with Shard(tree.origin, name, stamp).open() as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for batch in parquet.iter_batches(_ROWS):
            yield from enumerate(values_of(batch, parquet.schema_arrow), 1)
