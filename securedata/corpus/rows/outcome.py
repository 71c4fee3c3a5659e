"""The outcome of a commit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What became of the rows of a commit: how many, and the logical paths of those that the caller must look at.

    `added` includes the replaced rows. `columns` counts, for each column, the updated or replaced rows in which it
    changed. `same` lists the unchanged paths, and `held` those that a hold keeps as they are. `rewritten` counts the
    rows whose cells were changed by compare and swap, and those that moved into a pack.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    rewritten: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    same: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    conflicts: list[str] = field(default_factory=list, repr=False)
    stale: list[str] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list, repr=False)
    committed: set[bytes] = field(default_factory=set, repr=False)

    @property
    def changes(self) -> bool:
        return bool(self.added or self.updated or self.removed or self.rewritten)
