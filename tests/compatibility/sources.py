"""Recordings that are the same on each machine, in the steps in which a corpus takes them, and the rows they become."""

from __future__ import annotations

import hashlib
import io
import json
import random
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.kit.sources.recordings import read


class Recording(NamedTuple):
    """A WAV of noise, with the lines of the manifest that name it."""

    path: str
    rate: int
    channels: int
    bytes_a_sample: int
    frames: int
    seed: int
    lines: tuple[dict[str, Any], ...]

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((self.channels, self.bytes_a_sample, self.rate, 0, "NONE", ""))
            count = self.frames * self.channels * self.bytes_a_sample
            out.writeframes(random.Random(self.seed).randbytes(count))
        return file.getvalue()

    def rows(self) -> list[dict[str, Any]]:
        """What `reading.py` must print of it."""
        stem = self.path.removesuffix(".wav")
        found = []
        for line in self.lines:
            start, frames, path = 0, self.frames, self.path
            if "duration" in line:
                start, frames = round(line["offset"] * self.rate), round(line["duration"] * self.rate)
                path = f"{stem}@{start}-{start + frames}.wav"
            audio = read(self.data, start, frames)
            extra = {"room": line["room"]} if "room" in line else None
            found.append(
                {
                    "path": path,
                    "split": line["split"],
                    "file": hashlib.sha256(self.data).hexdigest(),
                    "shape": list(audio.shape),
                    "samples": audio.tobytes().hex(),
                    "sample_rate": self.rate,
                    "transcript": line["text"],
                    "speaker": self.path.partition("/")[0],
                    "utterance": path.rpartition("/")[2].removesuffix(".wav"),
                    "extra": json.dumps(extra, separators=(",", ":")) if extra else "",
                }
            )
        return found


def _line(text: str, split: str = "train", **more: Any) -> dict[str, Any]:
    return {"text": text, "split": split, **more}


STEPS = {
    "first": (
        Recording("ann/morning.wav", 16_000, 1, 2, 1600, 1, (_line("good morning", room=3),)),
        Recording("ann/evening.wav", 44_100, 2, 2, 1000, 2, (_line("good evening", "test"),)),
        Recording("bob/low.wav", 8_000, 1, 3, 800, 3, (_line(""),)),
        Recording(
            "bob/dialogue.wav",
            16_000,
            1,
            2,
            12_000,
            4,
            (
                _line("is it you?", offset=0.05, duration=0.1, room=1),
                _line("ja, schön", offset=0.15, duration=0.05, room=2),
                _line("of the end", "test", offset=0.5, duration=0.25),
            ),
        ),
    ),
    "second": (Recording("cid/letter.wav", 16_000, 1, 2, 9000, 5, (_line("dear all", room=3),)),),
    "changed": (Recording("ann/morning.wav", 16_000, 1, 2, 1700, 6, (_line("good morning again", room=4),)),),
    "extension": (
        Recording("bob/low.wav", 8_000, 1, 2, 900, 7, (_line("lower"),)),
        Recording(
            "dan/answer.wav",
            16_000,
            2,
            2,
            9000,
            8,
            (_line("yes", offset=0.0, duration=0.25), _line("no", offset=0.25, duration=0.25, room="hall")),
        ),
    ),
    "last": (
        Recording("cid/letter.wav", 16_000, 1, 2, 500, 9, (_line("dear all, again", room=5),)),
        Recording("eve/late.wav", 48_000, 1, 3, 700, 10, (_line("late", "test"),)),
    ),
}
"""What one run each takes; a path that an earlier one has taken is replaced."""

WRITTEN = ("first", "second", "changed")
"""The steps of a corpus that is to be read by another release."""


def put(step: str, folder: Path) -> Path:
    """Write the recordings of a step and their manifest into a new folder; returns the manifest."""
    lines = []
    for one in STEPS[step]:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        speaker = one.path.partition("/")[0]
        lines += [json.dumps({"audio_filepath": one.path, "speaker": speaker, **line}) for line in one.lines]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def recordings(*steps: str) -> dict[str, bytes]:
    """The files that a corpus holds after these steps, by path."""
    return {one.path: one.data for step in steps for one in STEPS[step]}


def rows(*steps: str) -> list[dict[str, Any]]:
    """The rows of a corpus after these steps, by path."""
    left = {one.path: one for step in steps for one in STEPS[step]}
    return by_path(row for one in left.values() for row in one.rows())


def by_path(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: str(row["path"]))
