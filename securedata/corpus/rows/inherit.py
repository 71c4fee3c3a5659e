"""What a row inherits when a run meets it again: whatever the run does not mention stays.

The rule is the same for updating, replacing and resealing a row. A cell mentions something if it is not empty: text
other than '', a number other than 0, anything but null. An empty list of purposes is consent to nothing, which is not
the same as null. `extra` is compared key by key. An empty cell keeps the old value, unless the caller asks to clear it.

Speaker and consent belong to people: if a replacement names other people, they are not inherited, and neither are the
keys of `extra` about consent, where ingest keeps a manifest's columns of consent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import DESCRIPTIVE, OPTIONAL, SCHEMA, optional, with_optional
from securedata.errors import InvalidArgument

CLEARABLE = tuple(name for name in DESCRIPTIVE if name != "source_mtime_ns")
"""Columns that a run may empty."""

_CONSENT = ("consent_id", "purposes", "expires", "last_contact")
_ADDED = tuple(name for name in DESCRIPTIVE if name in OPTIONAL.names)
_OF_PEOPLE = ("speaker", *_CONSENT)

Clear = Mapping[str, Collection[str]]
"""By logical path, the columns to empty if the run does not mention them."""

_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def inherit(old: pa.Table, new: pa.Table, clear: Clear | None = None) -> pa.Table:
    """The rows of `new`, with whatever they do not mention taken from `old`.

    Args:
        old: existing rows: descriptive columns, `subjects`, and columns that this version does not know.
        new: rows for the same paths, in the same order.
        clear: cells to empty rather than keep.

    Returns:
        The columns of `new`, and the unknown columns of `old`; descriptive ones that parts may lack, if one has them.
    """
    same_people = ~unequal(old.column("subjects"), new.column("subjects"))
    old = _without_consent(old, ~same_people)
    for name in _ADDED:
        if name in old.schema.names and old.schema.field(name).type == OPTIONAL.field(name).type:
            new = with_optional(new, name)
    result = new
    unknown = (name for name in old.schema.names if name not in SCHEMA.names and name not in OPTIONAL.names)
    for name in (*DESCRIPTIVE, *unknown):
        if name not in old.schema.names or (name in SCHEMA.names and name not in new.schema.names):
            continue
        keep = ~_mentioned(new, name) & ~_to_clear(new, name, clear)
        if name in _OF_PEOPLE:
            keep &= same_people if name in _CONSENT else _speaker_stays(old, new, same_people)
        column = _extra(old, new, _to_clear(new, name, clear)) if name == "extra" else _chosen(old, new, name, keep)
        at = new.schema.get_field_index(name)
        field = pa.field(name, column.type) if at < 0 else new.schema.field(at).with_type(column.type)
        result = result.append_column(field, column) if at < 0 else result.set_column(at, field, column)
    return with_defaults(result)


def check_clearable(names: Collection[str]) -> None:
    """Raise InvalidArgument if one of the columns cannot be emptied."""
    for name in names:
        if name not in CLEARABLE:
            raise InvalidArgument(f"{name!r} cannot be cleared: choose among {', '.join(CLEARABLE)}")


def with_defaults(table: pa.Table) -> pa.Table:
    """The same rows; an empty speaker becomes the only subject, and an empty utterance the file's stem."""
    people = lambda: [names[0] if len(names) == 1 else "" for names in _list(table, "subjects")]  # noqa: E731 - lazy
    table = _filled(table, "speaker", people)
    return _filled(table, "utterance", lambda: [stem(path) for path in _list(table, "path")])


