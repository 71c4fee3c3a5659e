"""Typed JSON: dataclasses to text and back, strictly.

The text is ASCII: other letters stand as JSON escapes, so that no editor, normalisation or terminal changes what was
signed. Members stand in the order of the fields, one space of indent a level; an optional member with the default None
is left out while it is None. Reading refuses what is missing, unknown, twice there or of another type.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from securedata.errors import InvalidArgument, MalformedReceipt
from securedata.foreign.describe import describe
from securedata.printable import printable

T = TypeVar("T")

_MOST = 2**53
"""The largest whole number that every JSON reader keeps."""


def to_text(value: Any) -> str:
    """The JSON text of a dataclass, with a newline at its end."""
    return json.dumps(to_json(value), indent=1, allow_nan=False) + "\n"


def to_json(value: Any) -> Any:
    """What `json` writes for a dataclass: dicts, lists, texts, numbers."""
    if dataclasses.is_dataclass(value):
        members = ((one, getattr(value, one.name)) for one in dataclasses.fields(value))
        return {one.name: to_json(found) for one, found in members if found is not None or one.default is not None}
    if isinstance(value, tuple):
        return list(value) if all(type(one) is str for one in value) else [to_json(one) for one in value]
    return value


def from_text(kind: type[T], text: str) -> T:
    """The dataclass that a JSON text holds.

    Raises:
        MalformedReceipt: the text is not this JSON; the error names the member.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedReceipt(f"it is not the JSON of a {_noun(kind)}: {describe(error)}") from None
    return from_json(kind, value)


def from_json(kind: type[T], value: Any) -> T:
    """The dataclass of parsed JSON. Errors are those of `from_text`."""
    return cast(T, _typed(kind, value, _noun(kind)))


def known_members(kind: type[Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON object that a dataclass has, for one in which others keep members of their own."""
    names = {one.name for one in dataclasses.fields(kind)}
    return {name: found for name, found in value.items() if name in names}


def _noun(kind: type[Any]) -> str:
    return kind.__name__.lower()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedReceipt("its JSON is broken: a member stands there twice")
    return found


def _refuse(constant: str) -> Any:
    raise MalformedReceipt(f"its JSON is broken: {constant} is no JSON number")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise MalformedReceipt(f"{where} must be one of: {', '.join(get_args(kind))}")
        return value
    if origin is types.UnionType:
        [inner] = [one for one in get_args(kind) if one is not type(None)]
        return None if value is None else _typed(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise MalformedReceipt(f"{where} must be a list")
        inner = get_args(kind)[0]
        if inner is str and all(type(one) is str for one in value):
            return tuple(value)
        return tuple(_typed(inner, one, f"{where}[{n}]") for n, one in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    return _scalar(kind, value, where)


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise MalformedReceipt(f"{where} must be an object")
    hints, fields = _hints(kind), {one.name: one for one in dataclasses.fields(kind)}
    if unknown := [name for name in value if name not in fields]:
        raise MalformedReceipt(f"{where} has a member that no {_noun(kind)} has: {printable(unknown[0])[:80]!r}")
    optional = [name for name, one in fields.items() if one.default is None]
    if missing := [name for name in fields if name not in value and name not in optional]:
        raise MalformedReceipt(f"{where} lacks the member {missing[0]!r}")
    members = {name: _typed(hints[name], found, f"{where}.{name}") for name, found in value.items()}
    try:
        return kind(**members)
    except InvalidArgument as error:
        raise MalformedReceipt(f"{where}: {error}") from None


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) in (int, float) and 0 <= value <= _MOST:
        return float(value)
    if kind is int and type(value) is int and 0 <= value <= _MOST:
        return value
    if kind in (str, bool) and type(value) is kind:
        return value
    nouns = {str: "a text", bool: "true or false", int: "a whole number from 0", float: "a number from 0"}
    raise MalformedReceipt(f"{where} must be {nouns[kind]}")
