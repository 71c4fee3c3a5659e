"""Recordings of some twenty-five voices from Debian: telephone prompts, and the letters and syllables of KLettres.

Every recording becomes 16-bit WAV at 8 kHz, the rate of the prompts, so that no band tells one source from another. Of
the prompts the packages name the people; of KLettres each language counts as one voice, since nobody is named.
"""

from __future__ import annotations

import csv
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from demo import DemoError
from demo.prompts import Apt, AptFailed, get_voices, unpack

RATE = 8_000
MOST = 60  # utterances of a voice
LEAST = 40
SHORTEST, LONGEST = 0.25, 6.0  # seconds
TABLE = "voices.tsv"

# package, and the person in it; Allison Smith's and June Wallack's prompts are those of the demo
PROMPTS = {
    "asterisk-core-sounds-it-wav": ("carlo", "it"),
    "asterisk-core-sounds-ru-wav": ("ivrvoice", "ru"),
    "asterisk-prompt-es-co": ("jimenez", "es"),
    "asterisk-prompt-fr-armelle": ("armelle", "fr"),
    "asterisk-prompt-it-menardi-wav": ("dal-zot", "it"),
}
LETTERS = "klettres-data"
OF_DEMO = {"en": "allison", "es": "allison", "fr": "june"}
NOT_SPEECH = ("silence", "beep", "tone", "monkeys")


def voices_folder(work: Path, speech: Path | None) -> Path:
    """A folder with VOICE/LANGUAGE-NUMBER.wav and a table of them; from `speech` (VOICE/*.wav) if it is given."""
    folder = work / "voices"
    if (folder / TABLE).is_file():
        return folder
    building = work / "voices.part"
    shutil.rmtree(building, ignore_errors=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        found = _own(speech) if speech is not None else _debian(work, Path(scratch))
        for voice, language, files in found:
            kept = 0
            for path in _shuffled(files):
                audio = _read(path)
                if kept == MOST or not SHORTEST <= len(audio) / RATE <= LONGEST:
                    continue
                name = f"{voice}/{language}-{kept:03}.wav"
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(building / name, audio, RATE, subtype="PCM_16")
                # a file of letters or syllables has what is said as its name, in most of the languages
                rows.append((name, voice, language, path.stem if path.parent.name in ("alpha", "syllab") else ""))
                kept += 1
    with (building / TABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
            [("path", "speaker", "language", "text"), *rows]
        )
    building.rename(folder)
    return folder


def _own(speech: Path) -> Iterator[tuple[str, str, list[Path]]]:
    for folder in sorted(path for path in speech.iterdir() if path.is_dir()):
        yield folder.name, "xx", sorted(folder.rglob("*.wav"))


def _debian(work: Path, scratch: Path) -> Iterator[tuple[str, str, list[Path]]]:
    prompts = get_voices(work / "prompts", say=lambda text: print(text, file=sys.stderr))
    for language, voice in OF_DEMO.items():
        yield voice, language, _speech(prompts / language, "*.wav")
    for name, deb in _packages(work / "packages").items():
        unpack(deb, scratch / name)
        share = scratch / name / "usr/share"
        if name in PROMPTS:
            voice, language = PROMPTS[name]
            yield voice, language, _speech(share / "asterisk/sounds", "*.wav") or _speech(share, "*.gsm")
            continue
        for folder in sorted((share / "klettres").iterdir()):
            files = _speech(folder, "*.ogg") if folder.is_dir() else []
            if len(files) >= LEAST:
                yield f"letters-{folder.name}", folder.name, files


def _packages(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [*PROMPTS, LETTERS]
    apt = Apt(folder, say=lambda text: print(text, file=sys.stderr))
    try:
        files = _fetched(apt, folder, names)
    except AptFailed:
        apt.update()
        try:
            files = _fetched(apt, folder, names)
        except AptFailed as error:
            raise SystemExit(f"apt cannot get the voices: {error}; or use folders of speech: --speech DIR") from error
        except DemoError as error:
            raise SystemExit(str(error)) from error
    return {file.partition("_")[0]: folder / file for file in files}


def _fetched(apt: Apt, folder: Path, names: list[str]) -> list[str]:
    files = list(apt.files(names))
    if not all((folder / file).is_file() for file in files):
        apt.run(["download", *names])
    return files


def _speech(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if not any(word in str(path) for word in NOT_SPEECH))


def _shuffled(files: list[Path]) -> list[Path]:
    chosen = sorted(files)
    random.Random(0).shuffle(chosen)
    return chosen


def _read(path: Path) -> np.ndarray:
    raw = {"samplerate": RATE, "channels": 1, "format": "RAW", "subtype": "GSM610"} if path.suffix == ".gsm" else {}
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True, **raw)
    mono = audio.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE)
