"""Recordings of several people whose segments share one object, as older corpora have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from securedata.corpus.schema import rows_table
from securedata.corpus.segments import segment_path
from securedata.corpus.writer import Writer
from securedata.media.audio.probe import AudioInfo, probe
from tests.kit.sources.recordings import encode, noise

Spoken = tuple[int, int, str]
"""(start, frames, speaker); 0 frames: all of the recording."""

TALK: tuple[Spoken, ...] = ((1600, 11200, "ann"), (16000, 16000, "ben"), (33600, 8000, "ann"))
"""Segments of three seconds at 16 kHz."""


def talk(seconds: float = 3.0, rate: int = 16_000, channels: int = 1, format: str = "WAV", subtype: str = "") -> bytes:
    """A recording; in stereo the channels differ."""
    return encode(noise(seconds, rate, channels, seed=1), rate, format, subtype or None)


def share(
    writer: Writer,
    data: bytes,
    spoken: Sequence[Spoken] = TALK,
    path: str = "talk.wav",
    people: Sequence[str] = (),
    info: AudioInfo | None = None,
    **columns: Any,
) -> list[dict[str, Any]]:
    """Commit a recording's segments as rows that share its object; returns them.

    Args:
        people: everyone in it; none: the speakers.
        columns: other columns, the same in each row.
    """
    put = writer.put_object([data])
    everyone = list(people) or list(dict.fromkeys(speaker for _, _, speaker in spoken if speaker))
    rows = [
        {
            "path": segment_path(path, start, frames) if frames else path,
            **put.columns(),
            **(info or probe(data))._asdict(),
            "start": start if frames else None,
            "frames_in_segment": frames or None,
            "subjects": everyone,
            "speaker": speaker,
            "utterance": f"u{number}",
            "transcript": f"words {number}",
            "source_mtime_ns": 1_700_000_000_000_000_000,
            **columns,
        }
        for number, (start, frames, speaker) in enumerate(spoken)
    ]
    outcome = writer.commit(rows_table(rows))
    assert outcome.added == len(rows)
    return rows
