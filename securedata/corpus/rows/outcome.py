"""What became of the rows that a commit was given."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What became of the rows: counts of rows, logical paths of those that need the caller.

    `columns` counts, for rows that were updated or replaced, in how many of them a column changed. `same` are the paths
    of those that are unchanged.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    same: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    conflicts: list[str] = field(default_factory=list, repr=False)
    stale: list[str] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list, repr=False)
    committed: set[bytes] = field(default_factory=set, repr=False)

    @property
    def changes(self) -> bool:
        return bool(self.added or self.updated or self.removed)
