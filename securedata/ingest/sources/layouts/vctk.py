"""VCTK 0.92 (wav48_silence_trimmed/pNNN/pNNN_UTT_micN.flac) and 0.80 (wav48/pNNN/pNNN_UTT.wav), words in txt/pNNN/.

Each microphone of an utterance is a row of its own, with the same words. speaker-info.txt describes the speakers.
"""

from __future__ import annotations

import posixpath
import re

from securedata.ingest.sources.layouts.base import (
    Described,
    Layout,
    Text,
    as_written,
    context_of,
    nfc,
    note_lost,
    note_wordless,
    written_words_of,
)
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

# .../wav48_silence_trimmed/p225/p225_001_mic1; s5 is the only speaker whose name has another letter
_NAMED = re.compile(
    r"(?P<corpus>(?:.*/)?)wav48(?:_silence_trimmed)?/(?P<speaker>p\d{3}|s5)/(?P<utterance>(?P=speaker)_\d{3})"
    r"(?:_(?P<mic>mic[12]))?"
)
_WORDS = re.compile(r"(?:.*/)?txt/(p\d{3}|s5)/\1_\d{3}\.txt")
_INFO = "speaker-info.txt"
_COLUMNS = ("age", "gender", "accent", "region")


def _found(tree: Tree) -> list[re.Match[str] | None]:
    context = context_of(tree)
    return [_NAMED.fullmatch(context + without_suffix(path)) if "_" in path else None for path in tree.paths]


def _count(tree: Tree) -> int:
    return sum(found is not None for found in _found(tree))


def _describe(tree: Tree, described: Described) -> None:
    context = context_of(tree)
    texts = [name for name in tree.companion_names if _WORDS.fullmatch(context + name)]
    words = {
        nfc(context + name)[: -len(".txt")]: (said, as_written(said, line))
        for name, said, line in written_words_of(tree, texts, described)
    }
    info = _speakers(tree, described)
    used, wordless = set[str](), list[int]()
    for i, found in enumerate(_found(tree)):
        if found is None:
            reason = "not named as in VCTK, wav48/SPEAKER/SPEAKER_N or wav48_silence_trimmed/SPEAKER/SPEAKER_N_micN"
            described.problems.append(Problem(tree.paths[i], reason))
            continue
        speaker, utterance = found["speaker"], found["utterance"]
        text = f"{found['corpus']}txt/{speaker}/{utterance}"
        used.add(text)
        described.subject[i] = speaker
        described.utterance[i] = utterance
        described.transcript[i], written = words.get(text, ("", {}))
        described.language[i] = "en"
        extra = ({"mic": found["mic"]} if found["mic"] else {}) | written
        extra.update(info.get(speaker, {}))
        described.extra[i] = extra or None
        if not described.transcript[i]:
            wordless.append(i)
    left_out = (_NAMED.fullmatch(context + without_suffix(path)) for path in tree.exclusions.names)
    used.update(f"{one['corpus']}txt/{one['speaker']}/{one['utterance']}" for one in left_out if one)
    note_lost(tree, described, (name for name in texts if nfc(context + name)[: -len(".txt")] not in used))
    note_wordless(tree, described, wordless, "no text in txt/ has its words")


def _speakers(tree: Tree, described: Described) -> dict[str, dict[str, str]]:
    """What speaker-info.txt says about each person: columns separated by blanks, which only the last may contain."""
    speakers: dict[str, dict[str, str]] = {}
    for name in tree.companion_names:
        if posixpath.basename(name) != _INFO:
            continue
        text = Text(tree, name, described)
        for _, line in text.lines():
            row, _, comment = line.partition("(")
            who, *fields = row.split(None, 4)
            who = f"p{who}" if who.isdecimal() else who
            if not re.fullmatch(r"p\d{3}|s5", who):  # the header
                continue
            values = {column: " ".join(field.split()) for column, field in zip(_COLUMNS, fields, strict=False)}
            if comment:
                values["comment"] = comment.rstrip(") ")
            speakers.setdefault(who, values)
    return speakers


VCTK = Layout("vctk", _count, _describe)
