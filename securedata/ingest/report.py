"""What an ingest has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk import Problem


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

    Counts are of rows; `bytes` of plaintext that were sealed. `columns` counts, for rows that were updated or replaced,
    in how many of them a column changed. `sources` says what became of each file under SRC.
    `duplicates` are recordings that were added or skipped, each with another path of the same content.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
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

    @property
    def complete(self) -> bool:
        """Is everything in the corpus that the sources name?"""
        return not self.conflicts and not self.erased and all(problem.taken for problem in self.problems)
