"""The words of each recording in a .txt or .lab of its name beside it; whose voice it is, a rule must say.

It is recognised where more than half of the recordings have such a text. One that gives times, as labels of phones do,
holds no words for us, and a text that goes with no recording may be about anything, so neither keeps a recording out.
"""

from __future__ import annotations

import re

from securedata.ingest.sources.layouts.base import Described, Layout, nfc, note_lost, note_wordless, words_of
from securedata.ingest.sources.walk import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_SUFFIXES = (".txt", ".lab")  # the first counts where both are there
_TIMES = re.compile(r"\d+(?:\.\d+)?\s+\d+(?:\.\d+)?(?:\s|$)")


def _texts(tree: Tree) -> dict[str, str]:
    """Path without suffix -> the text."""
    texts: dict[str, str] = {}
    for suffix in _SUFFIXES:
        for name in tree.companion_names:
            if name.lower().endswith(suffix):
                texts.setdefault(nfc(name[: -len(suffix)]), name)
    return texts


def _count(tree: Tree) -> int:
    texts = _texts(tree)
    count = sum(1 for path in tree.paths if without_suffix(path) in texts) if texts else 0
    return count if count * 2 > len(tree) else 0


def _describe(tree: Tree, described: Described) -> None:
    texts = _texts(tree)
    stems = {without_suffix(path) for path in tree.paths}
    known = stems | {without_suffix(path) for path in tree.leave.names}
    note_lost(tree, described, (name for stem, name in texts.items() if stem not in known), certain=False)
    words = dict(words_of(tree, (name for stem, name in texts.items() if stem in stems), described))
    wordless = []
    for i, path in enumerate(tree.paths):
        name = texts.get(without_suffix(path), "")
        said = words.get(name, "")
        if _TIMES.match(said):
            described.problems.append(Problem(name, "it gives times, so it is not taken for words", taken=True))
        elif said:
            described.transcript[i] = said
        else:
            wordless.append(i)
    note_wordless(tree, described, wordless, "no text beside it has its words")


TEXT_BESIDE = Layout("text-beside", _count, _describe, names_people=False)
