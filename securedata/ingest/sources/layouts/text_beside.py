"""The words of each recording in a .txt or .lab of the same name beside it; a rule must name the speakers.

The layout is recognised if more than half of the recordings have such a text. A text with times, such as phone labels,
is not used as words, and a text without a recording may be about anything; neither keeps a recording out.
"""

from __future__ import annotations

import re

from securedata.ingest.sources.layouts.base import Described, Layout, nfc, note_lost, note_wordless, words_of
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_SUFFIXES = (".txt", ".lab")  # if both exist, the first is used
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
    known = stems | {without_suffix(path) for path in tree.exclusions.names}
    note_lost(tree, described, (name for stem, name in texts.items() if stem not in known), certain=False)
    words = dict(words_of(tree, (name for stem, name in texts.items() if stem in stems), described))
    wordless = []
    for i, path in enumerate(tree.paths):
        name = texts.get(without_suffix(path), "")
        text = words.get(name, "")
        if _TIMES.match(text):
            described.problems.append(Problem(name, "it holds times, so its text is not used as words", taken=True))
        elif text:
            described.transcript[i] = text
        else:
            wordless.append(i)
    note_wordless(tree, described, wordless, "no text beside it has its words")


TEXT_BESIDE = Layout("text-beside", _count, _describe, names_people=False)
