"""TED-LIUM and similar corpora: FOLDER/sph/TALK.sph, and FOLDER/stm/TALK.stm with one segment per line.

A line is `TALK channel speaker start end <labels> words`. Lines that are not scored (gaps, applause) are not taken,
unless they name a person whom no other line names: they then become rows without words, so that this person, who is
heard in the recording, can be erased.
A person who is named elsewhere, too, is named in the segments that such a line overlaps.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from securedata.ingest.sources.layouts.base import LOST, Described, Layout, Text, context_of, folder_of, meant
from securedata.ingest.sources.layouts.tables import TableRows, span_of
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_SUFFIX = ".stm"
_FOLDER = re.compile(r"(?P<above>(?:.*/)?)stm/")
_SPLITS = ("train", "dev", "test")
_NOBODY = frozenset(("inter_segment_gap", "excluded_region"))
_NOT_SCORED = "ignore_time_segment_in_scoring"
# <o,f0,female>, <F0_M>, <NA>, but not a word such as <unk>
_WORDS = re.compile(r"(?:<(?P<labels>[^<>\s]*,[^<>\s]*|[A-Z]\d_[A-Z]|NA)>(?:\s+|$))?(?P<words>.*)", re.DOTALL)
_FORM = "it is not FILE CHANNEL SPEAKER START END <LABELS> WORDS"


class _Line(NamedTuple):
    table: str
    number: int
    recordings: list[int]
    channel: str
    speaker: str
    start: str
    end: str
    labels: str
    words: str

    def __repr__(self) -> str:  # no transcripts or names in logs
        return "_Line()"

    @property
    def is_scored(self) -> bool:
        return self.speaker.lower() not in _NOBODY and self.words.lower() != _NOT_SCORED


def _tables(tree: Tree) -> list[str]:
    return [name for name in tree.companion_names if name.lower().endswith(_SUFFIX)]


def _sound_folder(table: str) -> str:
    """The folder of a table's recordings: sph/ beside stm/, or the table's own folder if it is not in stm/."""
    found = _FOLDER.fullmatch(folder_of(table))
    return f"{found['above']}sph/" if found else folder_of(table)


def _count(tree: Tree) -> int:
    """The recordings in a folder sph/ beside a folder stm/ with a table."""
    folders = {_sound_folder(name) for name in _tables(tree) if _FOLDER.fullmatch(folder_of(name))}
    return sum(1 for path in tree.paths if path[: path.rfind("/") + 1] in folders) if folders else 0


def _describe(tree: Tree, described: Described) -> None:
    lines = _lines(tree, described)
    people: dict[int, set[str]] = {}  # of the rows of each recording
    for line in lines:
        if line.is_scored:
            for i in line.recordings:
                people.setdefault(i, set()).add(line.speaker)
    not_scored: dict[int, list[_Line]] = {}  # of people of such rows
    for line in lines:
        for i in line.recordings:
            if not line.is_scored and line.speaker in people.get(i, ()):
                not_scored.setdefault(i, []).append(line)
    rows = TableRows()
    gaps: dict[str, int] = {}
    wordless: dict[str, int] = {}
    for line in lines:
        folder = folder_of(line.table)
        nobody = line.speaker.lower() in _NOBODY
        takers = [i for i in line.recordings if line.is_scored or not (nobody or line.speaker in people.get(i, ()))]
        if not takers:
            gaps[folder] = gaps.get(folder, 0) + 1
            continue
        words = line.words if line.is_scored else ""
        if not words:
            wordless[folder] = wordless.get(folder, 0) + 1
        span, fault = span_of(line.start, line.end) if line.end else ({}, _FORM)  # kept, because it may name a person
        values = {
            "speaker": line.speaker,
            "transcript": words,
            "split": _split(context_of(tree) + folder),
            "labels": line.labels,
            "channel": line.channel if line.channel != "1" else "",
            **span,
        }
        for i in takers:
            among = (one for one in not_scored.get(i, ()) if one.speaker != line.speaker)
            others = [one.speaker for one in among if _overlap(line, one)]
            more = {"subjects": [line.speaker, *others]} if others else {}
            rows.add(line.table, line.number, i, {**values, **more}, fault)
    _note(described, gaps, "is a gap or not scored, and is not taken", "are gaps or not scored, and are not taken")
    _note(described, wordless, "is a row without words", "are rows without words")
    rows.give(described, tree.paths, "the .stm files", names_people=True)


def _overlap(one: _Line, other: _Line) -> bool:
    """Whether two lines have time in common; one without times may be anywhere."""
    spans = [span_of(line.start, line.end)[0] for line in (one, other)]
    if not all(spans):
        return True
    (start, end), (begin, stop) = ((span["offset"], span["offset"] + span["duration"]) for span in spans)
    return start < stop and begin < end


def _note(described: Described, counts: dict[str, int], one: str, many: str) -> None:
    for folder, count in counts.items():
        reason = f"1 line of its .stm files {one}" if count == 1 else f"{count} lines of its .stm files {many}"
        described.problems.append(Problem(printable(folder.rstrip("/") or "."), reason, taken=True))


def _split(folder: str) -> str:
    """The folder above stm/, if it has the name of a split."""
    parts = folder.rstrip("/").split("/")
    above = parts[-2] if parts[-1] == "stm" and len(parts) > 1 else posixpath.basename(folder.rstrip("/"))
    return above if above in _SPLITS else ""


def _lines(tree: Tree, described: Described) -> list[_Line]:
    """The lines of all tables whose recordings are in the tree."""
    stems: dict[str, list[int]] = {}
    for i, path in enumerate(tree.paths):
        stems.setdefault(without_suffix(path), []).append(i)
    left_out = {without_suffix(path) for path in tree.exclusions.names}
    lines: list[_Line] = []
    for table in _tables(tree):
        folder = _sound_folder(table)
        text = Text(tree, table, described)
        for number, line in text.lines():
            if line.startswith(";;"):  # a comment
                continue
            name, *fields = line.split(None, 5)
            stem = without_suffix(name)
            found = meant(tree, folder, stem, stems)
            if found is None:
                if meant(tree, folder, stem, left_out) is None:
                    text.note(LOST, number, name, line)
                continue
            channel, speaker, start, end, rest = (*fields, *[""] * (5 - len(fields)))
            parts = _WORDS.match(rest)
            labels, words = (parts["labels"] or "", parts["words"]) if parts else ("", rest)
            lines.append(_Line(table, number, stems[found], channel, speaker, start, end, labels, words))
        text.report()
    return lines


STM = Layout("stm", _count, _describe)
