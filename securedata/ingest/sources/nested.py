"""Columns inside columns: JSON objects in the rows of a manifest, reached by dotted names.

A column whose own name is the dotted name takes precedence. In a list, a number is an index, as in `sentences.0.text`;
any other name is looked up in every entry, as in `sentences.text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from securedata.corpus.columns import target_of

_IN_PATH = ("path", "offset", "end", "duration")
_MAX_INNER = 100  # dotted names per column that a message may list


def lift(values: dict[str, Any], names: Mapping[str, str]) -> None:
    """Make columns of the values that these dotted names reach, unless the row has a column of that name.

    A value moves out of its object, but lists stay whole: their entries belong together.

    Args:
        names: name -> the field that the column serves as; the pieces of a transcript become one text.
    """
    for name, target in names.items():
        if name in values:
            continue
        found = _take(values, name.split("."))
        if found is not _NOTHING:
            pieces = target == "transcript" and isinstance(found, list) and all(type(piece) is str for piece in found)
            values[name] = " ".join(found) if pieces else found


def lift_path(values: dict[str, Any], column: str) -> dict[str, str]:
    """Lift the path, and the times beside it, out of `{"audio": {"path": ..., "start_time": ...}}`.

    Returns:
        field -> the new column; empty if the column holds no such object.
    """
    inner = values[column]
    if not isinstance(inner, dict) or not isinstance(inner.get("path"), str):
        return {}
    roles = {}
    for name in list(inner):
        target = "path" if name == "path" else target_of(name)
        if target in _IN_PATH and target not in roles and (target != "path" or name == "path"):
            roles[target] = f"{column}.{name}"
            values[roles[target]] = inner.pop(name)
    if not inner:
        del values[column]
    return roles


def names_in(name: str, value: Any) -> list[str]:
    """The column's name and, if it holds objects, the dotted names inside it."""
    return [name, *(inner for inner, _ in zip(_names_in(name, value), range(_MAX_INNER), strict=False))]


def _names_in(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{name}.{key}"
            yield from _names_in(f"{name}.{key}", inner)


_NOTHING = object()


def _take(values: dict[str, Any], parts: list[str]) -> Any:
    """Remove and return the value at the end of `parts`; `_NOTHING` if there is none."""
    # an inner key may have dots too: the longest match wins
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key not in values:
            continue
        rest = parts[count:]
        if not rest:
            return values.pop(key)
        inner = values[key]
        if isinstance(inner, dict):
            found = _take(inner, rest)
            if found is not _NOTHING and not inner:
                del values[key]
        else:
            found = _look(inner, rest)
        if found is not _NOTHING:
            return found
    return _NOTHING


def _look(value: Any, parts: list[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, dict):
        return next(
            (
                found
                for count in range(len(parts), 0, -1)
                if (key := ".".join(parts[:count])) in value
                and (found := _look(value[key], parts[count:])) is not _NOTHING
            ),
            _NOTHING,
        )
    if not isinstance(value, list):
        return _NOTHING
    if parts[0].isdecimal():
        return _look(value[int(parts[0])], parts[1:]) if int(parts[0]) < len(value) else _NOTHING
    found = [one for one in (_look(entry, parts) for entry in value) if one is not _NOTHING]
    return found or _NOTHING
