"""Corpora that are known by their structure: LibriSpeech and Speech Commands.

A layout names the subject, so it is recognised by names that nothing else uses, never by a folder's depth: at least
half of the recordings have to have them. The others are then problems, for nobody says who speaks in them. SRC may be
the corpus, a folder above it, or a part of it: the names of the folders above SRC are read too.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from securedata.corpus.ingest.kinds import without_suffix
from securedata.corpus.ingest.origin import SourceProblem
from securedata.corpus.ingest.texts import NoText, lines_of, spellings
from securedata.corpus.ingest.walk import Problem, Tree, printable
from securedata.errors import InvalidArgument

LIBRISPEECH = "librispeech"
SPEECH_COMMANDS = "speechcommands"
BACKGROUND_NOISE = "_background_noise_"

# .../SPK/CHAP/SPK-CHAP-UTT; the folder above SPK may be a split
_LIBRISPEECH = re.compile(
    r"(?:(?:.*/)?(?P<above>[^/]*)/)?(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)-(?P=chapter)-\d+"
)
_LIBRISPEECH_SPLIT = re.compile(r"(?:train|dev|test)-(?:clean|other)(?:-\d+)?")
# .../label/HASH_nohash_N
_SPEECH_COMMANDS = re.compile(r"(?:.*/)?(?P<label>[^/]+)/(?P<speaker>[0-9a-f]{8})_nohash_\d+")
_PATTERNS = {LIBRISPEECH: _LIBRISPEECH, SPEECH_COMMANDS: _SPEECH_COMMANDS}


@dataclass(slots=True, repr=False)  # holds transcripts and names
class Described:
    """What names and folders say of each file of a tree; one entry a file, '' where they say nothing.

    A subject of '' means that no one says whose voice it is; unless a manifest does, `problems` has the file.
    """

    subject: list[str]
    utterance: list[str]
    transcript: list[str]
    split: list[str]
    language: list[str]
    extra: list[dict[str, str] | None]
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def blank(cls, count: int) -> Described:
        return cls([""] * count, [""] * count, [""] * count, [""] * count, [""] * count, [None] * count)


def recognise(tree: Tree) -> str | None:
    """The layout that at least half of the files follow, or None."""
    context = _context(tree)
    for name, pattern in _PATTERNS.items():
        if name == LIBRISPEECH and not any(side.endswith(".trans.txt") for side in tree.sidecars):
            continue
        hits = sum(1 for path in tree.paths if pattern.fullmatch(context + without_suffix(path)))
        if tree.paths and hits * 2 >= len(tree.paths):
            return name
    return None


def describe(layout: str, tree: Tree) -> Described:
    """Subject, transcript, split and language as the layout says.

    Raises:
        InvalidArgument: no such layout, or none of the files follows it.
    """
    readers: dict[str, Callable[[Tree, Described], None]] = {
        LIBRISPEECH: _librispeech,
        SPEECH_COMMANDS: _speech_commands,
    }
    if layout not in readers:
        raise InvalidArgument(f"no layout {layout!r}: choose auto, none, {', '.join(readers)}")
    described = Described.blank(len(tree))
    readers[layout](tree, described)
    if not any(described.subject):
        raise InvalidArgument(f"none of the {len(tree)} recordings under {tree.root} follows the layout {layout}")
    return described


def _context(tree: Tree) -> str:
    """The last folders of SRC's own path: enough for a layout of three levels whose part SRC is."""
    return "/".join(tree.root.split("/")[-3:]) + "/"


