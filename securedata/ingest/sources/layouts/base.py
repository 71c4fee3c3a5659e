"""What a layout is, what it says about a tree, and how it reads the texts and tables beside the recordings."""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import re
import unicodedata
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from securedata.foreign.describe import describe
from securedata.ingest.sources.manifest_reader import Rows
from securedata.ingest.sources.origin import MAX_CONTENT, PIECE, LocalOrigin, SourceProblem, Stamp
from securedata.ingest.sources.texts import NoText, lines_of, spellings, text_of
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.threads import BoundedPool

_SPLIT = re.compile(r"(?:train|dev|test|valid|validation|val|eval)(?![a-z]).*", re.IGNORECASE)
_READERS = 16  # texts that are fetched in parallel from a URL


@dataclass(slots=True, repr=False)  # holds transcripts and names
class Described:
    """What is known about each file of a tree without opening it; one entry per file, '' if unknown.

    Attributes:
        subject: the person. If it is '' and no row names one, `problems` has the file.
        utterance, transcript, split, language: as in the columns of the manifest.
        extra: everything else that is known, or None.
        problems: files and texts that are not taken, or deserve a look.
        rows: rows with segments, several people or more columns, if there are any; they override the lists.
        names_people: whether the layout names the speakers. If not, exactly one other rule must.
        nobody: why its tables do not name the speakers although they could, in one clause.
    """

    subject: list[str]
    utterance: list[str]
    transcript: list[str]
    split: list[str]
    language: list[str]
    extra: list[dict[str, Any] | None]
    problems: list[Problem] = field(default_factory=list)
    rows: LayoutRows | None = None
    names_people: bool = True
    nobody: str = ""

    @classmethod
    def blank(cls, count: int) -> Described:
        return cls([""] * count, [""] * count, [""] * count, [""] * count, [""] * count, [None] * count)


@dataclass(slots=True, repr=False)  # holds transcripts and names
class LayoutRows:
    """The tables of a layout, read as rows of a manifest.

    Attributes:
        rows: if `names_people`, every file of the tree without a row is a problem. `files` names the table of each row,
            for messages.
        located: for each row the index of its file in the tree; -1 if it has none, which is a problem already.
    """

    rows: Rows
    located: list[int]


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout.

    Attributes:
        name: what `--layout` takes, a key of `names.LAYOUTS`.
        count: how many recordings of a tree it surely names, by names that nothing else uses, not by depth alone. It is
            called for every source, so it reads no file; it may search `tree.companion_names`.
        describe: fills in what it says about each file. Called for the layout that was chosen or recognised.
        names_people: whether it names the speakers; None: its tables decide, and `describe` sets
            `Described.names_people`.
    """

    name: str
    count: Callable[[Tree], int]
    describe: Callable[[Tree, Described], None]
    names_people: bool | None = True


def context_of(tree: Tree) -> str:
    """The last three folders of SRC's own path, for layouts of which SRC is only a part."""
    return "/".join(tree.root.split("/")[-3:]) + "/"


def is_split(name: str) -> bool:
    """Whether it is what splits are called: train, dev-other, test92, eval2000, train_si84."""
    return _SPLIT.fullmatch(name) is not None


def folder_of(name: str) -> str:
    """The folder of a file, with a '/' at the end; '' for SRC itself."""
    return nfc(name[: name.rfind("/") + 1])


def nfc(name: str) -> str:
    """The name of a companion in NFC, the form of the recordings' paths."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def meant(tree: Tree, sidecar: str, name: str, recordings: Collection[str]) -> str | None:
    """The recording that a name in a text means: relative to the text's folder, or absolute; None if there is none."""
    folder = folder_of(sidecar)
    if folder + name in recordings:  # the usual case
        return folder + name
    root = unicodedata.normalize("NFC", tree.root.rstrip("/")) + "/"
    for one in spellings(name):
        path = one[len(root) :] if one.startswith(root) else posixpath.normpath(folder + one)
        if path in recordings:
            return path
    return None


def content_of(tree: Tree, name: str) -> bytes:
    """All of a text or table beside the recordings, decompressed if its name ends in .gz.

    Raises:
        SourceProblem
    """
    data = tree.origin.content(name)
    if not name.lower().endswith(".gz"):
        return data
    parts, left = [], MAX_CONTENT + 1  # a small file can decompress to any size
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while left and (part := file.read(min(left, PIECE))):
                parts.append(part)
                left -= len(part)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceProblem(f"cannot be decompressed: {describe(error)}") from None
    if not left:
        raise SourceProblem(f"cannot be read: it has more than {MAX_CONTENT} bytes when decompressed")
    return b"".join(parts)


# each fault of a line, in the singular and the plural
LOST = ("names no recording that is taken from SRC", "name no recording that is taken from SRC")
OTHER_WORDS = ("gives different words than an earlier line", "give different words than earlier lines")


