"""Segments of one recording that name different people: each becomes an object of its own.

A person is erased by destroying the keys of all objects in which they are heard, so every row of an object names the
same people. If segments of different people shared one object, erasing one person would erase the others' segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from securedata.corpus.segments import Span, overlapping, uncovered


@dataclass(slots=True)
class Apart:
    """Counts of recordings that were cut apart.

    Attributes:
        recordings, segments: how many were cut, and into how many.
        overlapping: paths of segments in which people of other segments are heard too; their rows name all of them.
        seconds_left_out: time in these recordings that no segment covers, so it is not sealed.
    """

    recordings: int = 0
    segments: int = 0
    overlapping: list[str] = field(default_factory=list, repr=False)
    seconds_left_out: float = 0.0

    def add(self, segments: Mapping[str, bool], spans: Sequence[Span], frames: int, rate: int) -> None:
        """Count one recording.

        Args:
            segments: path -> whether people of other segments are heard in it.
        """
        if segments:
            self.recordings += 1
            self.segments += len(segments)
            self.overlapping += [path for path, has_more in segments.items() if has_more]
            self.seconds_left_out += uncovered(spans, frames) / rate


def heard(spans: Sequence[Span], people: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Everyone heard in each segment: its own people first, then those of segments that overlap it."""
    others = overlapping(spans)
    return [
        tuple(dict.fromkeys((*own, *(name for j in others[i] for name in people[j])))) for i, own in enumerate(people)
    ]
