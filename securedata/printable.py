"""Text that can be shown: a terminal obeys control characters, and some others change the order of what is read."""

from __future__ import annotations

import re

# C0, DEL and C1, line and paragraph separators, marks and overrides of direction, surrogates that stand alone
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))


def printable(text: str) -> str:
    """One line of text with each character that could steer a terminal written as an escape, as `\\u001b`."""
    return _CONTROL.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """As `printable`, for text that has lines of its own; it is still JSON if it was JSON."""
    return _CONTROL_BUT_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
