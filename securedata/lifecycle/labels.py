"""The table that corrects what a corpus says of its recordings: a row for each, by logical path."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from securedata.corpus.columns import BadValue, folded, target_of
from securedata.corpus.state.consent import as_end, as_purposes
from securedata.errors import InvalidArgument
from securedata.ingest.sources.values import as_people, as_person, as_text
from securedata.lifecycle.table_file import TableRow, read_table_rows

CONSENT = ("consent_id", "purposes", "expires", "last_contact")
COLUMNS = ("subjects", "speaker", "utterance", "transcript", "split", "language", *CONSENT)
"""The columns that a table may correct."""
CLEARABLE = tuple(name for name in COLUMNS if name != "subjects")

Labels = Mapping[str, Any]
"""New values, by column; a column that is not in it stays as it is."""


def read_labels(file: str | os.PathLike[str]) -> dict[str, Labels]:
    """New values by logical path. An empty cell is none.

    Raises:
        InvalidArgument: the table cannot be read, has an unknown column, a path twice, or a value that its column
            cannot hold.
    """
    names: dict[str, str] = {}
    found: dict[str, Labels] = {}
    for row in read_table_rows(file):
        path = unicodedata.normalize("NFC", row.path)
        if path in found:
            raise InvalidArgument(f"{row.place} names a path for the second time", path=path)
        found[path] = _labels(row, names)
    if not found:
        raise InvalidArgument(f"{os.path.basename(os.fspath(file))} has no rows")
    return found


def check_clear(names: Collection[str]) -> None:
    """Raise InvalidArgument if one of the columns cannot be emptied."""
    for name in names:
        if name not in CLEARABLE:
            raise InvalidArgument(f"{name!r} cannot be cleared: choose among {', '.join(CLEARABLE)}")


def _labels(row: TableRow, names: dict[str, str]) -> Labels:
    labels: dict[str, Any] = {}
    for column, cell in row.cells.items():
        name = names.get(column) or names.setdefault(column, _column(column, row.place))
        try:
            value = _READERS[name](cell)
        except BadValue as error:
            raise InvalidArgument(f"{row.place}, column {column!r}: {error}") from None
        if value is None:
            continue
        if name in labels:
            raise InvalidArgument(f"{row.place} has two columns for {name}: leave one out")
        labels[name] = value
    return labels


def _column(column: str, place: str) -> str:
    name = target_of(column) or folded(column)
    if name not in COLUMNS:
        raise InvalidArgument(
            f"{place}: unknown column {column!r}: choose among path, {', '.join(COLUMNS)}; other columns of a source "
            "are corrected by 'securedata encrypt'"
        )
    return name


def _text(cell: Any) -> str | None:
    return as_text(cell) or None


def _person(cell: Any) -> str | None:
    return as_person(cell) or None


def _people(cell: Any) -> list[str] | None:
    return list(dict.fromkeys(as_people(cell))) or None


def _purposes(cell: Any) -> list[str] | None:
    found = as_purposes(cell)
    return None if found is None else list(found)


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("utterance", "transcript", "split", "language", "consent_id"), _text),
    "speaker": _person,
    "subjects": _people,
    "purposes": _purposes,
    "expires": partial(as_end, "expires"),
    "last_contact": partial(as_end, "last_contact"),
}
