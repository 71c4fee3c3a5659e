"""TIMIT: TRAIN/DR1/FCJF0/SA1.WAV (NIST SPHERE), with the words in SA1.TXT after the range of samples.

Copies of the corpus use upper or lower case; subjects are always in upper case. The .PHN and .WRD files are not read.
"""

from __future__ import annotations

import re

from securedata.ingest.sources.layouts.base import (
    Described,
    Layout,
    context_of,
    nfc,
    note_lost,
    note_wordless,
    words_of,
)
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

# .../TRAIN/DR1/FCJF0/SA1; the folder above DR1 is a split
_NAMED = re.compile(
    r"(?:(?:.*/)?(?P<split>train|test)/)?(?P<dialect>DR[1-8])/(?P<speaker>[FM][A-Z]{3}\d)/(?P<sentence>S[AIX]\d{1,4})",
    re.IGNORECASE | re.ASCII,
)
_TEXT = re.compile(r"\d+\s+\d+\s+(.*)", re.DOTALL)


def _stem(path: str) -> str:
    """The path without its suffix; converted copies may have two, as in SA1.WAV.wav."""
    return without_suffix(without_suffix(path))


def _count(tree: Tree) -> int:
    context = context_of(tree)
    likely = "dr" in context.lower()
    return sum(
        1
        for path in tree.paths
        if (likely or "DR" in path or "dr" in path or "Dr" in path) and _NAMED.fullmatch(context + _stem(path))
    )


def _describe(tree: Tree, described: Described) -> None:
    context = context_of(tree)
    texts = {
        nfc(name[: -len(".txt")]): name
        for name in tree.companion_names
        if name.lower().endswith(".txt") and _NAMED.fullmatch(context + name[: -len(".txt")])
    }
    known = {_stem(path) for path in (*tree.paths, *tree.exclusions.names)}
    note_lost(tree, described, (name for stem, name in texts.items() if stem not in known))
    stems = {_stem(path) for path in tree.paths}
    texts_read = dict(words_of(tree, (name for stem, name in texts.items() if stem in stems), described))
    wordless = []
    for i, path in enumerate(tree.paths):
        stem = _stem(path)
        found = _NAMED.fullmatch(context + stem)
        if found is None:
            described.problems.append(Problem(path, "not named as in TIMIT, TRAIN/DRN/SPEAKER/SENTENCE"))
            continue
        speaker = found["speaker"].upper()
        words = texts_read.get(texts.get(stem, ""), "")
        spanned = _TEXT.fullmatch(words)
        described.subject[i] = speaker
        described.utterance[i] = f"{speaker}_{found['sentence'].upper()}"
        described.transcript[i] = spanned[1] if spanned else words
        described.split[i] = (found["split"] or "").lower()
        described.language[i] = "en"
        described.extra[i] = {"dialect": found["dialect"].upper()}
        if not described.transcript[i]:
            wordless.append(i)
    note_wordless(tree, described, wordless, "no .TXT beside it has its words")


TIMIT = Layout("timit", _count, _describe)
