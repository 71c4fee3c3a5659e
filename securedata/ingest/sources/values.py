"""The values in a row of a manifest: text, names of people, and the rest as JSON."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, NoReturn

from securedata.corpus.columns import BadValue
from securedata.foreign.describe import describe
from securedata.ingest.sources.texts import strip
from securedata.ingest.sources.walk.names import CONTROL, is_utf8


def _no_constant(name: str) -> NoReturn:
    raise NoJson(f"{name} is not valid JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NoJson(f"it has two values for {twice!r}")
    return values


class NoJson(ValueError):
    """JSON that Python would accept and others would not: NaN, an infinity, a key that is there twice."""


# made once: json.loads() and dumps() with options make a new one in every call
DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_each_once)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class NotAnObject(ValueError):
    """A text that is not one JSON object; the message gives the reason."""


def json_object(line: str, whole: str) -> dict[str, Any]:
    """The JSON object of one line of a text.

    Raises:
        NotAnObject
    """
    try:
        value = DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise NotAnObject(_spread(whole) or f"not valid JSON, at column {error.pos + 1}") from None
    except NoJson as error:
        raise NotAnObject(f"not valid JSON: {error}") from None
    except RecursionError as error:
        raise NotAnObject(f"not valid JSON: {describe(error)}") from None
    if not isinstance(value, dict):
        raise NotAnObject(_spread(whole) or f"each line must be a JSON object, and this is a {type(value).__name__}")
    return value


def _spread(text: str) -> str:
    """What to do about a file of JSON that is not one object a line; empty if it does not look like that."""
    first, _, rest = text.strip().partition("\n")
    if first.startswith("["):
        return "the file is a JSON array; write one object a line, for example with jq -c '.[]' FILE"
    if first.strip() == "{" and rest:
        return "a JSON object takes several lines; write one object a line, for example with jq -c . FILE"
    return ""


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        if not is_utf8(value):
            raise BadValue("half of a surrogate pair is not text")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadValue(f"a {type(value).__name__} where text belongs")


def as_person(value: Any) -> str:
    """A person's name in NFC, otherwise as written: two spellings are two people. A blank name is nobody."""
    name = unicodedata.normalize("NFC", as_text(value))
    if CONTROL.search(name):
        raise BadValue("a control character in a person's name")
    return name if name.strip() else ""


def as_people(value: Any) -> list[str]:
    """Several people: a JSON list, which a table holds as text, or a text with ';' between the names."""
    values = value if isinstance(value, list) else as_text(value)
    if isinstance(values, str):
        values = _listed(values.strip()) or [strip(name) for name in values.split(";")]
    return [name for name in map(as_person, values) if name]


def _listed(text: str) -> list[Any]:
    """The text as a JSON list; empty if it is not one."""
    if not text.startswith("["):
        return []
    try:
        values = DECODER.decode(text)
    except (ValueError, RecursionError):
        if text[1:].lstrip()[:1] in ("'", '"'):
            raise BadValue("its subjects begin like a JSON list but are not valid JSON") from None
        return []
    return values if isinstance(values, list) else []


def as_extra(values: dict[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if value is not None and value != ""}
    if len(kept) == 1 and isinstance(kept.get("extra"), dict):
        kept = kept["extra"]  # an export nests extra where its columns would be taken for others
    if not kept:
        return ""
    try:
        text = _ENCODER.encode(kept)
    except (ValueError, RecursionError) as error:  # 1e999 is read as infinity, which JSON cannot hold
        raise BadValue(f"its other columns cannot be written as JSON: {describe(error)}") from None
    if not is_utf8(text):
        raise BadValue("half of a surrogate pair is not text")
    return text
