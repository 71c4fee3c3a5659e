"""Text tables: aligned in any script, and no wider than the terminal.

On a terminal the widest columns are cut in the middle, or wrapped if people copy from them. Output to a pipe or a file
is never cut.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from securedata.cli.streams import takes_all_letters
from securedata.printable import printable

_GAP = "  "
_NARROWEST = 3
_EMOJI_FORM = "\ufe0f"


def table(
    rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset(), whole: frozenset[int] = frozenset()
) -> str:
    """Rows of text in aligned columns, without a final newline.

    Args:
        right: columns that are aligned right and never cut: numbers.
        whole: columns that are wrapped instead of cut, because people copy from them.
    """
    listed = [[_written(cell) for cell in row] for row in rows]
    if not listed:
        return ""
    widths = [max(width(row[i]) for row in listed) for i in range(len(listed[0]))]
    limit = columns()
    if limit is not None:
        widths = _fitted(widths, limit, right)
    lines = []
    for row in listed:
        cells = [
            _pieces(cell, room) if i in whole else [shortened(cell, room)]
            for i, (cell, room) in enumerate(zip(row, widths, strict=True))
        ]
        for n in range(max(map(len, cells))):
            texts = (cell[n] if n < len(cell) else "" for cell in cells)
            padded = (
                " " * (room - width(text)) + text if i in right else text + " " * (room - width(text))
                for i, (text, room) in enumerate(zip(texts, widths, strict=True))
            )
            lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def columns() -> int | None:
    """The width of standard output: COLUMNS, else the terminal's; None if it is not a terminal."""
    if not sys.stdout.isatty():
        return None
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named):
        return int(named)
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def width(text: str) -> int:
    """Cells that a text takes on a terminal: two for a Chinese, Japanese or Korean character and for most emoji."""
    return len(text) if text.isascii() else sum(_cells(letter) for letter in text)


def shortened(text: str, room: int) -> str:
    """The text, with its middle left out if it is wider than `room` cells."""
    if width(text) <= room:
        return text
    mark = "…" if takes_all_letters() else "..."
    room -= len(mark)
    head = _beginning(text, room - room // 2)
    tail = _beginning(_units(text)[::-1], room - width(head))
    return head + mark + "".join(reversed(_units(tail)))


def _written(cell: str) -> str:
    """A cell as it is printed: control characters, and what standard output cannot encode, as escapes."""
    text = printable(cell)
    if text.isascii() or takes_all_letters():
        return text
    return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


def _cells(letter: str) -> int:
    if letter == _EMOJI_FORM:
        return 1  # it turns the character before it into an emoji, which is two cells wide
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def _units(text: str) -> list[str]:
    """Characters, each with its combining marks."""
    units: list[str] = []
    for letter in text:
        if units and (letter == _EMOJI_FORM or _cells(letter) == 0):
            units[-1] += letter
        else:
            units.append(letter)
    return units


def _beginning(text: str | list[str], room: int) -> str:
    """As many characters from the start as fit."""
    taken: list[str] = []
    for unit in _units(text) if isinstance(text, str) else text:
        room -= width(unit)
        if room < 0:
            break
        taken.append(unit)
    return "".join(taken)


def _pieces(text: str, room: int) -> list[str]:
    """The text in lines of at most `room` cells."""
    lines, used = [""], 0
    for unit in _units(text):
        cells = width(unit)
        if used + cells > room and lines[-1]:
            lines.append("")
            used = 0
        lines[-1] += unit
        used += cells
    return lines


def _fitted(widths: list[int], limit: int, right: frozenset[int]) -> list[int]:
    """Widths that fit `limit` cells together, if possible; the widest columns shrink first."""
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - limit
    fitted = list(widths)
    while over > 0:
        giving = [i for i in range(len(fitted)) if i not in right and fitted[i] > _NARROWEST]
        if not giving:
            break
        widest = max(giving, key=lambda i: fitted[i])
        fitted[widest] -= 1
        over -= 1
    return fitted
