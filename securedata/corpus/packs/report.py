"""Results of packing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from securedata.errors import SecuredataError
from securedata.printable import plural


@dataclass(slots=True)
class PackReport:
    """Results of `pack`; of a dry run, what would be done.

    Attributes:
        root: of the corpus.
        generation: that it has now.
        packs: new ones that were committed.
        objects, rows: that were moved and committed.
        bytes: sealed bytes that were written and committed; of `unpack`, of plaintext.
        again: objects that were written in vain, because they were removed, replaced or moved meanwhile.
        failed: objects that are missing or damaged, each with the paths of its rows. They stay where they are.
        old_packs, dead_bytes: of `compact`, packs that were rewritten, and the bytes in them that nothing named.
        deleted: keys deleted at once; None without `now`.
        unlocked: cases of holds with legal holds of Object Lock whose recordings were moved. What was locked before
            stays and opens; the new packs or objects are not locked. A call that raises logs these cases.
        seconds: duration.
    """

    root: str
    dry_run: bool = False
    generation: int = 0
    packs: int = 0
    objects: int = 0
    rows: int = 0
    bytes: int = 0
    again: int = 0
    failed: list[tuple[tuple[str, ...], SecuredataError]] = field(default_factory=list, repr=False)
    old_packs: int = 0
    dead_bytes: int = 0
    deleted: int | None = None
    unlocked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __add__(self, later: PackReport) -> PackReport:
        """The report of this run and of one after it."""
        return replace(
            later,
            packs=self.packs + later.packs,
            objects=self.objects + later.objects,
            rows=self.rows + later.rows,
            bytes=self.bytes + later.bytes,
            again=self.again + later.again,
        )

    @property
    def complete(self) -> bool:
        """Was everything moved that was to be?"""
        return not self.failed

    def described(self) -> dict[str, Any]:
        """The report as JSON has it."""
        failed = [
            {"paths": list(paths), "error": type(error).__name__, "text": str(error)} for paths, error in self.failed
        ]
        return {**asdict(replace(self, failed=[])), "failed": failed, "complete": self.complete}

    @property
    def failures(self) -> list[str]:
        """What failed, one line for each object, with logical paths."""
        return [f"{', '.join(paths[:3])}: {error}" for paths, error in self.failed]

    def __str__(self) -> str:
        moved = f"{plural(self.objects, 'object')} in {plural(self.packs, 'new pack')}"
        return f"{self.root}, generation {self.generation}: {moved}"
