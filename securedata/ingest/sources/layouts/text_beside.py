"""The words of each recording in a .txt or .lab of the same name beside it; a rule must name the speakers.

The layout is recognised if more than half of the recordings have such a text. A text with times, such as phone labels,
is not used as words, and a text without a recording may be about anything; neither keeps a recording out.
"""

from __future__ import annotations

import posixpath
import re

from securedata.ingest.sources.layouts.base import Described, Layout, nfc, note_lost, note_wordless, words_of
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_SUFFIXES = (".txt", ".lab")  # if both exist, the first is used
_TIMES = re.compile(r"\d+(?:\.\d+)?\s+\d+(?:\.\d+)?(?:\s|$)")
_WORD = re.compile(r"[^\W_]+")


def note_unused(tree: Tree, described: Described) -> None:
    """Note recordings that have such a text, where they are too few for the layout to be recognised."""
    texts = _texts(tree)
    found = [texts[stem] for path in tree.paths if (stem := without_suffix(path)) in texts]
    if found:
        reason = (
            f"texts of the same name are beside {len(found)} of {len(tree)} recordings, this one first; they are not "
            "used, because that is not more than half: if they are transcripts, use --layout text-beside"
        )
        described.problems.append(Problem(found[0][0], reason, taken=True))


def _texts(tree: Tree) -> dict[str, list[str]]:
    """Path without suffix -> its texts, of which the first that is there is used."""
    texts: dict[str, list[str]] = {}
    for suffix in _SUFFIXES:
        for name in tree.companion_names:
            if name.lower().endswith(suffix):
                texts.setdefault(nfc(name[: -len(suffix)]), []).append(name)
    return texts


def _count(tree: Tree) -> int:
    texts = _texts(tree)
    count = sum(1 for path in tree.paths if without_suffix(path) in texts) if texts else 0
    return count if count * 2 > len(tree) else 0


def _describe(tree: Tree, described: Described) -> None:
    texts = _texts(tree)
    stems = {without_suffix(path) for path in tree.paths}
    known = stems | {without_suffix(path) for path in tree.exclusions.names}
    note_lost(tree, described, (names[0] for stem, names in texts.items() if stem not in known), certain=False)
    read = {stem: names for stem, names in texts.items() if stem in stems}
    words = dict(words_of(tree, (names[0] for names in read.values()), described))
    wordless = []
    for i, path in enumerate(tree.paths):
        name, *_ = texts.get(without_suffix(path), [""])
        text = words.get(name, "")
        if _TIMES.match(text):
            described.problems.append(Problem(name, "it holds times, so its text is not used as words", taken=True))
        elif text:
            described.transcript[i] = text
        else:
            wordless.append(i)
    note_wordless(tree, described, wordless, "no text beside it has its words")
    _note_others(tree, described, read, words)


def _note_others(tree: Tree, described: Described, texts: dict[str, list[str]], words: dict[str, str]) -> None:
    """Note the texts of one recording that differ in more than capitals and marks: one problem for all recordings."""
    used = {other: first for first, *others in texts.values() for other in others if _are_words(words.get(first, ""))}
    unused = Described.blank(0)  # what keeps a text from being read does not matter here
    differ = [
        name
        for name, text in words_of(tree, used, unused)
        if _are_words(text) and _folded(text) != _folded(words[used[name]])
    ]
    if differ:
        name = differ[0]
        more = f" (the first of {len(differ)} such texts)" if len(differ) > 1 else ""
        reason = f"it has other words than {posixpath.basename(used[name])} beside it, which is used{more}"
        described.problems.append(Problem(name, reason, taken=True))


def _are_words(text: str) -> bool:
    return text != "" and not _TIMES.match(text)


def _folded(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


TEXT_BESIDE = Layout("text-beside", _count, _describe, names_people=False)