class Text:
    """A text beside the recordings. All lines with the same fault become one problem: there can be thousands.

    Attributes:
        unread: True if it could not be read.
    """

    def __init__(self, tree: Tree, sidecar: str, described: Described) -> None:
        self._tree, self._sidecar, self._described = tree, sidecar, described
        self._faults: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._digest = hashlib.sha256()
        self.unread = False

    def lines(self) -> Iterator[tuple[int, str]]:
        """Its lines by number; if it cannot be read, that is a problem."""
        if (data := self.data()) is None:
            return
        try:
            yield from lines_of(data)
        except NoText as problem:
            self._digest.update(data)
            self._unreadable(problem)

    def data(self) -> bytes | None:
        """All of it; None if it cannot be read, which is a problem."""
        try:
            return content_of(self._tree, self._sidecar)
        except SourceProblem as problem:
            self._unreadable(problem)
            return None

    def note(self, fault: tuple[str, str], number: int, name: str, line: str = "") -> None:
        """Note a faulty line; `line` is the part that tells this fault from others, if it is not the name."""
        self._faults.setdefault(fault, []).append((number, name))
        self._digest.update(f"{line or name}\n".encode())

    def report(self) -> None:
        """Add what was noted to the problems, with a stamp that changes with the lines."""
        for fault, lines in self._faults.items():
            number, name = lines[0]
            if len(lines) == 1:
                self._add(f"line {number} {fault[0]}: {printable(name)!r}")
            else:
                self._add(f"{len(lines)} lines {fault[1]}; the first is line {number}, {printable(name)!r}")

    def _unreadable(self, problem: Exception) -> None:
        self.unread = True
        self._add(str(problem))

    def _add(self, reason: str) -> None:
        self._described.problems.append(Problem(self._sidecar, reason))
        self._tree.refused[self._sidecar] = Stamp(0, 0, self._digest.hexdigest()[:16])


def words_of(tree: Tree, sidecars: Iterable[str], described: Described) -> Iterator[tuple[str, str]]:
    """Name and words, as one line, of each text that holds the words of one recording; '' for an empty text.

    A text that cannot be read is a problem, and is skipped. Texts at a URL are fetched in parallel.
    """
    for sidecar, words, _ in written_words_of(tree, sidecars, described):
        yield sidecar, words


def written_words_of(tree: Tree, sidecars: Iterable[str], described: Described) -> Iterator[tuple[str, str, str]]:
    """As `words_of`, with the first line of the text as it is written, its line end included."""
    with BoundedPool[str, bytes]("texts", _READERS, 4 * _READERS) as pool:
        for sidecar, data in _contents(tree, sidecars, pool):
            try:
                content = data()
                words = " ".join(line for _, line in lines_of(content))
                yield sidecar, words, io.StringIO(text_of(content), newline=None).readline()
            except (SourceProblem, NoText) as problem:
                described.problems.append(Problem(printable(sidecar), str(problem)))
                tree.refused[sidecar] = Stamp(0, 0)


def _contents(
    tree: Tree, sidecars: Iterable[str], pool: BoundedPool[str, bytes]
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    calls = ((name, lambda name=name: tree.origin.content(name)) for name in sidecars)
    if isinstance(tree.origin, LocalOrigin):  # a thread would cost more than the read
        yield from calls
    else:
        for name, future in pool.results(calls):
            yield name, future.result


def as_written(words: str, line: str, what: str = "") -> dict[str, str]:
    """What extra must hold so that the first line of a text can be given as it was written; nothing if it is the words.

    torchaudio's datasets return that line, and most texts end in a line end: then `WHATnewline` has it, so that words
    that are corrected later are right in both. Otherwise `WHATline` has the line.
    """
    if line == words:
        return {}
    return {f"{what}newline": "\n"} if line == f"{words}\n" else {f"{what}line": line}


def note_lost(tree: Tree, described: Described, lost: Iterable[str], *, certain: bool = True) -> None:
    """Report texts whose recordings are missing, as one problem per folder: there can be thousands.

    Args:
        certain: whether they are surely transcripts; if not, they only deserve a look.
    """
    folders: dict[str, list[str]] = {}
    for name in lost:
        folders.setdefault(name[: name.rfind("/") + 1], []).append(name)
    for folder, names in folders.items():
        names.sort()
        if len(names) == 1:
            reason = "it belongs to no recording that is taken from SRC"
            described.problems.append(Problem(printable(names[0]), reason, not certain))
            tree.refused[names[0]] = Stamp(0, 0)
            continue
        first = printable(names[0][len(folder) :])
        reason = f"{len(names)} texts belong to no recording that is taken from SRC; the first is {first!r}"
        described.problems.append(Problem(printable(folder or "."), reason, not certain))
        digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        tree.refused[printable(folder or ".")] = Stamp(0, 0, digest)


def note_wordless(tree: Tree, described: Described, missing: Iterable[int], what: str) -> None:
    """Report recordings without words, which are taken; one problem per folder if no recording in it has words.

    Args:
        missing: indexes into the tree.
        what: where the words were expected, such as 'no line of metadata.csv has its words'.
    """
    by_folder: dict[str, list[int]] = {}
    for i in missing:
        by_folder.setdefault(folder_of(tree.paths[i]), []).append(i)
    counts: dict[str, int] = {}
    for path in tree.paths:
        folder = folder_of(path)
        counts[folder] = counts.get(folder, 0) + 1
    for folder, indexes in by_folder.items():
        if len(indexes) > 1 and len(indexes) == counts[folder]:
            reason = f"none of its {len(indexes)} recordings has words: {what}"
            described.problems.append(Problem(folder.rstrip("/") or ".", reason, taken=True))
            continue
        described.problems += [Problem(tree.paths[i], what, taken=True) for i in indexes]
