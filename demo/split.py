"""Split a corpus into two parts without a common text: one to train the model, and one to test it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from demo import DemoError

TEST_SHARE = 0.3


def text_groups(paths: Sequence[str], texts: Sequence[str], prompts: bool) -> list[str]:
    """A group name for each recording, so that recordings of the same text are in the same group.

    Transcripts that differ only in case, accents and punctuation are the same text. With `prompts`, so are equal paths
    below the first folder: `en/hello.wav` and `fr/hello.wav` are the same text in two languages. Both rules join
    groups, so the result is the connected components. A recording without a transcript is grouped by its path.
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
    """Indices for training and test: whole groups, chosen by a digest of their names, so that every run agrees."""
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    wanted, test = share * len(groups), set[int]()
    for group in sorted(members, key=_digest):
        if len(test) + len(members[group]) / 2 <= wanted:
            test.update(members[group])
    return [index for index in range(len(groups)) if index not in test], sorted(test)


@dataclass
class Halves:
    train: list[int]
    test: list[int]
    apart: bool = True  # no text is known to be in both
    remarks: list[str] = field(default_factory=list)  # needed to judge the accuracy


def halves(paths: Sequence[str], texts: Sequence[str], voices: Sequence[str], prompts: bool, most: int) -> Halves:
    """Split any corpus, using at most `most` of its recordings.

    Raises:
        DemoError: there are too few recordings to keep some for the test.
    """
    chosen = sorted(sorted(range(len(paths)), key=lambda row: _digest(paths[row]))[:most])
    groups = text_groups([paths[row] for row in chosen], [texts[row] for row in chosen], prompts)
    found = Halves(*([chosen[index] for index in half] for half in split(groups)))
    if len(chosen) < len(paths):
        found.remarks.append(f"A sample of {len(chosen):,} of the {len(paths):,} recordings is used.")
    if not any(texts[row] for row in chosen):
        found.apart = False
        found.remarks.append("Without transcripts, the same text might be in both parts.")
    elif not found.test or not found.train:
        found.apart = False
        found.remarks.append("All recordings have the same text, so it is in both parts.")
        found.train, found.test = ([chosen[i] for i in half] for half in split([paths[row] for row in chosen]))
    known = {voices[row] for row in found.train}
    if strangers := [row for row in found.test if voices[row] not in known]:
        found.test = [row for row in found.test if voices[row] in known]
        found.remarks.append(f"{len(strangers):,} recordings are left out, because their voices are not in training.")
    if len(known) == 1:
        found.remarks.append(
            "There is only one voice, so there is nothing to distinguish: this demonstrates loading, not a model."
        )
    if not found.train or not found.test:
        raise DemoError(
            f"none of the {len(paths):,} recordings is left for the test: each voice needs several, with different "
            "texts; use a larger folder"
        )
    return found


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
