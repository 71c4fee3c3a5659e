"""The corpus, and filesystems over it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from securedata.corpus.schema import rows_table
from securedata.filesystem import SecuredataFileSystem
from tests.filesystem.corpus import FILES, LONG, SEGMENTS, Voice, make


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    voice = make(tmp_path / "sealed", "voice-a", FILES)
    put = voice.writer.put_object([LONG])
    rows = [voice.row(p, put, start=start, frames_in_segment=n) for p, (start, n) in SEGMENTS.items()]
    voice.writer.commit(rows_table(rows))
    return voice


@pytest.fixture
def fs(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata")


@pytest.fixture
def rooted(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root=str(voice.root))
