"""Parse the values of a head's JSON; what is not as a writer makes it is refused."""

from __future__ import annotations

from typing import Any

MAX_NUMBER = 2**53
"""Numbers in a head are below this, so that every JSON parser reads them exactly."""


def hex_bytes(text: Any, size: int) -> bytes:
    """Bytes of this size from lowercase hex. Raises ValueError or TypeError, as all functions here do."""
    raw = bytes.fromhex(text)
    if len(raw) != size or raw.hex() != text:
        raise ValueError(f"{size} bytes in lowercase hex were expected")
    return raw


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value


def json_list(value: Any) -> list[Any]:
    """A JSON array."""
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return value


def text(value: Any) -> str:
    """A JSON string."""
    if not isinstance(value, str):
        raise TypeError("text was expected")
    return value


def seconds(value: Any) -> float:
    """Seconds since the epoch."""
    if type(value) not in (int, float) or not 0 <= value < MAX_NUMBER:
        raise ValueError("seconds since the epoch were expected")
    return float(value)


def natural(value: Any, limit: int = MAX_NUMBER) -> int:
    """A natural number below `limit`."""
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"a natural number below {limit} was expected")
    return value


def no_constant(name: str) -> Any:
    """For `json.loads`: refuse NaN and Infinity."""
    raise ValueError(f"{name} is not JSON")


def members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: refuse a duplicate member, of which some parsers take the first and others the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is given twice")
    return found
