"""What lies under SRC: every recording with its size and time, and every other file counted.

What has the suffix of a recording or of its companions is not opened, so a hundred thousand files take about a second;
of the rest the first bytes are read. What is found is kept as columns: one object per file would cost more memory than
the names do.

Symbolic links to files are followed. A link to a folder is followed too, after all real folders, and a folder that was
seen before is not entered again: loops end there, and the real place of a recording names it, whatever links to it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from securedata.errors import InvalidArgument
from securedata.ingest.sources.exclude import LeftOut
from securedata.ingest.sources.file_kinds import is_companion, is_table, is_tar
from securedata.ingest.sources.origin import LocalOrigin, Origin, SourceProblem, Stamp
from securedata.media.audio.probe import not_media
from securedata.media.audio.sniff import By, sniff
from securedata.media.audio.suffixes import is_audio
from securedata.printable import without_secrets

CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # neither in a logical path (corpus.schema.check_path) nor in a name

NARROW = "set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale"


class Problem(NamedTuple):
    """What is not taken, or is taken and deserves a look.

    Attributes:
        path: the file, folder or manifest entry, spelled as its owner knows it (bytes that are no text as ``\\xNN``).
        reason: one clause that says what is wrong.
        taken: True if the recording is sealed all the same, or stands under another path.
    """

    path: str
    reason: str
    taken: bool = False

    def __repr__(self) -> str:  # the path is a person's name more often than not
        return f"Problem({self.reason!r}, taken={self.taken})"


class Closed(NamedTuple):
    """A folder from which nothing is taken, because of its own name.

    Attributes:
        name: its path, spelled as `Problem.path`.
        reason: what is wrong with the name, and what to do; '' if the folder is hidden.
    """

    name: str
    reason: str

    def __repr__(self) -> str:  # a name is often a person's
        return f"Closed({self.reason!r})"


@dataclass(slots=True, repr=False)  # no repr of paths: they are names of people more often than not
class Tree:
    """The recordings under one folder or URL, in the order of their logical paths, and how many files are what else.

    `files` is the number of recordings, `companions`, `hidden`, `left_out` and `not_taken`.

    Attributes:
        origin: where they are read.
        paths: logical paths: relative to the root, parts joined by '/', NFC.
        names: the same as the place spells them (NFD on some disks).
        sizes, mtimes: bytes and nanoseconds, int64.
        versions: what the place calls their content; '' for files of a disk.
        companion_names: companions by name, as the place spells them, but for tables: what a layout may read.
        shards: files that may hold recordings, by name, tars and tables, with what the listing says of a tar. A tar is
            nothing yet (`members` sorts it out), a table is a companion.
        tables: those tables that turned out to hold no recordings.
        files: all that are no folders. A link to a file is one; what is behind a link to a folder counts there.
        companions: what goes along with recordings by its name, or is no audio by its first bytes.
        hidden: files whose name, or a folder's above them, starts with a dot.
        hidden_names: those files, and the topmost of those folders.
        left_out: files that match a pattern of the caller, or belong to the corpus that is written to.
        not_taken: files that cannot be taken; `problems` says why, for all files of a badly named folder at once.
        closed: folders whose names are in `hidden_names` or `problems`, for all that is in them.
        refused: what tells a file that is no recording, and has a problem, from another of its name.
        problems: that, folders that could not be listed, and links to folders that are there already.
    """

    origin: Origin
    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    versions: list[str] = field(default_factory=list)
    companion_names: list[str] = field(default_factory=list)
    shards: dict[str, Stamp | None] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    files: int = 0
    companions: int = 0
    hidden: int = 0
    hidden_names: list[str] = field(default_factory=list)
    left_out: int = 0
    not_taken: int = 0
    problems: list[Problem] = field(default_factory=list)
    leave: LeftOut = field(default_factory=LeftOut)
    unknown: list[tuple[str, Stamp]] = field(default_factory=list)
    refused: dict[str, Stamp] = field(default_factory=dict)
    closed: set[Closed] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def root(self) -> str:
        """Absolute path of the folder, or the URL."""
        return self.origin.root

    def stamp(self, i: int) -> Stamp:
        """What the listing says of a file."""
        return Stamp(self.sizes[i], self.mtimes[i], self.versions[i])

    def sort(self) -> None:
        """Put everything in the order of the logical paths.

        Raises:
            InvalidArgument: two files have one logical path.
        """
        order = sorted(range(len(self.paths)), key=self.paths.__getitem__)
        self.paths = [self.paths[i] for i in order]
        self.names = [self.names[i] for i in order]
        self.sizes = array("q", (self.sizes[i] for i in order))
        self.mtimes = array("q", (self.mtimes[i] for i in order))
        self.versions = [self.versions[i] for i in order]
        self.companion_names.sort()
        self.problems.sort()
        for i in range(1, len(order)):
            if self.paths[i] == self.paths[i - 1]:
                both = " and ".join(ascii(name) for name in self.names[i - 1 : i + 1])
                raise InvalidArgument(
                    f"{both} are two spellings of one name (Unicode NFC) and would get one path in the corpus; "
                    "rename one"
                )


def scan(src: str | os.PathLike[str], leave_out: Sequence[str] = (), corpus: str | None = None) -> Tree:
    """List the recordings under `src`.

    Args:
        leave_out: patterns of paths under `src`; '*' stands for any text, '/' included.
        corpus: the folder of the corpus that they go to: what is in it is left out.

    Raises:
        InvalidArgument: `src` is no folder, or two of its files have one logical path.
    """
    root = os.path.abspath(os.fspath(src))
    if not is_utf8(root):
        advice = f"is not valid UTF-8 in this locale; {NARROW}" if is_misread(root) else "is not valid UTF-8; rename it"
        raise InvalidArgument(f"{printable(root)}: the folder's name {advice}")
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InvalidArgument(f"{root} {what}: name the folder that holds the recordings")
    tree = Tree(LocalOrigin(root), leave=LeftOut(leave_out, corpus))
    seen: dict[tuple[int, int], str] = {}
    folders, links = [""], list[str]()
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        folder = folders.pop() if folders else links.pop()
        where = os.path.join(root, folder) if folder else root
        try:
            status = os.stat(where)
            first = seen.setdefault((status.st_dev, status.st_ino), folder)
            if first != folder:
                reason = f"a link to {printable(first) or 'SRC itself'}, whose recordings are taken where they are"
                tree.problems.append(Problem(printable(folder), reason, taken=True))
                continue
            if tree.leave.corpus == (status.st_dev, status.st_ino):
                below = sum(len(files) for _, _, files in os.walk(where))
                tree.files += below
                tree.left_out += below
                continue
            closed = closed_by(folder)
            if closed is not None and not tree.leave.has(f"{folder}/"):
                _close(tree, closed)  # though it may be empty
            with os.scandir(where) as entries:
                for entry in entries:
                    _take(tree, entry, f"{folder}/{entry.name}" if folder else entry.name, closed, folders, links)
        except OSError as error:
            tree.problems.append(Problem(printable(folder or root), f"folder cannot be listed: {error.strerror}"))
    look_into(tree)
    tree.sort()
    return tree


def _take(
    tree: Tree, entry: os.DirEntry[str], name: str, closed: Closed | None, folders: list[str], links: list[str]
) -> None:
    # unlike entry.is_dir(), os.path.isdir() is False where links go in a circle
    link = entry.is_symlink() and os.path.isdir(entry.path)
    if not link and not entry.is_dir(follow_symlinks=False):
        if by_name(tree, name, entry.name, closed):
            _look_at(tree, entry, name)
    elif entry.name.startswith("."):
        _hide(tree, name, "" if link else entry.path)
    else:
        (links if link else folders).append(name)


def _hide(tree: Tree, name: str, path: str) -> None:
    """Count what is in a hidden folder."""
    closed = Closed(printable(name), "")
    _close(tree, closed)
    tree.leave.has(f"{name}/")  # a pattern that fits is of use, though what is hidden counts as hidden
    for folder, _, files in os.walk(path) if path else ():
        for file in files:
            by_name(tree, f"{name}{folder[len(path) :]}/{file}", file, closed)


def closed_by(folder: str) -> Closed | None:
    """The topmost hidden folder of a path to one, else the topmost whose name no logical path can have; else None.

    This is the one rule of what names keep out, for folders, URLs and members of tars; `by_name` applies it to files.
    """
    if not folder:
        return None
    parts = folder.split("/")
    for at, part in enumerate(parts, 1):
        if part.startswith("."):
            return Closed(printable("/".join(parts[:at])), "")
    for at, part in enumerate(parts, 1):
        if wrong := wrong_name(part):
            return Closed(printable("/".join(parts[:at])), wrong)
    return None


def _close(tree: Tree, closed: Closed) -> None:
    """Name a folder once for all that is in it."""
    if closed in tree.closed:
        return
    tree.closed.add(closed)
    if closed.reason:
        tree.problems.append(Problem(closed.name, closed.reason))
    else:
        tree.hidden_names.append(closed.name)


def by_name(tree: Tree, name: str, last: str, closed: Closed | None) -> bool:
    """Count a file of a listing; whether it is a recording, or may be one, for all that its name says.

    Args:
        last: the last part of its name.
        closed: what `closed_by` says of its folder.
    """
    tree.files += 1
    left_out = tree.leave.has(name)
    if closed is not None and not left_out:
        _close(tree, closed)
    if closed is not None and not closed.reason:
        tree.hidden += 1
    elif last.startswith("."):
        tree.hidden += 1
        tree.hidden_names.append(printable(name))
    elif left_out:
        tree.left_out += 1
    elif not is_audio(last) and is_companion(last):
        tree.companions += 1
        if is_table(last):
            tree.shards[name] = None
        elif closed is None and not wrong_name(last):
            tree.companion_names.append(name)
    elif closed is not None:
        tree.not_taken += 1
    elif wrong := wrong_name(last):
        refuse(tree, printable(name), wrong)
    else:
        return True
    return False


def take_listed(tree: Tree, name: str, stamp: Stamp) -> None:
    """Count a file of a listing that has no folders of its own, and take it if it may be a recording."""
    folder, _, last = name.rpartition("/")
    if last and by_name(tree, name, last, closed_by(folder)):  # without one it is a mark that some tools leave
        take(tree, name, stamp)


def refuse(tree: Tree, name: str, reason: str) -> None:
    """A file that was counted and cannot be taken."""
    tree.not_taken += 1
    tree.problems.append(Problem(name, reason))


def _look_at(tree: Tree, entry: os.DirEntry[str], name: str) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        refuse(tree, name, "link leads nowhere" if entry.is_symlink() else f"cannot be looked at: {error.strerror}")
        return
    if not stat.S_ISREG(status.st_mode):
        refuse(tree, name, "not a regular file")
        return
    take(tree, name, Stamp(status.st_size, status.st_mtime_ns))


def take(tree: Tree, name: str, stamp: Stamp) -> None:
    """Add a recording to the tree, or a file of which `look_into` is to say whether it is one."""
    if is_audio(name):
        add(tree, name, stamp)
    elif is_tar(name):
        tree.shards[name] = stamp
    else:
        tree.unknown.append((name, stamp))


def add(tree: Tree, name: str, stamp: Stamp) -> None:
    """A recording that was counted."""
    tree.paths.append(name if name.isascii() else unicodedata.normalize("NFC", name))
    tree.names.append(name)
    tree.sizes.append(stamp.size)
    tree.mtimes.append(stamp.mtime_ns)
    tree.versions.append(stamp.version)


def look_into(tree: Tree) -> None:
    """End a listing. Raises as `sort_out`."""
    sort_out(tree)
    reason = "no file matches this pattern of --leave-out"
    tree.problems += [Problem(printable(pattern), reason, taken=True) for pattern in tree.leave.unused()]


def sort_out(tree: Tree) -> None:
    """Look at the first bytes of the files whose names say nothing.

    Raises:
        StorageError: their place cannot be read.
    """
    for name, stamp in tree.unknown:
        file = tree.origin.file(name)
        try:
            kind = sniff(lambda offset, length: tree.origin.peek(file, stamp, offset, length))  # noqa: B023 - at once
        except SourceProblem as problem:
            refuse(tree, name, str(problem))
            continue
        if kind is not None and kind.by is By.OTHER:
            tree.companions += 1
        elif kind is None or kind.by is By.NOTHING:
            refuse(tree, name, not_media(kind) if stamp.size else "the file is empty")
            tree.refused[name] = stamp
        else:
            add(tree, name, stamp)
    tree.unknown = []


def wrong_name(name: str) -> str:
    """Why the name cannot be part of a logical path, and what to do; '' if it can."""
    if not name:
        return "one of its folders has no name; rename it"
    if "\\" in name or CONTROL.search(name):
        return "its name holds a backslash or a control character; rename it"
    if not name.isascii() and is_misread(name):
        return f"its name is in UTF-8, and is read as {sys.getfilesystemencoding()}: {NARROW}"
    return "" if is_utf8(name) else "its name is not valid UTF-8; rename it"


def is_misread(name: str) -> bool:
    """Is a name on this disk in UTF-8, and this process in a locale that takes its letters for others?

    Its person would get another name, by which nobody would look for them.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return False
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return False
    return True


def is_utf8(text: str) -> bool:
    """False for text that holds lone surrogates: a file name with invalid bytes, or JSON text with half an escape."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """A name in a form that every terminal and every column of text can take; of a signed URL not what signs it."""
    text = os.fsencode(without_secrets(name) if "://" in name else name).decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