def _filled(table: pa.Table, name: str, defaults: Callable[[], list[str]]) -> pa.Table:
    if name not in table.schema.names or _mentioned(table, name).all():
        return table
    values = [value or default for value, default in zip(_list(table, name), defaults(), strict=True)]
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def _list(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table.column(name).to_pylist()
    return values


def changed_columns(before: pa.Table, after: pa.Table) -> tuple[_Mask, Counter[str]]:
    """Which rows differ in a descriptive column or their people, and in how many rows each column differs."""
    differs = np.zeros(before.num_rows, dtype=bool)
    counts: Counter[str] = Counter()
    for name in ("subjects", *DESCRIPTIVE):
        both = name in before.schema.names, name in after.schema.names
        if all(both) or (name in _ADDED and any(both)):
            one, other = (optional(table, name) if name in _ADDED else table.column(name) for table in (before, after))
            at = unequal(one, other)
            differs |= at
            counts[name] += int(at.sum())
    return differs, +counts


def unequal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> _Mask:
    """Where two columns differ; lists in any order. The few cells that seem to differ are compared one by one."""
    if one.equals(other):  # nearly always
        return np.zeros(len(one), dtype=bool)
    if pa.types.is_list(one.type):
        left, right = (pc.binary_join(column.cast(pa.list_(pa.string())), "\0") for column in (one, other))
    else:
        left, right = one, other
    equal = pc.fill_null(pc.equal(left, right), False).to_numpy(zero_copy_only=False)
    mask: _Mask = ~equal
    for i in np.flatnonzero(mask).tolist():
        a, b = one[i].as_py(), other[i].as_py()
        mask[i] = sorted(a) != sorted(b) if isinstance(a, list) and isinstance(b, list) else a != b
    return mask


def _mentioned(table: pa.Table, name: str) -> _Mask:
    if name not in table.schema.names:
        return np.zeros(table.num_rows, dtype=bool)
    column = table.column(name)
    if pa.types.is_large_string(column.type) and name in SCHEMA.names:
        found = pc.not_equal(column, pa.scalar("", column.type))
    elif name == "source_mtime_ns":
        found = pc.not_equal(column, 0)
    else:
        found = pc.is_valid(column)
    mask: _Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def _to_clear(new: pa.Table, name: str, clear: Clear | None) -> _Mask:
    if not clear or name not in CLEARABLE:
        return np.zeros(new.num_rows, dtype=bool)
    paths = new.column("path").to_pylist()
    return np.fromiter((name in clear.get(path, ()) for path in paths), bool, len(paths))


def _chosen(old: pa.Table, new: pa.Table, name: str, keep: _Mask) -> pa.ChunkedArray:
    if name not in new.schema.names:
        return old.column(name)
    if old.column(name).type == new.column(name).type and (keep.all() or not keep.any()):
        return (old if keep.all() else new).column(name)
    both = pa.concat_tables([old.select([name]), new.select([name])], promote_options="permissive").column(0)
    rows = np.arange(old.num_rows)
    return both.take(pa.array(np.where(keep, rows, rows + old.num_rows)))


def _speaker_stays(old: pa.Table, new: pa.Table, same_people: _Mask) -> _Mask:
    mask = same_people.copy()
    for i in np.flatnonzero(~mask).tolist():
        mask[i] = old.column("speaker")[i].as_py() in new.column("subjects")[i].as_py()
    return mask


def _extra(old: pa.Table, new: pa.Table, to_clear: _Mask) -> pa.ChunkedArray:
    keep = ~_mentioned(new, "extra") & ~to_clear
    column = _chosen(old, new, "extra", keep)
    both = _mentioned(new, "extra") & _mentioned(old, "extra") & ~to_clear
    both &= unequal(old.column("extra"), new.column("extra"))
    if not both.any():
        return column
    texts = column.to_pylist()
    for i in np.flatnonzero(both).tolist():
        texts[i] = _merged(old.column("extra")[i].as_py(), texts[i])
    return pa.chunked_array([pa.array(texts, column.type)])


def _without_consent(old: pa.Table, rows: _Mask) -> pa.Table:
    """The same table; in the given rows `extra` loses its keys about consent."""
    at = old.schema.get_field_index("extra")
    if at < 0 or not rows.any():  # nearly always
        return old
    texts = _list(old, "extra")
    for i in np.flatnonzero(rows).tolist():
        texts[i] = without_consent(texts[i])
    return old.set_column(at, old.schema.field(at), pa.array(texts, old.schema.field(at).type))


def without_consent(extra: str) -> str:
    """The text of a cell of `extra` without its keys about consent."""
    try:
        found = json.loads(extra or "{}")
    except (ValueError, RecursionError):  # a writer may put any text there
        return extra
    if not isinstance(found, dict) or not any(map(_of_consent, found)):
        return extra
    kept = {name: value for name, value in found.items() if not _of_consent(name)}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else ""


def _of_consent(name: str) -> bool:
    name = name.strip().casefold()
    return name in _CONSENT or "consent" in name


def _merged(before: str, after: str) -> str:
    """Two texts of `extra` merged; where both have a key, the later one wins."""
    try:
        one, other = json.loads(before), json.loads(after)
    except (ValueError, RecursionError):  # a writer may put any text there, which is replaced as a whole
        return after
    if not isinstance(one, dict) or not isinstance(other, dict):
        return after
    both = {**one, **other}
    return before if both == one else json.dumps(both, ensure_ascii=False, separators=(",", ":"))


def stem(path: str) -> str:
    """The last part of a logical path, without its suffix."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name
