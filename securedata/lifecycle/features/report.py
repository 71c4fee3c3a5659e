"""What became of the recordings whose features were retained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from securedata.corpus.create import CreateReport
from securedata.errors import SecuredataError
from securedata.printable import plural


@dataclass(slots=True)
class RetainReport:
    """Results of `retain`.

    Attributes:
        source: root of the corpus of recordings.
        root, name: of the corpus of features.
        rows: recordings of the source, without those left out because of consent or a restriction.
        left_out: how many those are.
        others: files of the source that are no recordings; they have no features, and `erase_raw` leaves them.
        added, replaced, unchanged: rows of features; replaced where recording, people, words or consent had changed.
        bytes: of the files of the recordings that were computed from in this run.
        feature_bytes: of the files of features made in this run.
        commits: number of commits.
        seconds: time taken, without verification.
        seconds_verify: time taken by verification.
        generation: of the corpus of features, afterwards.
        failed: logical path and error of each recording that has no features because it cannot be read, decoded or
            computed.
        erased: logical paths of features that were not committed, because their people were erased from one of the two
            corpora.
        gone: logical paths of recordings that were removed, replaced, restricted or erased during the run, or whose
            consent ended.
        held: logical paths of features of people under a hold, left as they were.
        opened: objects of features that were read back and opened.
        unreadable: logical path and error of each object of features that does not open.
        compared: recordings that were computed again from the source and compared.
        identical: how many of them gave the same bytes. The others were made by other versions or on another
            processor, and agree within the tolerance.
        different: logical paths of those that do not agree.
        raw_erased: recordings that were erased from the source afterwards; None: not asked for, or not done because
            something was incomplete.
        raw_held: logical paths of recordings that stayed because of a hold.
        receipt: file of the receipt of that erasure.
        raw_packs: in how many packs of the source sealed bytes of what was erased remain, without their keys.
        raw_packs_elsewhere: the same of corpora made from the source in which this run made up for earlier erasures:
            their names or roots, and how many packs.
        raw_unreached: pins of corpora made from the source that earlier erasures have still to reach, and why.
        recorded: what the settings of the corpus say of its features: source, transform, arguments, versions.
        created: the corpus that this call made, and the key files to back up; None if it existed.
    """

    source: str
    root: str
    name: str | None = None
    rows: int = 0
    left_out: int = 0
    others: int = 0
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    bytes: int = 0
    feature_bytes: int = 0
    commits: int = 0
    seconds: float = 0.0
    seconds_verify: float = 0.0
    generation: int = 0
    failed: list[tuple[str, SecuredataError]] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    gone: list[str] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    opened: int = 0
    unreadable: list[tuple[str, SecuredataError]] = field(default_factory=list, repr=False)
    compared: int = 0
    identical: int = 0
    different: list[str] = field(default_factory=list, repr=False)
    raw_erased: int | None = None
    raw_held: list[str] = field(default_factory=list, repr=False)
    receipt: str | None = None
    raw_packs: int = 0
    raw_packs_elsewhere: dict[str, int] = field(default_factory=dict)
    raw_unreached: dict[str, str] = field(default_factory=dict, repr=False)
    recorded: dict[str, Any] = field(default_factory=dict, repr=False)
    created: CreateReport | None = None

    def __str__(self) -> str:
        return (
            f"{self.source} to {self.root}: features of {plural(self.added, 'recording')} added, "
            f"{self.replaced:,} replaced, {self.unchanged:,} there already, {len(self.failed):,} failed"
        )

    @property
    def complete(self) -> bool:
        """Does every recording have features, and do all of them open and agree?"""
        return not (self.failed or self.unreadable or self.different or self.held)
