"""LJ Speech: wavs/LJ001-0001.wav and metadata.csv, whose lines are ID|transcription|normalized transcription.

The corpus has a single speaker, whom its page does not name, so the subject is 'LJSpeech'. For another corpus in this
form, with other names in wavs/, `--layout ljspeech` reads the words, and a rule must name the speakers.

The number of the line is `line` in extra: torchaudio reads the recordings in this order.
"""

from __future__ import annotations

import posixpath
import re

from securedata.ingest.sources.layouts.base import (
    LOST,
    OTHER_WORDS,
    Described,
    Layout,
    Text,
    context_of,
    folder_of,
    meant,
    note_wordless,
)
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

SPEAKER = "LJSpeech"

_NAMED = re.compile(r"(?:.*/)?wavs/LJ\d{3}-\d{4}", re.ASCII)
_TABLE = "metadata.csv"
_HEADERS = frozenset(("id", "file", "file_name", "filename", "path", "wav", "audio", "audio_file"))
_NO_FIELDS = (
    "has no | between the name of a recording and its words",
    "have no | between the name of a recording and its words",
)


def _count(tree: Tree) -> int:
    context = context_of(tree)
    return sum(1 for path in tree.paths if "LJ" in path and _NAMED.fullmatch(context + without_suffix(path)))


def _describe(tree: Tree, described: Described) -> None:
    context = context_of(tree)
    words = _words(tree, described)
    named = [_NAMED.fullmatch(context + without_suffix(path)) is not None for path in tree.paths]
    described.names_people = any(named)
    wordless = []
    for i, path in enumerate(tree.paths):
        if described.names_people and not named[i]:
            described.problems.append(Problem(path, "not named as in LJ Speech, wavs/LJNNN-NNNN"))
            continue
        original, normalized, line = words.get(without_suffix(path), ("", "", 0))
        described.transcript[i] = normalized or original
        if line:
            differs = {"original": original} if original and original != described.transcript[i] else {}
            described.extra[i] = differs | ({} if normalized else {"normalized": ""}) | {"line": str(line)}
        if described.names_people:
            described.subject[i] = SPEAKER
            described.language[i] = "en"
        if not described.transcript[i]:
            wordless.append(i)
    note_wordless(tree, described, wordless, f"no line of a {_TABLE} has its words")


def _words(tree: Tree, described: Described) -> dict[str, tuple[str, str, int]]:
    """Original and normalized words of each recording that a metadata.csv names, and the number of its line."""
    recordings = {without_suffix(path) for path in tree.paths}
    left_out = {without_suffix(path) for path in tree.exclusions.names}
    words: dict[str, tuple[str, str, int]] = {}
    for name in tree.companion_names:
        if posixpath.basename(name).lower() != _TABLE:
            continue
        beside = f"{folder_of(name)}wavs/{_TABLE}"  # its lines name files in wavs/
        text = Text(tree, name, described)
        for count, (number, line) in enumerate(text.lines()):
            who, *texts = (field.strip() for field in line.split("|"))
            if count == 0 and who.lower() in _HEADERS:
                continue
            if not texts:
                text.note(_NO_FIELDS, number, who)
                continue
            both = texts[0], texts[1] if len(texts) > 1 else ""
            who = without_suffix(who)
            path = meant(tree, beside, who, recordings) or meant(tree, name, who, recordings)
            if path is None:
                if not meant(tree, beside, who, left_out) and not meant(tree, name, who, left_out):
                    text.note(LOST, number, who)
            elif words.setdefault(path, (*both, number))[:2] != both:
                text.note(OTHER_WORDS, number, who, line)
        text.report()
    return words


LJSPEECH = Layout("ljspeech", _count, _describe, names_people=None)
