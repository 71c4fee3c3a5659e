"""LibriSpeech: SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE under a split, with the words in a .trans.txt beside them."""

from __future__ import annotations

import re

from securedata.ingest.sources.layouts.base import (
    LOST,
    OTHER_WORDS,
    Described,
    Layout,
    Text,
    context_of,
    meant,
)
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

# .../SPK/CHAP/SPK-CHAP-UTT; the folder above SPK may be a split
_NAMED = re.compile(r"(?:(?:.*/)?(?P<above>[^/]*)/)?(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)-(?P=chapter)-\d+")
_SPLIT = re.compile(r"(?:train|dev|test)-(?:clean|other)(?:-\d+)?")


def _is_transcript(name: str) -> bool:
    return name.lower().endswith(".trans.txt")


def _count(tree: Tree) -> int:
    if not any(map(_is_transcript, tree.companion_names)):
        return 0
    context = context_of(tree)
    return sum(1 for path in tree.paths if _NAMED.fullmatch(context + without_suffix(path)))


def _describe(tree: Tree, described: Described) -> None:
    words: dict[str, str] = {}
    recordings = {without_suffix(path) for path in tree.paths}
    left_out = {without_suffix(path) for path in tree.exclusions.names}
    for sidecar in tree.companion_names:
        if _is_transcript(sidecar):
            text = Text(tree, sidecar, described)
            for number, line in text.lines():
                utterance, *rest = line.split(None, 1)
                transcript = rest[0] if rest else ""
                path = meant(tree, sidecar, utterance, recordings)
                if path is None:
                    if meant(tree, sidecar, utterance, left_out) is None:
                        text.note(LOST, number, utterance)
                elif words.setdefault(path, transcript) != transcript:
                    text.note(OTHER_WORDS, number, utterance, line)
            text.report()
    context = context_of(tree)
    for i, path in enumerate(tree.paths):
        found = _NAMED.fullmatch(context + without_suffix(path))
        if found is None:
            described.problems.append(Problem(path, "not named as in LibriSpeech, SPEAKER/CHAPTER/SPEAKER-CHAPTER-N"))
            continue
        utterance = without_suffix(path)
        if not words.get(utterance):
            described.problems.append(Problem(path, "no line of a .trans.txt beside it has its words", taken=True))
        described.subject[i] = found["speaker"]
        described.transcript[i] = words.get(utterance, "")
        if _SPLIT.fullmatch(found["above"] or ""):
            described.split[i] = found["above"]
        described.language[i] = "en"
        described.extra[i] = {"chapter": found["chapter"]}


LIBRISPEECH = Layout("librispeech", _count, _describe)
