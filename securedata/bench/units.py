"""Parse and format sizes and numbers."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError

_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "KiB": 1 << 10, "kiB": 1 << 10, "MiB": 1 << 20}
_LARGEST = 1 << 30


def sizes(text: str) -> tuple[int, ...]:
    """A list such as `4kB,1MiB`, in bytes; for argparse."""
    return tuple(dict.fromkeys(_size(one.strip()) for one in text.split(",")))


def sizes_or_none(text: str) -> tuple[int, ...]:
    """Like `sizes`; `none` is an empty list."""
    return () if text == "none" else sizes(text)


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+) ?([A-Za-z]*)", text)
    if match is None or match[2] not in _UNITS:
        raise ArgumentTypeError(f"not a size: {text!r}; write a number of bytes, kB, MB, KiB or MiB, as in 100kB,1MiB")
    size = int(match[1]) * _UNITS[match[2]]
    if not 0 < size <= _LARGEST:
        raise ArgumentTypeError(f"a size must be between 1 byte and 1024 MiB, not {text}")
    return size


def counts(text: str) -> tuple[int, ...]:
    """A list of worker counts such as `1,2,8`; for argparse."""
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"not a list of worker counts: {text!r}; write it like 1,2,8") from None
    if min(found) < 0 or max(found) > 4096:
        raise ArgumentTypeError(f"a number of workers must be between 0 and 4096, not {text!r}")
    return tuple(sorted(set(found)))


def positive(text: str) -> int:
    """A whole number above 0; for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"not a whole number above 0: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time above 0; for argparse."""
    try:
        found = float(text)
    except ValueError:
        raise ArgumentTypeError(f"not a number of seconds: {text!r}") from None
    if not (math.isfinite(found) and found > 0):
        raise ArgumentTypeError(f"seconds must be above 0, not {text!r}")
    return found


def size_name(size: int) -> str:
    """A size in the largest unit that divides it: `4 kB`, `1 MiB`, `4,097 B`."""
    for unit in ("MiB", "MB", "kB", "KiB"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]} {unit}"
    return f"{size:,} B"


def number(value: float) -> str:
    """Three significant digits, or all digits before the decimal point if there are more; never an exponent.

    Numbers below 0.01 have fewer, so that tables fit a terminal: four decimals, or one significant digit.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")  # first, as 9.999 becomes 10.0
    magnitude = math.floor(math.log10(abs(rounded)))
    digits = min(max(0, 2 - magnitude), max(4, -magnitude))
    return f"{value:,.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])
