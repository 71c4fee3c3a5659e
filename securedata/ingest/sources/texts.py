"""Read the texts beside recordings: manifests, split lists, transcripts.

Editors, spreadsheets and other systems leave traces: byte order marks, other line ends, invisible blanks, quotes,
backslashes. With or without them, a line must mean the same file.
"""

from __future__ import annotations

import io
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from securedata.corpus.columns import target_of
from securedata.media.audio.suffixes import is_audio

_BLANK = "\ufeff\u200b\u200e\u200f"  # invisible, but not white space to Python


class NoText(Exception):
    """The bytes are not UTF-8 text; the message says why and what to do, in one clause."""


def text_of(data: bytes) -> str:
    """UTF-8 text, without its byte order mark; line ends as they are.

    Raises:
        NoText
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        raise NoText("UTF-16 or UTF-32 text, not UTF-8: convert it with iconv -f UTF-16 -t UTF-8")
    if b"\0" in data:
        raise NoText(
            "not UTF-8 text, because it holds NUL bytes: if it is UTF-16, convert it with iconv -f UTF-16LE -t UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoText(f"not UTF-8 text: {error.reason}") from None


def lines_of(data: bytes) -> Iterator[tuple[int, str]]:
    """Number, from 1, and stripped text of each line that is not blank; LF, CRLF or CR ends a line.

    Raises:
        NoText
    """
    for number, line in enumerate(io.StringIO(text_of(data), newline=None), 1):
        if stripped := strip(line):
            yield number, stripped


def strip(text: str) -> str:
    """Without blanks and invisible characters at either end."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(_BLANK)
    return text


def spellings(name: str) -> Iterator[str]:
    """The paths that the name of a file in a text may mean, in NFC: as written, then tidied.

    No logical path holds a backslash, so a backslash is the '/' of another system.
    """
    yield name if name.isascii() else unicodedata.normalize("NFC", name)
    meant = strip(name)
    if len(meant) > 1 and meant[0] == meant[-1] and meant[0] in "\"'":
        meant = strip(meant[1:-1])
    if meant.lower().startswith("file://"):
        path = meant[len("file://") :].removeprefix("localhost")
        yield from (_tidy(path), _tidy(unquote(path)))
    else:
        yield _tidy(meant)


def _tidy(name: str) -> str:
    scheme, separator, rest = name.partition("://")
    if not separator:
        scheme, rest = "", name
    tidy = posixpath.normpath(rest.replace("\\", "/")) if rest else rest
    return unicodedata.normalize("NFC", scheme + separator + tidy)


_MARKS = {"|": "'|'", ";": "';'", "\t": "tabs", ",": "','"}
_LONG = 60  # characters; names of columns are shorter


def not_a_header(names: Sequence[str], manifest: str) -> str:
    """Why the first line of a table does not name its columns, and what to do; '' if it might.

    Args:
        manifest: the name of the file.
    """
    if any(target_of(name) for name in names):
        return ""
    mark = next((mark for mark in _MARKS if any(mark in name for name in names)), "")
    parts = [strip(part) for name in names for part in (name.split(mark) if mark else [name])]
    separators = "separate all fields by ',' or, in a .tsv, by tabs"
    if mark and any(target_of(part) for part in parts):
        return f"its first line separates the names of columns by {_MARKS[mark]}: {separators}"
    is_data = any(is_audio(part) or len(part) > _LONG or part.count(" ") > 2 or not part for part in parts)
    if not is_data and mark != "|":
        return ""
    shown = parts[0] if len(parts[0]) <= _LONG else f"{parts[0][:_LONG]}..."
    why = (
        f"its first line looks like data, not like names of columns (it begins with {shown!r}): put a line with "
        "the names of the columns above it, such as path, speaker, text"
    )
    why += f", and {separators}" if mark == "|" or len(names) == 1 else ""
    if mark == "|" and posixpath.basename(manifest).lower() == "metadata.csv":
        why += (
            ". If it is like LJ Speech's, it needs no change: leave --manifest out, and use --layout ljspeech with "
            "--one-subject NAME or another rule"
        )
    return why
