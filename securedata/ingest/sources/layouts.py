"""Corpora that are known by their structure: LibriSpeech and Speech Commands.

A layout names the subject, so it is recognised by names that nothing else uses, never by a folder's depth: at least
half of the recordings have to have them. The others are then problems, for nobody says who speaks in them. SRC may be
the corpus, a folder above it, or a part of it: the names of the folders above SRC are read too.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from securedata.errors import InvalidArgument
from securedata.ingest.sources.file_kinds import is_transcript
from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.texts import NoText, lines_of, spellings
from securedata.ingest.sources.walk import Problem, Tree, printable
from securedata.media.audio.suffixes import without_suffix

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
        if name == LIBRISPEECH and not any(is_transcript(side) for side in tree.sidecars):
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
    left_out = {without_suffix(path) for path in tree.leave.names}
    for sidecar in tree.sidecars:
        if is_transcript(sidecar):
            text = _Text(tree, sidecar, described)
            for number, line in text.lines():
                utterance, *said = line.split(None, 1)
                path = _meant(tree, sidecar, utterance, recordings)
                if path is None:
                    if _meant(tree, sidecar, utterance, left_out) is None:
                        text.note(_LOST, number, utterance)
                elif words.setdefault(path, said[0] if said else "") != (said[0] if said else ""):
                    text.note(_OTHER_WORDS, number, utterance, line)
            text.tell()
    context = _context(tree)
    for i, path in enumerate(tree.paths):
        found = _LIBRISPEECH.fullmatch(context + without_suffix(path))
        if found is None:
            described.problems.append(Problem(path, "not named as in LibriSpeech, SPEAKER/CHAPTER/SPEAKER-CHAPTER-N"))
            continue
        utterance = without_suffix(path)
        if not words.get(utterance):
            described.problems.append(Problem(path, "no line of a .trans.txt beside it has its words", taken=True))
        described.subject[i] = found["speaker"]
        described.transcript[i] = words.get(utterance, "")
        if _LIBRISPEECH_SPLIT.fullmatch(found["above"] or ""):
            described.split[i] = found["above"]
        described.language[i] = "en"
        described.extra[i] = {"chapter": found["chapter"]}


def _speech_commands(tree: Tree, described: Described) -> None:
    """The split is 'training' for files on neither list, as in torchaudio, if there are lists and all can be read.

    The long recordings of the folder _background_noise_ have no speaker: that name stands in for one, so that they can
    be left out by it, and erased by it.
    """
    splits: dict[str, str] = {}
    listed = set[str]()  # folders that have a list
    unread = set[str]()  # with one that could not be read: who is on none of the others may be on it
    recordings = set(tree.paths)
    for sidecar in tree.sidecars:
        name = os.path.basename(sidecar).lower()
        if not name.endswith("_list.txt"):
            continue
        listed.add(_folder(sidecar))
        text = _Text(tree, sidecar, described)
        for number, line in text.lines():
            path = _meant(tree, sidecar, line, recordings)
            split = "validation" if name.startswith("validation") else "testing"
            if path is None:
                if _meant(tree, sidecar, line, tree.leave.names) is None:
                    text.note(_LOST, number, line)
            elif splits.setdefault(path, split) != split:
                text.note(_OTHER_LIST, number, line)
        text.tell()
        if text.unread:
            unread.add(_folder(sidecar))
    listed -= unread
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
            described.split[i] = splits.get(path, "")
        else:
            described.problems.append(Problem(path, "not named as in Speech Commands, LABEL/HASH_nohash_N"))


# what is wrong with a line, and with several
_LOST = ("names no recording that is taken from SRC", "name no recording that is taken from SRC")
_OTHER_WORDS = ("gives other words than a line before it", "give other words than lines before them")
_OTHER_LIST = (
    "names a recording of the other list, where it stays",
    "name recordings of the other list, where they stay",
)


class _Text:
    """A text beside the recordings. All of its lines with one fault are one problem, for there can be thousands.

    Attributes:
        unread: whether it could not be read at all.
    """

    def __init__(self, tree: Tree, sidecar: str, described: Described) -> None:
        self._tree, self._sidecar, self._described = tree, sidecar, described
        self._faults: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._digest = hashlib.sha256()
        self.unread = False

    def lines(self) -> Iterator[tuple[int, str]]:
        """Its lines by number; what keeps it from being read is a problem of its own."""
        try:
            data = self._tree.origin.content(self._sidecar)
        except SourceProblem as problem:
            self._unreadable(problem)
            return
        try:
            yield from lines_of(data)
        except NoText as problem:
            self._digest.update(data)
            self._unreadable(problem)

    def note(self, fault: tuple[str, str], number: int, name: str, line: str = "") -> None:
        """One line that has a fault; `line`: what of it tells another fault from this one, if the name does not."""
        self._faults.setdefault(fault, []).append((number, name))
        self._digest.update(f"{line or name}\n".encode())

    def tell(self) -> None:
        """Put what was noted among the problems, with a stamp by which other lines are told from these."""
        for fault, lines in self._faults.items():
            what = f"1 line {fault[0]}" if len(lines) == 1 else f"{len(lines)} lines {fault[1]}"
            number, name = lines[0]
            self._add(f"{what}, the first is line {number}, {printable(name)!r}")

    def _unreadable(self, problem: Exception) -> None:
        self.unread = True
        self._add(str(problem))

    def _add(self, reason: str) -> None:
        self._described.problems.append(Problem(self._sidecar, reason))
        self._tree.refused[self._sidecar] = Stamp(0, 0, self._digest.hexdigest()[:16])


def _folder(sidecar: str) -> str:
    return unicodedata.normalize("NFC", sidecar[: sidecar.rfind("/") + 1])


def _meant(tree: Tree, sidecar: str, name: str, recordings: set[str]) -> str | None:
    """The recording that a name in a text beside it means: under the text's own folder, or an absolute one."""
    folder = _folder(sidecar)
    if folder + name in recordings:  # nearly always
        return folder + name
    root = unicodedata.normalize("NFC", tree.root.rstrip("/")) + "/"
    for one in spellings(name):
        path = one[len(root) :] if one.startswith(root) else posixpath.normpath(folder + one)
        if path in recordings:
            return path
    return None
