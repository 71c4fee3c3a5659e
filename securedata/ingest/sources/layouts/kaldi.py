"""Kaldi's data directories: wav.scp, segments, utt2spk, text and others, for recordings anywhere under SRC.

A path in wav.scp is absolute, or relative to any folder above the data directory: Kaldi's own scripts run two folders
above it (data/train), others one. It must lead to exactly one recording under SRC. Kaldi requires a utt2spk even if
speakers are unknown; one that gives each utterance its own name as the speaker does not name people.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator

from securedata.errors import InvalidArgument
from securedata.ingest.sources.layouts.base import (
    LOST,
    Described,
    Layout,
    Text,
    content_of,
    context_of,
    folder_of,
    is_split,
    meant,
)
from securedata.ingest.sources.layouts.tables import TableRows, span_of
from securedata.ingest.sources.origin import SourceProblem
from securedata.ingest.sources.texts import NoText, lines_of
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree

_WAVS, _SEGMENTS, _SPEAKERS, _WORDS = "wav.scp", "segments", "utt2spk", "text"
_GENDERS, _LANGUAGES = "spk2gender", "utt2lang"
_TABLES = (_WAVS, _SEGMENTS, _SPEAKERS, _WORDS, _GENDERS, _LANGUAGES)
_COPIES = re.compile(r"(?P<whole>|.*/)split\d+(?:utt)?/.+")  # the jobs of split_data.sh
_ABOVE = 2  # levels above SRC that a path may be relative to

_SEVERAL = (
    "fits several recordings, so none is taken: write its absolute path",
    "fit several recordings, so none is taken: write their absolute paths",
)
_TWICE = ("gives a different path than an earlier line", "give different paths than earlier lines")
_OTHER = ("gives a different value than an earlier line", "give different values than earlier lines")
_NO_RECORDING = (f"names no recording in {_WAVS}", f"name no recording in {_WAVS}")
_FORM = "UTTERANCE RECORDING START END"


def _folders(tree: Tree) -> dict[str, dict[str, str]]:
    """Folder -> file name -> name of each table, for all data directories."""
    folders: dict[str, dict[str, str]] = {}
    for name in tree.companion_names:
        last = posixpath.basename(name)
        if last in _TABLES:
            folders.setdefault(name[: -len(last)], {})[last] = name
    whole = {folder: tables for folder, tables in folders.items() if _WAVS in tables}
    return {folder: tables for folder, tables in whole.items() if not _is_copy(folder, whole)}


def _is_copy(folder: str, folders: Collection[str]) -> bool:
    found = _COPIES.fullmatch(folder)
    return found is not None and found["whole"] in folders


def _count(tree: Tree) -> int:
    """Half of the recordings, if there are such tables: a layout that recognises more names takes precedence."""
    if any(not tables.keys().isdisjoint((_SEGMENTS, _SPEAKERS, _WORDS)) for tables in _folders(tree).values()):
        return (len(tree) + 1) // 2
    return 0


def _describe(tree: Tree, described: Described) -> None:
    folders = _folders(tree)
    if not folders:
        raise InvalidArgument(f"{tree.root} holds no {_WAVS}: SRC is the folder of the data directories or above it")
    rows = TableRows()
    files = _Files(tree)
    directories = [_Directory(tree, described, files, folder, tables) for folder, tables in folders.items()]
    for directory in directories:
        directory.add_to(rows)
    names_people = any(directory.people for directory in directories)
    described.names_people = names_people
    if not names_people:
        described.nobody = " and ".join(sorted({directory.nobody for directory in directories}))
    if not len(rows):
        raise InvalidArgument(
            f"no {_WAVS} under {tree.root} names a recording there"
            + "".join(f"; {problem.path}: {problem.reason}" for problem in described.problems[:1])
            + ". Its paths must be absolute, or relative to a folder above its own"
        )
    rows.give(described, tree.paths, "the tables of Kaldi", names_people)


def first_path(tree: Tree) -> tuple[str, str] | None:
    """A wav.scp and the first path in it; None if no table names one."""
    for tables in _folders(tree).values():
        try:
            for _, line in lines_of(content_of(tree, tables[_WAVS])):
                _, *rest = line.split(None, 1)
                if rest and "|" not in rest[0]:
                    return tables[_WAVS], rest[0]
        except (SourceProblem, NoText):
            continue
    return None


class _Files:
    """Finds the recording that a path in a wav.scp means."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._index = {path: i for i, path in enumerate(tree.paths)}

    def of(self, table: str, name: str) -> list[int]:
        """The recordings that it may mean, as indexes into the tree."""
        return [self._index[path] for path in self._found(table, name, self._index)]

    def is_left_out(self, table: str, name: str) -> bool:
        """Did the caller leave the recording out?"""
        return bool(self._found(table, name, self._tree.exclusions.names))

    def _found(self, table: str, name: str, paths: Collection[str]) -> set[str]:
        folder = folder_of(table)
        bases = [folder]
        while bases[-1]:
            bases.append(folder_of(bases[-1][:-1]))
        if found := {base + name for base in bases if base + name in paths}:  # the usual case
            return found
        tries = [meant(self._tree, base, name, paths) for base in bases]
        if not name.startswith("/") and "://" not in name:
            root = self._tree.root
            above = [root.rsplit("/", level)[0] for level in range(1, _ABOVE + 1) if root.count("/") >= level]
            tries += [meant(self._tree, "", f"{base}/{name}", paths) for base in above]
        return {path for path in tries if path is not None}


