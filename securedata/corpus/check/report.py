"""Results of verify and prune."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from securedata.printable import plural

_ADVICE = re.compile(r"(?:;|, and) run 'securedata verify'")


def without_advice(text: str, instead: str = "") -> str:
    """An error's text without the advice to run verify, for verify itself."""
    text, count = _ADVICE.subn("", text)
    return f"{text}; {instead}" if count and instead else text


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        error: the class of the error that a reader would get, or Orphan, OldTemporary, StoredInFuture, LeavingDue,
            LeavingInFuture, ForeignFile.
        text: what is wrong, where, and what to do; never contains a logical path.
        object_id: id of the object, part or list concerned, if there is one.
        key: its storage key, if it has one.
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
        parts, rows, objects: how many the head names.
        rows_failed: rows that have a finding.
        objects_opened: objects that open and contain what was ingested.
        bytes: plaintext bytes compared.
        packs, dead_bytes: packs that rows name, and the bytes in them that no row names.
        leaving: objects, packs and parts that commits took out, to be deleted after a day.
        in_flight, in_flight_bytes: objects younger than a day that no commit names yet.
        stored, stored_bytes: everything under the root.
        unfinished_erasures: erasures whose receipt is not final yet; the next erasure finishes them.
        unreached_corpora: made from this one; an erasure has still to reach them.
        changed_to: the generation that the corpus has now, if another writer committed meanwhile.
        seconds: duration of the verification.
        findings: what is wrong, without what a prune has settled.
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
    packs: int = 0
    dead_bytes: int = 0
    leaving: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    stored: int = 0
    stored_bytes: int = 0
    unfinished_erasures: int = 0
    unreached_corpora: int = 0
    changed_to: int | None = None
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    pruned: PruneReport | None = None

    def __str__(self) -> str:
        found = ", ".join(f"{count:,} {error}" for error, count in sorted(self.counts().items()))
        return (
            f"{self.root}, generation {self.generation}: {plural(self.rows, 'row')}, {self.objects_opened:,} of "
            f"{plural(self.objects, 'object')} opened, {plural(len(self.findings), 'finding')}"
            + (f" ({found})" if found else "")
            + (f"; pruned {plural(len(self.pruned.deleted), 'key')}" if self.pruned is not None else "")
        )

    @property
    def ok(self) -> bool:
        """Is everything in order?"""
        return not self.findings

    def counts(self) -> dict[str, int]:
        """The number of findings of each error."""
        return dict(Counter(finding.error for finding in self.findings))


@dataclass(slots=True)
class PruneReport:
    """Results of a prune.

    Attributes:
        root, generation: of the corpus.
        horizon: time in seconds by storage's clock; what was stored before it and is named nowhere is deleted.
        deleted, deleted_bytes: the storage keys that were deleted, and their total size.
        cleared: leaving lists that were cleared.
        reset: were times in the future set back first?
    """

    root: str
    generation: int
    horizon: float
    deleted: set[str] = field(default_factory=set, repr=False)
    deleted_bytes: int = 0
    cleared: list[str] = field(default_factory=list)
    reset: bool = False

    def __str__(self) -> str:
        return (
            f"{self.root}, generation {self.generation}: {plural(len(self.deleted), 'key')} deleted "
            f"({plural(self.deleted_bytes, 'byte')}), {plural(len(self.cleared), 'leaving list')} cleared"
        )

    def done_with(self, finding: Finding) -> bool:
        """Has this prune settled what verify found before it?"""
        times = self.reset and finding.error in ("HorizonInFuture", "LeavingInFuture")
        return times or finding.key in self.deleted or finding.key in self.cleared
