"""Small corpora for tests: recordings made on the spot, sealed by the real writer."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from securedata.corpus.config import Reference, resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.media.audio.probe import probe

Floats = np.ndarray[Any, np.dtype[np.float32]]


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


class Root(str):
    """The root of a corpus, a string like any other, and what else a test may want to know of it."""

    reference: Reference
    clips: list[Clip]

    @property
    def kms(self) -> str:
        """Its KMS URI, of a local key file."""
        return self.reference.kms[0]

    @property
    def key_file(self) -> Path:
        return Path(self.kms.removeprefix("local://"))

    @property
    def pin(self) -> str:
        return str(self.reference.pins[0])

    @property
    def name(self) -> str:
        assert self.reference.name
        return self.reference.name


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Floats:
    """Something that sounds like nothing else: float32 [frames, channels]."""
    frames = round(seconds * rate)
    swing = np.sin(np.arange(frames) * (0.01 + 0.003 * seed))[:, None]
    random = np.random.default_rng(seed).standard_normal((frames, channels))
    return np.asarray(np.clip(0.3 * swing + 0.05 * random, -1, 1), np.float32)


def encode(audio: Floats, rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, subtype=subtype)
    return file.getvalue()


def read(data: bytes, start: int = 0, frames: int = -1) -> Floats:
    """What soundfile makes of a file's bytes, or of a part: float32 [channels, frames]."""
    audio, _ = soundfile.read(io.BytesIO(data), frames, start, dtype="float32", always_2d=True)
    return np.asarray(audio.T, np.float32)


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


def make_corpus(
    folder: Path, clips: Iterable[Clip] | None = None, name: str = "voice-a", kms: str | None = None
) -> Root:
    """Make FOLDER/NAME with these recordings (None: `some_clips`) and its config entry.

    Its key file is FOLDER/keys/NAME.kek, unless `kms` names another KMS key.
    """
    uri = kms or f"local://{folder}/keys/{name}.kek"
    created = create_corpus(str(folder / name), name, kms=[uri])
    root = Root(created.reference.root)
    root.reference = created.reference
    root.clips = []
    add_clips(root, some_clips() if clips is None else clips)
    return root


def add_clips(root: str, clips: Iterable[Clip], replace: bool = False) -> None:
    """Commit further recordings, all in one commit; with `replace` in place of those with the same paths."""
    listed = list(clips)
    reference = root.reference if isinstance(root, Root) else resolve(root)
    if listed:
        writer = Writer(reference)
        outcome = writer.commit(add=_rows(writer, listed), replace=replace)
        assert not outcome.conflicts
    if isinstance(root, Root):
        root.clips += listed


def remove_paths(root: Root, paths: Sequence[str]) -> None:
    """Commit a corpus without these rows."""
    Writer(root.reference).commit(remove=paths)


def _rows(writer: Writer, clips: Sequence[Clip]) -> pa.Table:
    rows = []
    for one in clips:
        put = writer.put_object([one.data])
        info: dict[str, Any] = {}
        if not {"format", "frames"} <= set(one.columns):
            info = probe(one.data)._asdict()
        for segment in one.segments or [None]:
            stem, _, suffix = one.path.rpartition(".")
            row = {
                "path": f"{stem}@{segment[0]}-{sum(segment)}.{suffix}" if segment else one.path,
                **put.columns(),
                **info,
                "subjects": [one.speaker],
                "speaker": one.speaker,
                "utterance": stem.rpartition("/")[2],
                "source_mtime_ns": 1_700_000_000_000_000_000,
                **one.columns,
            }
            if segment:
                row["start"], row["frames_in_segment"] = segment
            rows.append(row)
    return rows_table(rows)
