"""LibriTTS: SPEAKER/CHAPTER/SPEAKER_CHAPTER_PARAGRAPH_UTTERANCE under a split, with the words in texts beside them.

The transcript is the normalized text; the original text, if it differs, is `original` in extra. Both come from the
.trans.tsv of each chapter, or from .normalized.txt and .original.txt for utterances that it does not name.
"""

from __future__ import annotations

import re

from securedata.ingest.sources.layouts.base import (
    LOST,
    OTHER_WORDS,
    Described,
    Layout,
    Text,
    as_written,
    context_of,
    meant,
    nfc,
    note_lost,
    note_wordless,
    written_words_of,
)
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_NAMED = re.compile(
    r"(?:(?:.*/)?(?P<above>[^/]*)/)?(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)_(?P=chapter)_\d{6}_\d{6}"
)
_SPLIT = re.compile(r"(?:train|dev|test)-(?:clean|other)(?:-\d+)?")
_TABLE, _NORMALIZED, _ORIGINAL = ".trans.tsv", ".normalized.txt", ".original.txt"


def _count(tree: Tree) -> int:
    if not any(name.endswith((_TABLE, _NORMALIZED, _ORIGINAL)) for name in tree.companion_names):
        return 0
    context = context_of(tree)
    return sum(1 for path in tree.paths if _NAMED.fullmatch(context + without_suffix(path)))


def _describe(tree: Tree, described: Described) -> None:
    recordings = {without_suffix(path) for path in tree.paths}
    known = recordings | {without_suffix(path) for path in tree.exclusions.names}
    words = _tables(tree, described, recordings, known)
    written: dict[str, dict[str, str]] = {}
    for suffix in (_NORMALIZED, _ORIGINAL):
        texts = [name for name in tree.companion_names if name.endswith(suffix)]
        note_lost(tree, described, (name for name in texts if nfc(name[: -len(suffix)]) not in known))
        wanted = [name for name in texts if nfc(name[: -len(suffix)]) in recordings - words.keys()]
        for name, text, line in written_words_of(tree, wanted, described):
            words.setdefault(nfc(name), ("", text))
            written.setdefault(nfc(name[: -len(suffix)]), {}).update(as_written(text, line, f"{suffix[1:-4]}_"))
    context = context_of(tree)
    wordless = []
    for i, path in enumerate(tree.paths):
        stem = without_suffix(path)
        found = _NAMED.fullmatch(context + stem)
        if found is None:
            reason = "not named as in LibriTTS, SPEAKER/CHAPTER/SPEAKER_CHAPTER_PARAGRAPH_N"
            described.problems.append(Problem(path, reason))
            continue
        nothing = ("", "")
        from_texts = (words.get(stem + _ORIGINAL, nothing)[1], words.get(stem + _NORMALIZED, nothing)[1])
        original, normalized = words.get(stem, from_texts)
        described.subject[i] = found["speaker"]
        described.transcript[i] = normalized or original
        if _SPLIT.fullmatch(found["above"] or ""):
            described.split[i] = found["above"]
        described.language[i] = "en"
        differs = {"original": original} if original and original != described.transcript[i] else {}
        described.extra[i] = {"chapter": found["chapter"], **differs, **written.get(stem, {})}
        if not described.transcript[i]:
            wordless.append(i)
    note_wordless(tree, described, wordless, f"neither a {_TABLE} nor a {_NORMALIZED} beside it has its words")


def _tables(tree: Tree, described: Described, recordings: set[str], known: set[str]) -> dict[str, tuple[str, str]]:
    """Original and normalized words of each recording that a .trans.tsv names."""
    words: dict[str, tuple[str, str]] = {}
    for name in tree.companion_names:
        if not name.endswith(_TABLE):
            continue
        text = Text(tree, name, described)
        for number, line in text.lines():
            utterance, _, rest = line.partition("\t")
            original, _, normalized = rest.partition("\t")
            both = original.strip(), normalized.strip()
            path = meant(tree, name, utterance, recordings)
            if path is None:
                if meant(tree, name, utterance, known) is None:
                    text.note(LOST, number, utterance)
            elif words.setdefault(path, both) != both:
                text.note(OTHER_WORDS, number, utterance, line)
        text.report()
    return words


LIBRITTS = Layout("libritts", _count, _describe)
