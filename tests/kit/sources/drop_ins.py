"""Small trees as torchaudio's datasets expect them, lists and texts included, at 16 kHz."""

from __future__ import annotations

from pathlib import Path

from tests.kit.sources.folders import text
from tests.kit.sources.recordings import encode, noise

RATE = 16_000


def _record(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(noise(0.02 + seed % 3 / 100, RATE, seed=seed), RATE, path.suffix[1:].upper()))


def librispeech(root: Path) -> None:
    """Two parts, speakers and chapters whose numbers sort otherwise than their names."""
    seed = 0
    for part, speaker, chapter, count in (
        ("dev-clean", 84, 121123, 3),
        ("dev-clean", 9, 12, 2),
        ("dev-clean", 84, 7, 1),
        ("train-clean-100", 103, 1240, 2),
    ):
        folder = root / f"LibriSpeech/{part}/{speaker}/{chapter}"
        lines = ""
        for number in range(count):
            name = f"{speaker}-{chapter}-{number:04d}"
            _record(folder / f"{name}.flac", seed := seed + 1)
            lines += f"{name} CHAPTER {chapter} LINE {number}\n"
        text(folder / f"{speaker}-{chapter}.trans.txt", lines)
    text(root / "LibriSpeech/SPEAKERS.TXT", ";ID |SEX\n84 | F\n")


def speech_commands(root: Path) -> None:
    """Lists that are not sorted, and a noise that is no item."""
    folder = root / "SpeechCommands/speech_commands_v0.02"
    names = [
        f"{label}/{who}_nohash_{number}.wav"
        for label in ("bed", "zero", "Bird")
        for who, number in (("ffa076c3", 0), ("0a7c2a8d", 0), ("0a7c2a8d", 1), ("0b09edd3", 10))
    ]
    for seed, name in enumerate(names):
        _record(folder / name, seed)
    _record(folder / "_background_noise_/white_noise.wav", 99)
    text(folder / "validation_list.txt", f"{names[5]}\n{names[0]}\n")
    text(folder / "testing_list.txt", f"{names[8]}\n{names[1]}\n{names[6]}\n")
