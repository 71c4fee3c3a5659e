"""Two halves of a corpus that share no text: which recordings train the model, and which test it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

TEST_SHARE = 0.3


def text_groups(paths: Sequence[str], texts: Sequence[str], prompts: bool) -> list[str]:
    """A group name for each recording, such that recordings of one text are in one group.

    Equal transcripts (case, accents and punctuation aside) are one text. With `prompts`, so are equal paths below the
    first folder: `en/hello.wav` and `fr/hello.wav` say the same in two languages. Both rules join groups, so the result
    is the connected components; a recording without a transcript goes by its path.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    keys = []
    for path, text in zip(paths, texts, strict=True):
        key = "path:" + ("/".join(PurePosixPath(path).parts[1:]) if prompts else path)
        words = normal(text)
        if words:
            parent[root(key)] = root("text:" + words)
        keys.append(key)
    return [root(key) for key in keys]


def normal(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"\w+", "".join(c for c in folded if not unicodedata.combining(c))))


def split(groups: Sequence[str], share: float = TEST_SHARE) -> tuple[list[int], list[int]]:
    """Indices for training and for test: whole groups, drawn by a digest of their names, so that every run agrees."""
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    wanted, test = share * len(groups), set[int]()
    for group in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(test) + len(members[group]) / 2 <= wanted:
            test.update(members[group])
    return [index for index in range(len(groups)) if index not in test], sorted(test)