def _librispeech(tree: Tree, described: Described) -> None:
    words: dict[str, str] = {}
    recordings = {without_suffix(path) for path in tree.paths}
    for sidecar in tree.sidecars:
        if sidecar.endswith(".trans.txt"):
            lost = _Lost(sidecar)
            for number, line in _lines(tree, sidecar, described):
                utterance, *text = line.split(None, 1)
                path = _meant(sidecar, utterance, recordings)
                if path is None:
                    lost.add(number, utterance)
                    continue
                if words.setdefault(path, text[0] if text else "") != (text[0] if text else ""):
                    reason = f"line {number} gives other words to a recording than a line before it"
                    described.problems.append(Problem(sidecar, reason, taken=True))
            lost.tell(described)
    context = _context(tree)
    for i, path in enumerate(tree.paths):
        found = _LIBRISPEECH.fullmatch(context + without_suffix(path))
        if found is None:
            described.problems.append(Problem(path, "not named as in LibriSpeech, SPEAKER/CHAPTER/SPEAKER-CHAPTER-N"))
            continue
        utterance = without_suffix(path)
        if utterance not in words:
            described.problems.append(Problem(path, "no line of a .trans.txt beside it has its words", taken=True))
        described.subject[i] = found["speaker"]
        described.transcript[i] = words.get(utterance, "")
        if _LIBRISPEECH_SPLIT.fullmatch(found["above"] or ""):
            described.split[i] = found["above"]
        described.language[i] = "en"
        described.extra[i] = {"chapter": found["chapter"]}


def _speech_commands(tree: Tree, described: Described) -> None:
    """The split is 'training' for files on neither list, as in torchaudio, if there are lists at all.

    The long recordings of the folder _background_noise_ have no speaker: that name stands in for one, so that they can
    be left out by it, and erased by it.
    """
    splits: dict[str, str] = {}
    listed = set[str]()  # folders that have a list
    recordings = set(tree.paths)
    for sidecar in tree.sidecars:
        name = os.path.basename(sidecar)
        if not name.endswith("_list.txt"):
            continue
        listed.add(_folder(sidecar))
        lost = _Lost(sidecar)
        for number, line in _lines(tree, sidecar, described):
            path = _meant(sidecar, line, recordings)
            if path is None:
                lost.add(number, line)
                continue
            split = "validation" if name.startswith("validation") else "testing"
            if splits.setdefault(path, split) != split:
                reason = f"line {number} names a recording of the {splits[path]} list, where it stays"
                described.problems.append(Problem(sidecar, reason, taken=True))
        lost.tell(described)
    context = _context(tree)
    for i, path in enumerate(tree.paths):
        full = context + without_suffix(path)
        corpus = path[: path.rfind("/", 0, max(0, path.rfind("/"))) + 1]
        found = _SPEECH_COMMANDS.fullmatch(full)
        if found is not None:
            described.subject[i] = found["speaker"]
            described.transcript[i] = found["label"]
            described.language[i] = "en"
            described.split[i] = splits.get(path, "training" if corpus in listed else "")
        elif full.split("/")[-2] == BACKGROUND_NOISE:
            described.subject[i] = BACKGROUND_NOISE
        else:
            described.problems.append(Problem(path, "not named as in Speech Commands, LABEL/HASH_nohash_N"))


class _Lost:
    """The lines of one text that name no recording: together one problem, for there can be thousands."""

    def __init__(self, sidecar: str) -> None:
        self._sidecar, self._count, self._first = sidecar, 0, ""

    def add(self, number: int, name: str) -> None:
        self._count += 1
        self._first = self._first or f"line {number}, {printable(name)!r}"

    def tell(self, described: Described) -> None:
        if self._count:
            what = "1 line names" if self._count == 1 else f"{self._count} lines name"
            reason = f"{what} no recording that is taken from SRC, the first is {self._first}"
            described.problems.append(Problem(self._sidecar, reason))


def _folder(sidecar: str) -> str:
    return unicodedata.normalize("NFC", sidecar[: sidecar.rfind("/") + 1])


def _meant(sidecar: str, name: str, recordings: set[str]) -> str | None:
    """The recording that a name in a text beside it means."""
    folder = _folder(sidecar)
    return next((folder + one for one in spellings(name) if folder + one in recordings), None)


def _lines(tree: Tree, sidecar: str, described: Described) -> list[tuple[int, str]]:
    """The lines of a small text file beside the recordings; what keeps it from being read is a problem of its own."""
    try:
        return list(lines_of(tree.origin.content(sidecar)))
    except (SourceProblem, NoText) as problem:
        described.problems.append(Problem(sidecar, str(problem)))
    return []
