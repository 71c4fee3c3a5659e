"""Options that may arrive as text, from URLs, configuration files and FSSPEC_SECUREDATA_... in the environment.

The text "false" is true to Python, so each option is parsed here; a value that cannot be parsed is an error.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from securedata.errors import InvalidArgument

MAX_THREADS = 10_000
"""Threads that a caller can ask for at once."""

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?:([kmgt]?)(i?)b?)?")
_UNITS = ["", "k", "m", "g", "t"]

_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off", ""), False),
}


def as_flag(name: str, value: Any) -> bool:
    """A boolean option. None is false.

    Raises:
        InvalidArgument: neither a boolean, 0 or 1, nor one of the words for them.
    """
    if value is None:
        return False
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    if isinstance(value, (bool, int, np.bool_, np.integer)) and value in (0, 1):
        return bool(value)
    raise InvalidArgument(f"{name}= must be true or false (also 1 or 0, yes or no, on or off), not {_shown(value)}")


def as_whole(name: str, value: Any, least: int, most: int) -> int:
    """A whole number from `least` to `most`.

    Raises:
        InvalidArgument
    """
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{name}= must be a whole number, not {_shown(value)}") from None
    if isinstance(value, (bool, np.bool_)):
        raise InvalidArgument(f"{name}= must be a whole number, not {_shown(value)}")
    if not least <= number <= most:
        raise InvalidArgument(f"{name}= must be between {least} and {most}, not {number}")
    return number


def as_seconds(name: str, value: Any) -> float:
    """A time span in seconds, zero or more.

    Raises:
        InvalidArgument
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{name}= must be a number of seconds, not {_shown(value)}") from None
    if isinstance(value, (bool, np.bool_)) or math.isnan(number) or number < 0:
        raise InvalidArgument(f"{name}= must be a number of seconds, zero or more, not {_shown(value)}")
    return number


def as_bytes(name: str, value: Any) -> int:
    """A number of bytes, also as text with a unit: '200GB' or '200G' (10^9 bytes each), '64 GiB' (2^30).

    Raises:
        InvalidArgument
    """
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip().lower())):
        number, unit, binary = found.groups()
        return int(float(number) * (1024 if binary else 1000) ** _UNITS.index(unit or ""))
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)) and value >= 0:
        return int(value)
    raise InvalidArgument(f"{name}= must be a number of bytes, such as '200GB' or '64GiB', not {_shown(value)}")


def as_texts(name: str, value: Any) -> list[str]:
    """One text or several.

    Raises:
        InvalidArgument: anything else, such as a person's number. The message shows no value, for it might be a
            person's name.
    """
    if isinstance(value, str):
        return [str(value)]
    if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray, Mapping)):
        raise InvalidArgument(f"{name}= must be a text or a list of texts, not {type(value).__name__}{_hint(value)}")
    try:
        listed = list(value)
    except TypeError:  # a zero-dimensional array has __iter__ and cannot be iterated
        listed = [value.item()] if hasattr(value, "item") else [value]
    for one in listed:
        if not isinstance(one, str):
            kind = type(one).__name__
            raise InvalidArgument(f"{name}= must be a list of texts, and one item is {kind}{_hint(one)}")
    return [str(one) for one in listed]  # NumPy's too


def as_text(name: str, value: Any) -> str:
    """One text.

    Raises:
        InvalidArgument
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}= must be a text, not {type(value).__name__}{_hint(value)}")
    return str(value)


def as_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """One of a few words.

    Raises:
        InvalidArgument: the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(f"{name}= must be {', '.join(choices[:-1])} or {choices[-1]}, not {_shown(value)}")
    return value


def _hint(value: Any) -> str:
    number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return ": write it as text, in quotes" if number else ""


def _shown(value: Any) -> str:
    """A short text or number as it is; of anything else only the type, for the value could be a secret."""
    return repr(value) if isinstance(value, (str, int, float)) and len(str(value)) <= 20 else type(value).__name__
