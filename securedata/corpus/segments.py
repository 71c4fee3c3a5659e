"""Segments of longer recordings: seconds in a manifest, frames in the corpus, and a path for each.

A row's path is unique, but several rows may share one object, so a segment's path is the recording's path with the
frames that it covers: `talk.wav` from frame 16000 up to 48000 is `talk@16000-48000.wav`. Its row has `start` 16000 and
`frames_in_segment` 32000, from which the recording's own path is derived.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from securedata.media.audio.probe import AudioInfo
from securedata.media.audio.suffixes import without_suffix

TOLERANCE = 0.5
"""Seconds by which a source may be wrong about the end of a recording, whether it gives segments or durations."""
ROUNDING = 0.01
"""Seconds to which sources round; a smaller difference is not reported."""

Span = tuple[int, int]
"""The first frame, and the one after the last."""
_MARK = re.compile(r"@([0-9]{1,19})-([0-9]{1,19})")


def segment_path(path: str, start: int, frames: int) -> str:
    """The logical path of a segment of the recording at `path`."""
    base = without_suffix(path)
    return f"{base}{_mark(start, frames)}{path[len(base) :]}"


def recording_path(path: str, start: int | None, frames: int | None) -> str:
    """The logical path of the recording that a row belongs to; `path` itself if the row is the whole recording."""
    if start is None or frames is None:
        return path
    base = without_suffix(path)
    return base.removesuffix(_mark(start, frames)) + path[len(base) :]


def span_of_piece(path: str, recording: str) -> Span | None:
    """What the path of a segment says of its place in a recording; None: it is no segment of that recording."""
    base = without_suffix(recording)
    found = _MARK.match(path, len(base)) if path.startswith(base) else None
    if found is None:
        return None
    start, stop = int(found[1]), int(found[2])
    return (start, stop) if start < stop and path == segment_path(recording, start, stop - start) else None


def _mark(start: int, frames: int) -> str:
    return f"@{start}-{start + frames}"


def to_frames(offset: float, duration: float | None, info: AudioInfo) -> tuple[int, int] | None:
    """(start, frames) of a segment given in seconds; None if it is the whole recording.

    An end up to `TOLERANCE` beyond the recording's is taken as the recording's; `seconds_past` returns the excess.

    Raises:
        ValueError: the segment is empty or not inside the recording.
    """
    slack, rounding = round(TOLERANCE * info.sample_rate), round(ROUNDING * info.sample_rate)
    start = _frames(offset, info)
    end = info.frames if duration is None else _frames(offset + duration, info)
    if start == 0 and info.frames - rounding <= end <= info.frames + slack:
        return None
    if start >= min(end, info.frames) or end > info.frames + slack:
        length = info.frames / info.sample_rate
        raise ValueError(f"from {offset} s for {duration} s is not inside a recording of {length:.3f} s")
    return start, min(end, info.frames) - start


def _frames(seconds: float, info: AudioInfo) -> int:
    # capped, since a time far outside may overflow in frames
    return round(min(seconds, info.frames + 1.0) * info.sample_rate)


def seconds_past(offset: float, duration: float | None, info: AudioInfo) -> float:
    """Seconds by which a segment ends after its recording; 0 if it does not, or only by rounding."""
    past = 0.0 if duration is None else offset + duration - info.frames / info.sample_rate
    return past if past > ROUNDING + 0.5 / info.sample_rate else 0.0


SEGMENT_SUFFIX = r"@\d+-\d+(\.[^./]+)?$"
"""In a segment's path: what is not in its recording's, except the suffix, which is the group."""


def overlapping(spans: Sequence[Span]) -> list[list[int]]:
    """For each span, the positions of other spans that share a frame with it, in order of their start."""
    found: list[list[int]] = [[] for _ in spans]
    open_spans: list[int] = []
    for i in sorted(range(len(spans)), key=spans.__getitem__):
        open_spans = [j for j in open_spans if spans[j][1] > spans[i][0]]
        for j in open_spans:
            found[i].append(j)
            found[j].append(i)
        open_spans.append(i)
    return found


def uncovered(spans: Sequence[Span], frames: int) -> int:
    """The number of frames of a recording that are in no span."""
    end = covered = 0
    for start, stop in sorted(spans):
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return frames - covered
