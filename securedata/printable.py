"""Text that is safe to show: a terminal obeys control characters, and other characters change the reading order.

A URL is shown without the parts that could be a secret.
"""

from __future__ import annotations

import re

# C0, DEL and C1, line and paragraph separators, direction marks and overrides, lone surrogates
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))

LONGEST = 300
"""The most characters shown of a URL, or of another library's error."""

# anchored at the start of a word, so that a long word is scanned once
_URL = re.compile(r"(?<![^\s'\"])[^\s'\"]*://[^\s'\"]*")
_OF_NAMES = frozenset({"s3", "gs", "gcs", "file", "local", "memory"})
"""Schemes in which an @ after the first slash belongs to a name: a bucket or a path has no password."""


def printable(text: str) -> str:
    """One line of text, with each character that could control a terminal escaped, such as `\\u001b`."""
    return _CONTROL.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """As `printable`, for text of several lines; JSON stays JSON."""
    return _CONTROL_BUT_LINES.sub(_escaped, text)


def plural(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """Seconds as text: 0.50 s, 4:05, 12:00:05."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def without_secrets(url: str) -> str:
    """A URL that is safe to show: '...' replaces user, password, query and fragment."""
    scheme, separator, rest = url.rpartition("://") if url.count("://") == 1 else url.partition("://")
    if not separator:
        scheme, rest = "", url
    kept, *more = re.split(r"[?#]", rest, maxsplit=1)
    cut = "?..." if more else ""
    of_names = scheme in _OF_NAMES and "://" not in kept
    if "@" in (kept.partition("/")[0] if of_names else kept):
        # after a slash too: in a malformed URL it might be part of a password
        host, slash, path = kept.partition("/") if of_names else (kept, "", "")
        kept = "...@" + host.rpartition("@")[2] + slash + path
    return printable(scheme + separator + kept + cut)[:LONGEST]


def without_secrets_within(text: str) -> str:
    """A text with each URL made safe to show. Applying it again changes nothing."""
    return _URL.sub(_shown, text) if "://" in text else text


def _shown(found: re.Match[str]) -> str:
    url = found[0].rstrip(",:;)]")
    if not {"@", "?", "#"} & set(url):
        return found[0]
    return without_secrets(url) + found[0][len(url) :]
