"""A small corpus of files whose bytes the tests know."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.filesystem import opened
from tests.kit.corpora import rows
from tests.kit.sources.recordings import encode, noise

MTIME = 1_700_000_000_000_000_000
COLUMNS: dict[str, Any] = {
    "source_mtime_ns": MTIME,
    "sample_rate": 16_000,
    "channels": 1,
    "frames": 4000,
    "speaker": "somebody",
    "transcript": "every word",
}


def audio(seed: int, format: str) -> bytes:
    return encode(noise(0.25, seed=seed), 16_000, format)


FILES = {
    "ann/a.wav": audio(1, "WAV"),
    "ann/b.flac": audio(2, "FLAC"),
    "bob/c.wav": audio(3, "WAV"),
    "bob/deep/down/d.bin": np.random.default_rng(4).bytes(700_001),
    "bob-2/x.wav": audio(5, "WAV"),  # "-" sorts before "/"
    "empty.bin": b"",
    "table.csv": b"a,b\n1,2\n3,4\n",
    "zoë/ü.wav": audio(6, "WAV"),
}
LONG = audio(7, "WAV")
SEGMENTS = {"bob/long.wav#t=0-1": (0, 16_000), "bob/long.wav#t=1-2": (16_000, 16_000)}
SEEN = FILES | dict.fromkeys(SEGMENTS, LONG)

D = FILES["bob/deep/down/d.bin"]
D_PATH = "voice-a/bob/deep/down/d.bin"


@dataclass
class Voice:
    """A corpus of FILES, in the config as `name`."""

    reference: Reference
    writer: Writer = field(repr=False)
    root: Path

    def row(self, path: str, data: bytes, **columns: Any) -> dict[str, Any]:
        """A row whose object this puts."""
        return rows.row(self.writer, path, data, ["somebody"], **{**COLUMNS, **columns})

    def add(self, files: dict[str, bytes], **columns: Any) -> None:
        added = [self.row(path, data, **columns) for path, data in files.items()]
        self.writer.commit(rows.table(*added), replace=True)

    def object_files(self) -> list[Path]:
        return sorted(path for path in (self.root / "objects").rglob("*") if path.is_file())


def make(root: Path, name: str, files: dict[str, bytes]) -> Voice:
    reference = rows.make(root=str(root), name=name)
    voice = Voice(reference, rows.writer_of(reference), root)
    voice.add(files)
    return voice


def named(*paths: str) -> list[str]:
    return [f"voice-a/{path}" for path in paths]


def unwraps(reference: Reference) -> int:
    return opened.corpus_of(reference).counters.unwraps
