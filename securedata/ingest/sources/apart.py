"""Segments of one recording that name different people: each is to be an object of its own.

All rows of an object name the same people, since a person is erased by destroying the keys of the objects in which they
are heard. Segments of one person each could not share the recording: erasing one would take the others' with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from securedata.corpus.segments import Span, overlapping, uncovered


@dataclass(slots=True)
class Apart:
    """What a list of sources cuts apart.

    Attributes:
        recordings, segments: how many there are.
        overlapping: paths of segments during which people of other segments are heard too, whom their rows name.
        seconds_left_out: of these recordings, in no segment, and so not sealed.
    """

    recordings: int = 0
    segments: int = 0
    overlapping: list[str] = field(default_factory=list, repr=False)
    seconds_left_out: float = 0.0

    def add(self, segments: Mapping[str, bool], spans: Sequence[Span], frames: int, rate: int) -> None:
        """Count one recording: the paths of its segments, and whether people of others are heard in each."""
        if segments:
            self.recordings += 1
            self.segments += len(segments)
            self.overlapping += [path for path, has_more in segments.items() if has_more]
            self.seconds_left_out += uncovered(spans, frames) / rate


def heard(spans: Sequence[Span], people: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Everybody heard during each segment: its own people first, then those of segments that overlap it."""
    others = overlapping(spans)
    return [
        tuple(dict.fromkeys((*own, *(name for j in others[i] for name in people[j])))) for i, own in enumerate(people)
    ]
