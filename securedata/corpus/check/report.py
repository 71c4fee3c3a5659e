"""Results of verify and prune."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        error: the class of the error that a reader would get, or Orphan, OldTemporary, StoredInFuture, LeavingDue,
            LeavingInFuture, ForeignFile.
        text: what, where, and what to do; never a logical path.
        object_id: of the object, part or list, where one is concerned.
        key: its storage key, where it has one.
        paths: logical paths of the rows concerned.
    """

    error: str
    text: str
    object_id: bytes | None = None
    key: str | None = None
    paths: tuple[str, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class VerifyReport:
    """Results of `verify`.

    Attributes:
        root, corpus_id, pin, generation: of the corpus that was verified.
        parts, rows, objects: that the head names.
        rows_failed: rows that a finding concerns.
        objects_opened: objects that opened and hold what was ingested.
        bytes: of plaintext that were compared.
        leaving: objects and parts that a commit took out, to be deleted after a day.
        in_flight, in_flight_bytes: what no commit names yet and is younger than a day.
        stored, stored_bytes: all that lies under the root.
        changed_to: the generation that the corpus has by now, if another writer committed meanwhile.
        seconds: that it took.
        findings: what is wrong, less what a prune has mended.
        pruned: what was deleted; None without a prune.
    """

    root: str
    corpus_id: bytes
    pin: str
    generation: int
    parts: int = 0
    rows: int = 0
    rows_failed: int = 0
    objects: int = 0
    objects_opened: int = 0
    bytes: int = 0
    leaving: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    stored: int = 0
    stored_bytes: int = 0
    changed_to: int | None = None
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    pruned: PruneReport | None = None

    @property
    def ok(self) -> bool:
        """Is everything in order?"""
        return not self.findings

    def counts(self) -> dict[str, int]:
        """How many findings there are of each error."""
        return dict(Counter(finding.error for finding in self.findings))


@dataclass(slots=True)
class PruneReport:
    """Results of a prune.

    Attributes:
        root, generation: of the corpus.
        horizon: storage's time in seconds: what was stored before it and is named nowhere is gone.
        deleted, deleted_bytes: keys on storage that were deleted, and their bytes.
        cleared: lists of leaving objects that were cleared.
        reset: were times in the future set back first?
    """

    root: str
    generation: int
    horizon: float
    deleted: set[str] = field(default_factory=set, repr=False)
    deleted_bytes: int = 0
    cleared: list[str] = field(default_factory=list)
    reset: bool = False

    def done_with(self, finding: Finding) -> bool:
        """Has this prune settled what verify found before it?"""
        times = self.reset and finding.error in ("HorizonInFuture", "LeavingInFuture")
        return times or finding.key in self.deleted or finding.key in self.cleared
