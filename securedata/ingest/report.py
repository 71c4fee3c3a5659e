"""Results of an ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.create import CreateReport
from securedata.corpus.packs.report import PackReport
from securedata.corpus.state.consent import Consent
from securedata.ingest.known_bad import NotTaken, amount, bad_of
from securedata.ingest.sources.apart import Apart
from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk.tree import Problem
from securedata.printable import plural


@dataclass(slots=True)
class Sources:
    """Counts of the files under the source: `files` is the sum of the others.

    Attributes:
        taken: sealed, or their description updated; for a file with segments, at least one of them.
        unchanged: in the corpus already.
        companions: files that belong to recordings: texts, tables, images.
        hidden: files whose name begins with a dot, or that are in such a folder.
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


def given(table: pa.Table, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[int, dict[str, int]]:
    """Of these source rows, how many have a transcript, and how many have which columns of consent."""
    chosen = table.select(["transcript", *Consent._fields]).filter(pa.array(rows, pa.bool_()))
    transcripts = pc.sum(pc.not_equal(chosen.column("transcript"), "")).as_py() or 0
    return transcripts, {name: chosen.num_rows - chosen.column(name).null_count for name in Consent._fields}


NOT_TAKEN, UNCHANGED, TAKEN, LEFT_OUT = range(4)
"""What became of a row; a file has the highest value of its rows."""


def account(listed: SourceList, files: Sequence[str], fates: Sequence[int]) -> Sources:
    """Count what became of every file, from the file and the fate of each row."""
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
        consent: of the same rows, how many have which columns of consent there: `consent_id`, `purposes`, `expires` and
            `last_contact`.
        columns: by column, the number of updated or replaced rows in which it changed.
        files, bytes, sealed_bytes: files read, bytes of plaintext sealed, bytes of sealed objects.
        commits: number of commits.
        seconds: time taken.
        generation: of the corpus, afterwards.
        sources: what became of each file under the source.
        problems: what is not taken, and what is taken but deserves a look (`taken`): path and reason.
        conflicts: paths that have other content or other people in the corpus; `replace` replaces them.
        erased: paths of people who were erased from the corpus; they are not taken.
        held: paths of people under a hold, whose rows stay as they are: neither replaced nor described differently.
        duplicates: recordings that were added or skipped, each with another path of the same content.
        apart: segments that were cut from recordings whose segments name different people, or from ones in shards.
        shared: paths of such segments that share one object with everyone in the recording. They are left as they
            are, among the unchanged; `split` makes each an object of its own.
        root, name: of the corpus; None if there was nothing to take, so that none was made.
        created: the corpus that this call made, and the key files to back up; None if it existed.
        new: what is not taken and is not in `known_bad`, or is there with another reason.
        hidden_names: files and folders that are left out because their names begin with a dot.
        near_duplicates: groups of people whose names differ only in case, blanks or punctuation.
        packed: with `pack`, the packs that were written and what is in them; objects that were alone in the corpus and
            could not be read are in its `failed`.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    transcripts: int = 0
    consent: dict[str, int] = field(default_factory=dict)
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
    held: list[str] = field(default_factory=list, repr=False)
    duplicates: list[tuple[str, str]] = field(default_factory=list, repr=False)
    apart: Apart = field(default_factory=Apart)
    shared: list[str] = field(default_factory=list, repr=False)
    root: str | None = None
    name: str | None = None
    created: CreateReport | None = None
    new: list[NotTaken] = field(default_factory=list, repr=False)
    hidden_names: list[str] = field(default_factory=list, repr=False)
    near_duplicates: list[tuple[str, ...]] = field(default_factory=list, repr=False)
    packed: PackReport | None = None

    def __str__(self) -> str:
        return (
            (f"{self.root}, generation {self.generation}: " if self.root is not None else "no corpus was made: ")
            + f"{plural(self.added, 'row')} added, {self.replaced:,} replaced, {self.updated:,} updated, "
            + f"{self.unchanged:,} unchanged; {amount(bad_of(self))} not taken"
        )

    @property
    def complete(self) -> bool:
        """Whether everything that the sources name is in the corpus."""
        return not self.not_taken

    @property
    def not_taken(self) -> int:
        """Recordings, and other entries such as lost texts, that are not in the corpus as SRC has them."""
        return (
            len(self.conflicts)
            + len(self.erased)
            + len(self.held)
            + sum(not problem.taken for problem in self.problems)
        )
