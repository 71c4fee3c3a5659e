"""The corpus, and filesystems over it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from securedata.filesystem import SecuredataFileSystem
from tests.filesystem.corpus import FILES, LONG, SEGMENTS, Voice, make
from tests.kit.corpora.rows import table


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    voice = make(tmp_path / "sealed", "voice-a", FILES)
    long = voice.row("bob/long.wav", LONG)
    segments = [{**long, "path": path, "start": at, "frames_in_segment": n} for path, (at, n) in SEGMENTS.items()]
    voice.writer.commit(table(*segments))
    return voice


@pytest.fixture
def fs(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata")


@pytest.fixture
def rooted(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root=str(voice.root))