class _Directory:
    """The tables of one data directory.

    Attributes:
        people: whether its utt2spk names the speakers.
        nobody: why it does not; '' if it does.
    """

    def __init__(self, tree: Tree, described: Described, files: _Files, folder: str, tables: dict[str, str]) -> None:
        self._tree, self._described, self._files = tree, described, files
        self._folder, self._tables = folder, tables
        self._unread: set[str] = set()
        recordings = self._recordings()
        self._utterances = list(self._segments(recordings) if _SEGMENTS in tables else self._whole(recordings))
        named = {utterance for _, utterance, _, _, _ in self._utterances}
        self._speakers, self._two_speakers = self._column(_SPEAKERS, named)
        self._words, _ = self._column(_WORDS, named)
        self._languages, _ = self._column(_LANGUAGES, named)
        self._genders, _ = self._column(_GENDERS, None)
        self.nobody = self._why_nobody()
        self.people = not self.nobody

    def _why_nobody(self) -> str:
        where = f"{printable(self._folder)}{_SPEAKERS}"
        if _SPEAKERS not in self._tables:
            return f"there is no {where}"
        if not self._speakers:
            return f"{where} names nobody"
        if all(utterance == speaker for utterance, speaker in self._speakers.items()):
            return f"{where} gives each utterance its own name as its speaker"
        return ""

    def add_to(self, rows: TableRows) -> None:
        """Add a row for each utterance whose recording is in the tree."""
        folder = context_of(self._tree) + self._folder
        last = posixpath.basename(folder.rstrip("/"))
        split = last if is_split(last) else ""
        table = self._tables[_SEGMENTS if _SEGMENTS in self._tables else _WAVS]
        seen, wordless = set[str](), list[str]()
        for line, utterance, i, span, fault in self._utterances:
            if utterance in seen:
                fault = f"the utterance {printable(utterance)!r} is there twice"
            seen.add(utterance)
            if i is None:
                continue
            if self.people and utterance in self._two_speakers:
                fault = fault or f"{_SPEAKERS} names two speakers for {printable(utterance)!r}"
            speaker = self._speakers.get(utterance, "") if self.people else ""
            words = self._words.get(utterance, "")
            values = {
                "utterance": utterance,
                "speaker": speaker,
                "transcript": words,
                "split": split,
                "language": self._languages.get(utterance, ""),
                "gender": self._genders.get(speaker, ""),
                **span,
            }
            rows.add(table, line, i, values, fault)
            if not words:
                wordless.append(utterance)
        if wordless:
            self._note_wordless(wordless)

    def _note_wordless(self, utterances: list[str]) -> None:
        first = printable(utterances[0])
        if len(utterances) == 1:
            reason = f"the utterance {first!r} has no words in {_WORDS}"
        else:
            reason = f"{len(utterances)} utterances have no words in {_WORDS}; the first is {first!r}"
        self._described.problems.append(Problem(printable(self._folder.rstrip("/") or "."), reason, taken=True))

    def _pairs(self, last: str, text: Text) -> Iterator[tuple[int, str, str]]:
        """Number, first word and rest of each line."""
        for number, line in text.lines():
            name, *rest = line.split(None, 1)
            yield number, name, rest[0] if rest else ""
        if text.unread:
            self._unread.add(last)

    def _recordings(self) -> dict[str, tuple[int, int | None]]:
        """Name -> line and index of each recording in wav.scp; None if it is not taken, which is a problem."""
        table = self._tables[_WAVS]
        text = Text(self._tree, table, self._described)
        found: dict[str, tuple[int, int | None]] = {}
        paths: dict[str, str] = {}
        for number, name, path in self._pairs(_WAVS, text):
            if "|" in path:  # not shown, because a command may hold a secret
                raise InvalidArgument(
                    f"line {number} of {printable(table)}, {printable(name)!r}, is a command, and commands are never "
                    "run: write its output to a file and put the file's path into this line in place of the command; "
                    "to ignore these tables, use --layout none"
                )
            if paths.setdefault(name, path) != path:
                text.note(_TWICE, number, name, path)
                found[name] = number, None
                continue
            indexes = self._files.of(table, path)
            found[name] = number, indexes[0] if len(indexes) == 1 else None
            if len(indexes) > 1:
                text.note(_SEVERAL, number, path)
            elif not indexes and not self._files.is_left_out(table, path):
                text.note(LOST, number, path or name)
        text.report()
        return found

    def _whole(
        self, recordings: dict[str, tuple[int, int | None]]
    ) -> Iterator[tuple[int, str, int | None, dict[str, float], str]]:
        for name, (number, i) in recordings.items():
            yield number, name, i, {}, ""

    def _segments(
        self, recordings: dict[str, tuple[int, int | None]]
    ) -> Iterator[tuple[int, str, int | None, dict[str, float], str]]:
        """Line, utterance, index of the recording (None: not taken), columns and fault of each segment."""
        text = Text(self._tree, self._tables[_SEGMENTS], self._described)
        for number, utterance, rest in self._pairs(_SEGMENTS, text):
            name, *times = rest.split() or [""]
            if name not in recordings:
                text.note(_NO_RECORDING if name else (f"is not {_FORM}", f"are not {_FORM}"), number, utterance)
                yield number, utterance, None, {}, ""  # so that its words are not a second problem
                continue
            i = recordings[name][1]
            if len(times) == 2:
                yield number, utterance, i, *span_of(*times, open_end=True)
            else:  # a fifth column is a channel, and channels are not separated
                yield number, utterance, i, {}, f"it is not {_FORM}"
        text.report()

    def _column(self, last: str, named: Collection[str] | None) -> tuple[dict[str, str], set[str]]:
        """The value of each utterance, or of each speaker if `named` is None, and the names with two values."""
        values: dict[str, str] = {}
        twice: set[str] = set()
        if last not in self._tables:
            return values, twice
        text = Text(self._tree, self._tables[last], self._described)
        where = _SEGMENTS if _SEGMENTS in self._tables else _WAVS
        lost = f"names no utterance in {where}", f"name no utterance in {where}"
        for number, name, value in self._pairs(last, text):
            if named is not None and name not in named:
                if not {_SEGMENTS, _WAVS} & self._unread:
                    text.note(lost, number, name)
            elif values.setdefault(name, value) != value:
                twice.add(name)
                text.note(_OTHER, number, name, value)
        text.report()
        return values, twice


KALDI = Layout("kaldi", _count, _describe, names_people=None)
