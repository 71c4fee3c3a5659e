"""Results of an ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from securedata.corpus.create import CreateReport
from securedata.ingest.known_bad import NotTaken
from securedata.ingest.sources.apart import Apart
from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk import Problem
from securedata.printable import plural


@dataclass(slots=True)
class Sources:
    """Every file under SRC, once: `files` is the sum of the others.

    Attributes:
        taken: sealed, or what describes them updated; of a file in segments it is enough that one of them was.
        unchanged: in the corpus already.
        companions: what goes along with recordings.
        hidden: names that begin with a dot, or lie under such a folder.
        left_out: on request.
        not_taken: for a reason that the report names.
    """

    files: int = 0
    taken: int = 0
    unchanged: int = 0
    companions: int = 0
    hidden: int = 0
    left_out: int = 0
    not_taken: int = 0


NOT_TAKEN, UNCHANGED, TAKEN, LEFT_OUT = range(4)
"""What became of a row; a file is the highest of its rows."""


def account(listed: SourceList, files: Sequence[str], fates: Sequence[int]) -> Sources:
    """What became of every file: of each row its file, and what became of that row."""
    best: dict[str, int] = {}
    for file, fate in zip(files, fates, strict=True):
        best[file] = max(fate, best.get(file, NOT_TAKEN))
    found = list(best.values())
    return Sources(
        files=listed.files,
        taken=found.count(TAKEN),
        unchanged=found.count(UNCHANGED),
        companions=listed.companions,
        hidden=listed.hidden,
        left_out=listed.left_out + found.count(LEFT_OUT),
        not_taken=listed.not_taken + found.count(NOT_TAKEN),
    )


@dataclass(slots=True)
class IngestReport:
    """What became of the sources.

    Attributes:
        added, replaced, updated, unchanged: rows.
        transcripts: of the rows that were added, replaced or updated, how many have a transcript in the sources.
        columns: for rows that were updated or replaced, in how many of them a column changed.
        files, bytes, sealed_bytes: that were read, of plaintext that were sealed, and of sealed objects.
        commits: that were made.
        seconds: that the work took.
        generation: of the corpus now.
        sources: what became of each file under the source.
        problems: what is not taken, and what is taken but deserves a look (`taken`), by path, with the reason.
        conflicts: paths that the corpus has with other content or other people; `replace` replaces them.
        erased: paths of people who were erased from the corpus; they are not taken.
        duplicates: recordings that were added or skipped, each with another path of the same content.
        apart: what was cut out of recordings whose segments name different people.
        shared: paths of such segments that share one object in the corpus, with all people of the recording; they are
            left as they are, among the unchanged. `replace` makes an object of each.
        root, name: of the corpus; None if there was nothing to take, so that none was made.
        created: the corpus that this call made, and the key files to back up; None if it was there.
        new: what is not taken and was not in `known_bad`, or for another reason.
        hidden_names: files and folders that begin with a dot, and so are left out.
        near_duplicates: groups of people whose names differ only in case, blanks or punctuation.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    transcripts: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    sealed_bytes: int = 0
    commits: int = 0
    seconds: float = 0.0
    generation: int = 0
    sources: Sources = field(default_factory=Sources)
    problems: list[Problem] = field(default_factory=list, repr=False)
    conflicts: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    duplicates: list[tuple[str, str]] = field(default_factory=list, repr=False)
    apart: Apart = field(default_factory=Apart)
    shared: list[str] = field(default_factory=list, repr=False)
    root: str | None = None
    name: str | None = None
    created: CreateReport | None = None
    new: list[NotTaken] = field(default_factory=list, repr=False)
    hidden_names: list[str] = field(default_factory=list, repr=False)
    near_duplicates: list[tuple[str, ...]] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        return (
            (f"{self.root}, generation {self.generation}: " if self.root is not None else "no corpus was made: ")
            + f"{plural(self.added, 'row')} added, {self.replaced:,} replaced, {self.updated:,} updated, "
            + f"{self.unchanged:,} unchanged; {plural(self.not_taken, 'recording')} not taken"
        )

    @property
    def complete(self) -> bool:
        """Is everything in the corpus that the sources name?"""
        return not self.not_taken

    @property
    def not_taken(self) -> int:
        """Recordings that are not in the corpus as the sources have them."""
        return len(self.conflicts) + len(self.erased) + sum(not problem.taken for problem in self.problems)
