"""What an ingest has to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from securedata.corpus.ingest.walk import Problem


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
