"""Names of files: which of them can be part of a logical path, and how a message shows one."""

from __future__ import annotations

import os
import re
import sys

from securedata.printable import without_secrets

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Not allowed in a logical path (`corpus.schema.check_path`) or in a person's name."""

NARROW = "set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale"


def wrong_name(name: str) -> str:
    """Why the name cannot be part of a logical path, and what to do; '' if it can."""
    if not name:
        return "one of its folders has no name; rename it"
    if "\\" in name or CONTROL.search(name):
        return "its name holds a backslash or a control character; rename it"
    if not name.isascii() and is_misread(name):
        return f"its name is in UTF-8, but is read as {sys.getfilesystemencoding()}: {NARROW}"
    return "" if is_utf8(name) else "its name is not valid UTF-8; rename it"


def is_misread(name: str) -> bool:
    """Is a name on this disk in UTF-8, while this process decodes it by another locale?

    A person named by it would get a garbled name, which nobody would look for.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return False
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return False
    return True


def is_utf8(text: str) -> bool:
    """False for text that holds lone surrogates: a file name with invalid bytes, or JSON text with half an escape."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """A name in a form that every terminal and every text column can take; a signed URL without its signature."""
    text = os.fsencode(without_secrets(name) if "://" in name else name).decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
