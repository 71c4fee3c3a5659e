"""Results of a split."""

from __future__ import annotations

from dataclasses import dataclass, field

from securedata.errors import SecuredataError
from securedata.printable import plural


@dataclass(slots=True)
class SplitReport:
    """What a split did, or would do.

    Attributes:
        root: of the corpus.
        dry_run: nothing was written; no recording was read, so `failed` is empty.
        generation: of the newest head that was read or committed.
        objects: shared objects that were split.
        rows: segments that have an object of their own now.
        bytes: their size.
        unpacked: how many of these objects lay in packs. Their segments do not; `pack` packs them again.
        overlapping: logical paths of those in which people of other segments are heard too; they name all of them.
        seconds_left_out: time in the recordings that no segment covers: it is in the corpus no more.
        together: logical paths of rows that stay, since everyone is heard in each segment of their recording.
        unclear: logical paths of rows whose speaker is none of their people. Their recordings stay as they are.
        unnamed: logical paths of rows of recordings in which no segment has one of the people as its speaker. Nobody
            knows where that person is heard, so they stay as they are.
        held: logical paths of rows that stay, because one of their people is under a hold.
        erased: logical paths of rows that stay, because their person, consent or recording is barred.
        failed: objects that are missing, damaged or cannot be decoded, each with the logical paths of its rows. They
            stay as they are.
        changed: objects that were cut in vain, because their rows were removed or replaced meanwhile.
        derived: pins of corpora that were made from this one. Their rows name everyone still, and go with any of them,
            until they are made again.
        deleted: what was deleted at once, parts of the manifest included; None: deleted after 24 hours.
        seconds: duration of the run.
    """

    root: str
    dry_run: bool = False
    generation: int = 0
    objects: int = 0
    rows: int = 0
    bytes: int = 0
    unpacked: int = 0
    overlapping: list[str] = field(default_factory=list, repr=False)
    seconds_left_out: float = 0.0
    together: list[str] = field(default_factory=list, repr=False)
    unclear: list[str] = field(default_factory=list, repr=False)
    unnamed: list[str] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    failed: list[tuple[tuple[str, ...], SecuredataError]] = field(default_factory=list, repr=False)
    changed: int = 0
    derived: list[str] = field(default_factory=list)
    deleted: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        verb = "would be split" if self.dry_run else "split"
        left = len(self.unclear) + len(self.unnamed) + len(self.erased) + sum(len(paths) for paths, _ in self.failed)
        return (
            f"{self.root}, generation {self.generation}: {plural(self.objects, 'recording')} {verb} into "
            f"{plural(self.rows, 'segment')}; {plural(left, 'segment')} not split, {len(self.held):,} under a hold"
        )

    @property
    def complete(self) -> bool:
        """Is no recording left that one person's erasure takes from another, except under a hold, or by overlaps?"""
        return not (self.unclear or self.unnamed or self.erased or self.failed)
