"""What is left out of a source, by patterns, and which other files are taken with the recordings."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Sequence


class Exclusions:
    """Patterns of names under SRC; '*' matches any text, '/' included, and a folder's name matches all that is in it.

    Attributes:
        names: the names that matched so far, in NFC; a manifest row that names one of them is not a problem.
        corpus: the folder of the corpus that is written to, as (device, inode), whichever path leads to it; or None.
    """

    def __init__(self, patterns: Sequence[str] = (), corpus: str | None = None, src: str = "") -> None:
        """`corpus`: the root that the recordings of `src` go to; both are URLs, or paths on this machine."""
        self.names: set[str] = set()
        self.corpus: tuple[int, int] | None = None
        self._patterns = [(text, _compiled(_tidy(text))) for text in patterns]
        self._unused = dict.fromkeys(patterns)
        if corpus is None:
            return
        if "://" in corpus:
            if corpus.startswith(f"{src}/"):
                below = re.escape(corpus[len(src) + 1 :].rstrip("/"))
                self._patterns.append(("", re.compile(f"{below}/.*", re.DOTALL)))
        elif os.path.isdir(corpus):
            status = os.stat(corpus)
            self.corpus = status.st_dev, status.st_ino

    def match(self, name: str) -> bool:
        """Is the file of this name left out? Notes the name, and the patterns that it matches."""
        if not self._patterns:
            return False
        name = unicodedata.normalize("NFC", name)
        found = [text for text, pattern in self._patterns if pattern.fullmatch(name)]
        for text in found:
            self._unused.pop(text, None)
        if any(found):
            self.names.add(name)
        return bool(found)

    def unused(self) -> list[str]:
        """The patterns that matched nothing."""
        return list(self._unused)


class Inclusions:
    """Patterns of names under SRC of files that are taken as they are, though they are no recordings."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = [(text, _compiled(_tidy(text))) for text in patterns]
        self._unused = dict.fromkeys(patterns)

    def match(self, name: str) -> bool:
        """Does the name match a pattern? Notes the patterns that match."""
        found = [text for text, pattern in self._patterns if pattern.fullmatch(unicodedata.normalize("NFC", name))]
        for text in found:
            self._unused.pop(text, None)
        return bool(found)

    def unused(self) -> list[str]:
        """The patterns that matched nothing."""
        return list(self._unused)


def _tidy(pattern: str) -> str:
    return unicodedata.normalize("NFC", pattern).removeprefix("./").rstrip("/")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{fnmatch.translate(pattern)}|{fnmatch.translate(f'{pattern}/*')}")
