"""What a listing found: the recordings as columns, and every other file counted.

One object per file would take more memory than the names do.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

from securedata.errors import InvalidArgument
from securedata.ingest.sources.origin import Origin, Stamp
from securedata.ingest.sources.walk.exclude import Exclusions, Inclusions
from securedata.ingest.sources.walk.names import printable, wrong_name


class Problem(NamedTuple):
    """Something that is not taken, or that is taken but deserves a look.

    Attributes:
        path: the file, folder or manifest entry, spelled as its owner knows it (invalid bytes as ``\\xNN``).
        reason: what is wrong, in one clause.
        taken: True if the recording is sealed all the same, or is taken under another path.
    """

    path: str
    reason: str
    taken: bool = False

    def __repr__(self) -> str:  # the path often holds a person's name
        return f"Problem({self.reason!r}, taken={self.taken})"


class Closed(NamedTuple):
    """A folder from which nothing is taken, because of its name.

    Attributes:
        name: its path, spelled as `Problem.path`.
        reason: what is wrong with the name, and what to do; '' if the folder is hidden.
    """

    name: str
    reason: str

    def __repr__(self) -> str:  # the path often holds a person's name
        return f"Closed({self.reason!r})"


@dataclass(slots=True, repr=False)  # paths often hold people's names
class Tree:
    """The recordings under one folder or URL, in the order of their logical paths, and counts of all other files.

    `files` is the sum of the recordings, `companions`, `hidden`, `left_out` and `not_taken`.

    Attributes:
        origin: where they are read.
        paths: logical paths: relative to the root, parts joined by '/', NFC.
        names: the same paths as the origin spells them (NFD on some disks).
        sizes, mtimes: bytes and nanoseconds, int64.
        versions: the origin's identifier for their content; '' for local files.
        companion_names: companions that a layout may read, as the origin spells them; tables are not among them.
        shards: tars and tables, which may hold recordings, by name, with the stamp of a tar. A tar is not counted yet
            as anything (`members` decides), a table counts as a companion.
        tables: those tables that turned out to hold no recordings.
        files: everything except folders. A link to a file counts as one; files behind a link to a folder count there.
        companions: files that accompany recordings, judging by their names, or are not audio, by their first bytes.
        hidden: files whose own name, or that of a folder above them, starts with a dot.
        hidden_names: those files, and the topmost of those folders.
        left_out: files that match a pattern of the caller, or belong to the corpus that is written to.
        not_taken: files that cannot be taken; `problems` says why, once for all files of a badly named folder.
        problems: what could not be taken or listed, and links to folders that are in the tree already.
        exclusions, inclusions: the caller's patterns.
        included: the paths of files that are taken as they are, because they match a pattern; they are among `paths`.
        unknown: files whose names do not tell whether they are recordings.
        refused: stamps of files with a problem that are not recordings: another file of that name has another stamp.
        closed: folders in `hidden_names` or `problems`, each of which stands for everything in it.
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
    exclusions: Exclusions = field(default_factory=Exclusions)
    inclusions: Inclusions = field(default_factory=Inclusions)
    included: set[str] = field(default_factory=set)
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
        """The stamp of a recording in the listing."""
        return Stamp(self.sizes[i], self.mtimes[i], self.versions[i])

    def sort(self) -> None:
        """Sort everything by logical path.

        Raises:
            InvalidArgument: two files have the same logical path.
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
                    f"{both} are two spellings of one name (Unicode NFC) and would get the same path in the corpus; "
                    "rename one"
                )


def closed_by(folder: str) -> Closed | None:
    """The topmost hidden folder in this path, else the topmost that no logical path can name; else None.

    It is the one rule by which names keep files out, for folders, URLs and members of tars; `count_by_name` applies it
    to files.
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
