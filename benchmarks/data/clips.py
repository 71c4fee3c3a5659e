"""Make clips of speech like those in training corpora: 15 s, 16 kHz, mono, FLAC.

They are made from Debian's telephone prompts, as in the demo (8 kHz, professional speakers), or with --speech DIR from
any folder of speech. Recordings of one folder are joined, with a quarter of a second between them, and resampled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000
SECONDS = 15
SUFFIXES = (".wav", ".flac", ".ogg")
PAUSE = 0.25


def speech_folder(given: Path | None, cache: Path) -> Path:
    """The given folder, or else the demo's prompts, fetched with apt (about 60 MB) if necessary."""
    if given is not None:
        return given
    from demo import DemoError
    from demo.prompts import get_voices

    try:
        return get_voices(cache, say=lambda text: print(text, file=sys.stderr))
    except DemoError as error:
        raise SystemExit(f"{error}\nor use a folder of speech: --speech DIR") from error


def make(
    speech: Path, target: Path, count: int, seconds: float = SECONDS, rate: int = RATE, kind: str = "flac"
) -> list[Path]:
    """Write `count` clips as target/SPEAKER/NUMBER.KIND, with one speaker for each folder directly under `speech`.

    Existing clips are kept, because the same recordings give the same clips.
    """
    groups = {path.name: _recordings(path) for path in sorted(speech.iterdir()) if path.is_dir()}
    groups = {name: files for name, files in groups.items() if files} or {speech.name: _recordings(speech)}
    if not any(groups.values()):
        raise SystemExit(f"{speech} holds no recordings ({', '.join(SUFFIXES)})")
    streams = {name: _clips(files, seconds, rate) for name, files in groups.items()}
    made = []
    for number, name in zip(range(count), cycle(streams)):
        path = target / name / f"{number:05d}.{kind}"
        clip = next(streams[name])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, clip, rate, subtype="PCM_16")
        made.append(path)
    return made


def _recordings(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _clips(files: list[Path], seconds: float, wanted_rate: int) -> Iterator[np.ndarray]:
    """Clips without end, from the recordings over and over."""
    pause = np.zeros(int(PAUSE * wanted_rate), np.float32)
    held: list[np.ndarray] = []
    frames, wanted = 0, int(seconds * wanted_rate)
    for path in cycle(files):
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = soxr.resample(data.mean(axis=1), rate, wanted_rate)
        held += [mono, pause]
        frames += len(mono) + len(pause)
        while frames >= wanted:
            joined = np.concatenate(held)
            yield joined[:wanted]
            held, frames = [joined[wanted:]], frames - wanted
