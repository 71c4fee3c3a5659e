"""Text that can be shown: a terminal obeys control characters, and some others change the order of what is read.

A URL is shown without what could be a secret in it.
"""

from __future__ import annotations

import re

# C0, DEL and C1, line and paragraph separators, marks and overrides of direction, surrogates that stand alone
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))

LONGEST = 300
"""Characters of a URL, or of what another library's error becomes, that are shown at most."""

# from where a word begins, so that a long one is looked at once
_URL = re.compile(r"(?<![^\s'\"])[^\s'\"]*://[^\s'\"]*")
_OF_NAMES = frozenset({"s3", "gs", "gcs", "file", "local", "memory"})
"""Schemes in which an @ behind the first slash is a letter of a name: a bucket or a path has no password."""


def printable(text: str) -> str:
    """One line of text with each character that could steer a terminal written as an escape, as `\\u001b`."""
    return _CONTROL.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """As `printable`, for text that has lines of its own; it is still JSON if it was JSON."""
    return _CONTROL_BUT_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def without_secrets(url: str) -> str:
    """A URL as it can be shown: without user, password, query and fragment, which are written as '...'."""
    scheme, separator, rest = url.rpartition("://") if url.count("://") == 1 else url.partition("://")
    if not separator:
        scheme, rest = "", url
    kept, *more = re.split(r"[?#]", rest, maxsplit=1)
    cut = "?..." if more else ""
    of_names = scheme in _OF_NAMES and "://" not in kept
    if "@" in (kept.partition("/")[0] if of_names else kept):
        # also behind a slash: what is written wrongly may be a password with one in it
        host, slash, path = kept.partition("/") if of_names else (kept, "", "")
        kept = "...@" + host.rpartition("@")[2] + slash + path
    return printable(scheme + separator + kept + cut)[:LONGEST]


def without_secrets_within(text: str) -> str:
    """A text in which each URL is as it can be shown. It is still the same text if it is given here again."""
    return _URL.sub(_shown, text) if "://" in text else text


def _shown(found: re.Match[str]) -> str:
    url = found[0].rstrip(",:;)]")
    if not {"@", "?", "#"} & set(url):
        return found[0]
    return without_secrets(url) + found[0][len(url) :]
