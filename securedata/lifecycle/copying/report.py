"""What became of the recordings that were handed on."""

from __future__ import annotations

from dataclasses import dataclass, field

from securedata.corpus.create import CreateReport
from securedata.errors import SecuredataError
from securedata.printable import plural


@dataclass(slots=True)
class CorpusExportReport:
    """Results of `export_to_corpus`.

    Attributes:
        source: root of the corpus that recordings were taken from.
        root, name: of the corpus that they were handed on to.
        rows: recordings that were chosen and may be read.
        added, replaced, updated, unchanged: rows of the other corpus: new; with another recording or people than an
            earlier run took over; with other words or consent; as they were.
        objects: sealed in this run.
        bytes: of the files in them.
        commits: number of commits.
        left_out: logical paths of recordings that were chosen and left out, because of consent or a restriction.
        others: logical paths of recordings that name a person of `subjects`, and other people, too; left out.
        shared: logical paths of segments whose recording was not handed on, because it is one object with segments that
            were not chosen or may not be read; `securedata split` cuts recordings of several people.
        conflicts: logical paths at which the other corpus has a recording that did not come from this one.
        failed: logical path and error of each recording that cannot be read.
        erased: logical paths that were not committed, because their people, consent or recording were erased from one
            of the two corpora.
        gone: logical paths of recordings that were removed, replaced, restricted or erased during the run, or whose
            consent ended.
        held: logical paths of people under a hold in the other corpus, left as they were.
        kept: logical paths of rows that an earlier run took over, and whose recording is no longer in the source under
            this path; left as they were.
        holds: how many holds of the source were carried over to the other corpus.
        compared: recordings that were read from both corpora in the end and compared.
        different: logical path and error of those that do not open there, or are not the same.
        generation: of the other corpus, afterwards.
        seconds: time taken.
        created: the corpus that this call made, and the key files to back up; None if it existed.
    """

    source: str
    root: str
    name: str | None = None
    rows: int = 0
    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    objects: int = 0
    bytes: int = 0
    commits: int = 0
    left_out: list[str] = field(default_factory=list, repr=False)
    others: list[str] = field(default_factory=list, repr=False)
    shared: list[str] = field(default_factory=list, repr=False)
    conflicts: list[str] = field(default_factory=list, repr=False)
    failed: list[tuple[str, SecuredataError]] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    gone: list[str] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    kept: list[str] = field(default_factory=list, repr=False)
    holds: int = 0
    compared: int = 0
    different: list[tuple[str, SecuredataError]] = field(default_factory=list, repr=False)
    generation: int = 0
    seconds: float = 0.0
    created: CreateReport | None = None

    def __str__(self) -> str:
        return (
            f"{self.source} to {self.root}: {plural(self.added, 'recording')} added, {self.replaced:,} replaced, "
            f"{self.updated:,} updated, {self.unchanged:,} there already, {self.findings:,} not handed on"
        )

    @property
    def findings(self) -> int:
        """How many recordings were to be handed on, and were not, or not as they are."""
        paths = (self.shared, self.conflicts, self.held)
        return sum(map(len, paths)) + len(self.failed) + len(self.different)

    @property
    def complete(self) -> bool:
        """Is each recording that was chosen and may be read in the other corpus, as it is here?"""
        return not self.findings
