"""What lies under SRC: every audio file with its size and time, from directory entries alone.

Nothing is opened, so a hundred thousand files take about a second. What is found is kept as columns: one object per
file would cost more memory than the names do.

Symbolic links to files are followed. A link to a folder is followed too, after all real folders, and a folder that was
seen before is not entered again: loops end there, and the real place of a recording names it, whatever links to it.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

from securedata.corpus.ingest.origin import LocalOrigin, Origin, Stamp
from securedata.errors import InvalidArgument

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")

# Files that no one seals but a known layout reads; layouts.py says how.
SIDECAR_SUFFIX = ".trans.txt"
SIDECAR_NAMES = frozenset(("validation_list.txt", "testing_list.txt"))

CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # neither in a logical path (corpus.schema.check_path) nor in a name


class Problem(NamedTuple):
    """Something the user has to hear of at the end.

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


@dataclass(slots=True, repr=False)  # no repr of paths: they are names of people more often than not
class Tree:
    """The audio files under one folder or URL, in the order of their logical paths.

    Attributes:
        origin: where they are read.
        paths: logical paths: relative to the root, parts joined by '/', NFC.
        names: the same as the place spells them (NFD on some disks).
        sizes, mtimes: bytes and nanoseconds, int64.
        versions: what the place calls their content; '' for files of a disk.
        sidecars: names of files that a known layout may read.
        ignored: other files, by their suffix.
        hidden: files and folders whose name starts with a dot.
        problems: what could not be listed.
    """

    origin: Origin
    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    versions: list[str] = field(default_factory=list)
    sidecars: list[str] = field(default_factory=list)
    ignored: int = 0
    hidden: int = 0
    problems: list[Problem] = field(default_factory=list)

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
        self.sidecars.sort()
        self.problems.sort()
        for i in range(1, len(order)):
            if self.paths[i] == self.paths[i - 1]:
                both = " and ".join(ascii(name) for name in self.names[i - 1 : i + 1])
                raise InvalidArgument(
                    f"{both} are two spellings of one name (Unicode NFC) and would get one path in the corpus; "
                    "rename one"
                )


def scan(src: str | os.PathLike[str]) -> Tree:
    """List the audio files under `src`.

    Raises:
        InvalidArgument: `src` is no folder, or two of its files have one logical path.
    """
    root = os.path.abspath(os.fspath(src))
    if not is_utf8(root):
        raise InvalidArgument(f"{printable(root)}: the folder's name is not valid UTF-8; rename it")
    if not os.path.isdir(root):
        what = "is a file, not a folder" if os.path.exists(root) else "does not exist"
        raise InvalidArgument(f"{root} {what}: name the folder that holds the recordings")
    tree = Tree(LocalOrigin(root))
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
                reason = f"a link to {first or 'SRC itself'}, whose recordings are taken where they are"
                tree.problems.append(Problem(folder, reason, taken=True))
                continue
            with os.scandir(where) as entries:
                for entry in entries:
                    _take(tree, entry, f"{folder}/{entry.name}" if folder else entry.name, folders, links)
        except OSError as error:
            tree.problems.append(Problem(folder or root, f"folder cannot be listed: {error.strerror}"))
    tree.sort()
    return tree


def _take(tree: Tree, entry: os.DirEntry[str], name: str, folders: list[str], links: list[str]) -> None:
    if entry.name.startswith("."):
        tree.hidden += 1
        return
    if wrong := wrong_name(entry.name):
        if os.path.isdir(entry.path) or suffix_of(entry.name) in AUDIO_SUFFIXES:
            tree.problems.append(Problem(printable(name), f"{wrong}; rename it"))
        else:
            tree.ignored += 1
        return
    if entry.is_dir(follow_symlinks=False):
        folders.append(name)
    elif entry.is_symlink() and os.path.isdir(entry.path):  # unlike entry.is_dir(), False where links go in a circle
        links.append(name)
    elif suffix_of(entry.name) in AUDIO_SUFFIXES:
        _take_audio(tree, entry, name)
    elif is_sidecar(entry.name):
        tree.sidecars.append(name)
    else:
        tree.ignored += 1


def wrong_name(name: str) -> str:
    """Why the name cannot be part of a logical path; '' if it can."""
    if "\\" in name or CONTROL.search(name):
        return "its name holds a backslash or a control character"
    return "" if is_utf8(name) else "its name is not valid UTF-8"


def _take_audio(tree: Tree, entry: os.DirEntry[str], name: str) -> None:
    try:
        status = entry.stat()
    except OSError as error:
        reason = "link leads nowhere" if entry.is_symlink() else f"cannot be looked at: {error.strerror}"
        tree.problems.append(Problem(name, reason))
        return
    if not stat.S_ISREG(status.st_mode):
        tree.problems.append(Problem(name, "not a regular file"))
        return
    take(tree, name, Stamp(status.st_size, status.st_mtime_ns))


def take(tree: Tree, name: str, stamp: Stamp) -> None:
    """Add an audio file to the tree."""
    tree.paths.append(name if name.isascii() else unicodedata.normalize("NFC", name))
    tree.names.append(name)
    tree.sizes.append(stamp.size)
    tree.mtimes.append(stamp.mtime_ns)
    tree.versions.append(stamp.version)


def is_sidecar(name: str) -> bool:
    """May a known layout read a file of this name?"""
    return name in SIDECAR_NAMES or name.endswith(SIDECAR_SUFFIX)


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case, with its dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def without_suffix(path: str) -> str:
    """The path less the suffix of its last part: what speaker patterns match."""
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 else path


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
    """A name in a form that every terminal and every column of text can take."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
