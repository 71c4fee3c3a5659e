"""What a tool leaves on disks: runs it beside a corpus whose plaintext holds marks, and looks for these afterwards.

The marks are bytes in a WAV's samples, a text in the manifest and in a table, and the same samples as float32, as
decoders make them. Looked through is all that a process of this user might write by itself: home, caches, temporary
and working directory, and what is new in /dev/shm.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.kit.corpora.files import make_files, shard
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, encode

WORD = "xylophonequokka"
_NOISE = np.random.default_rng(7).integers(-30_000, 30_000, 2_000).astype(np.int16)
MARKS = {
    "PCM": _NOISE[1000:1016].tobytes(),
    "float32": (_NOISE[1000:1016] / np.float32(32768)).astype(np.float32).tobytes(),
    "float64": (_NOISE[1000:1016] / 32768).tobytes(),
    "words": WORD.encode(),
}


@dataclass
class Places:
    """Where a tool may run, and what it may read."""

    home: Path
    here: Path
    temporary: Path
    voices: Root
    files: Root
    before: set[Path]

    def found(self) -> dict[str, list[str]]:
        """The marks that were left, and in which files."""
        left: dict[str, list[str]] = {}
        for path in self._files():
            try:
                data = path.read_bytes()
            except OSError:
                continue
            for name, mark in MARKS.items():
                if mark in data:
                    left.setdefault(name, []).append(path.name)
        return left

    def _files(self) -> Iterator[Path]:
        for folder in (self.home, self.here, self.temporary, Path(os.environ["HF_HOME"])):
            yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        yield from (path for path in Path("/dev/shm").iterdir() if path.is_file() and path not in self.before)


@pytest.fixture
def places(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A corpus of two recordings and one of files; a working directory and a temporary directory of its own."""
    here, temporary = tmp_path / "here", tmp_path / "tmp"
    shutil.rmtree(os.environ["HF_HOME"])  # one for the session, since `datasets` reads its name once
    for folder in (here, temporary, Path(os.environ["HF_HOME"])):
        folder.mkdir()
    wav = encode(_NOISE, 16_000, "WAV", "PCM_16")
    clips = [Clip(f"ann/{n}.wav", wav, "ann", columns={"transcript": WORD}) for n in range(2)]
    table = pa.BufferOutputStream()
    parquet.write_table(pa.table({"word": [WORD] * 3, "n": [1, 2, 3]}), table, compression="none", use_dictionary=False)
    files = {
        "words.parquet": table.getvalue().to_pybytes(),
        "words.csv": f"word,n\n{WORD},1\n".encode(),
        "000.tar": shard(clips),
    }
    made = make_corpus(tmp_path / "corpora", clips), make_files(tmp_path / "corpora", files)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(here)
    return Places(own_home, here, temporary, *made, set(Path("/dev/shm").iterdir()))
