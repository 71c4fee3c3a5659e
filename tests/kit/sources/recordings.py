"""Recordings made on the spot: noise, files that hold it, and clips, which are such files with their columns."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from securedata.media.audio.probe import AudioInfo

Floats = np.ndarray[Any, np.dtype[np.float32]]


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Floats:
    """Something that sounds like nothing else: float32 [frames, channels]."""
    frames = round(seconds * rate)
    swing = np.sin(np.arange(frames) * (0.01 + 0.003 * seed))[:, None]
    random = np.random.default_rng(seed).standard_normal((frames, channels))
    return np.asarray(np.clip(0.3 * swing + 0.05 * random, -1, 1), np.float32)


def encode(audio: np.ndarray[Any, Any], rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, subtype=subtype)
    return file.getvalue()


def read(data: bytes, start: int = 0, frames: int = -1) -> Floats:
    """What soundfile makes of a file's bytes, or of a part: float32 [channels, frames]."""
    audio, _ = soundfile.read(io.BytesIO(data), frames, start, dtype="float32", always_2d=True)
    return np.asarray(audio.T, np.float32)


@dataclass(frozen=True)
class Clip:
    """One file of a corpus.

    Attributes:
        path: its logical path.
        data: its bytes.
        speaker: the only person in it.
        segments: (start, frames) of the rows that it becomes, in place of one row for all of it.
        columns: other columns of the manifest, in place of what the file itself says.
    """

    path: str
    data: bytes = field(repr=False)
    speaker: str = "ann"
    segments: Sequence[tuple[int, int]] = ()
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def audio(self) -> Floats:
        """What soundfile makes of the file: float32 [channels, frames]."""
        return read(self.data)


def clip(
    path: str,
    seconds: float = 0.5,
    rate: int = 16_000,
    channels: int = 1,
    subtype: str | None = None,
    seed: int = 0,
    *,
    speaker: str = "ann",
    segments: Sequence[tuple[int, int]] = (),
    **columns: Any,
) -> Clip:
    """A recording in the format that its path names (wav, flac, ogg, mp3)."""
    audio = noise(seconds, rate, channels, seed)
    format = path.rpartition(".")[2].upper()
    return Clip(path, encode(audio, rate, format, subtype), speaker, segments, columns)


def some_clips() -> list[Clip]:
    """Six recordings of two people, in WAV, FLAC and Ogg, with words and splits."""
    return [
        clip("ann/utt0.wav", 0.5, seed=1, transcript="good morning", split="train"),
        clip("ann/utt1.flac", 0.7, seed=2, transcript="good evening", split="train"),
        clip("ann/utt2.ogg", 0.6, seed=3, transcript="", split="test"),
        clip("bob/utt0.wav", 1.0, channels=2, seed=4, speaker="bob", transcript="good night", split="train"),
        clip("bob/utt1.flac", 0.4, rate=44_100, seed=5, speaker="bob", transcript="good bye", split="test"),
        clip("bob/utt2.wav", 0.3, rate=8_000, seed=6, speaker="bob", transcript="hello", extra='{"room": 3}'),
    ]


def many_clips(count: int) -> list[Clip]:
    """Short recordings, no two equal."""
    return [clip(f"ann/{n:04}.wav", 0.05, seed=n, transcript=f"number {n}") for n in range(count)]


def write_clips(folder: Path, clips: Iterable[Clip] | None = None) -> Path:
    """Write these recordings (None: `some_clips`) below a folder; returns the folder."""
    for one in some_clips() if clips is None else clips:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
    return folder


class Recording(NamedTuple):
    """What a manifest says of a file."""

    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None


def recording_of(data: bytes, info: AudioInfo) -> Recording:
    return Recording(len(data), info.subtype, info.sample_rate, info.channels, info.frames, info.data_offset)
