"""A filesystem that writes to a new corpus."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from securedata.corpus.config import Reference
from securedata.filesystem import SecuredataFileSystem
from tests.kit.corpora import rows


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    """An empty corpus, in the config as `voice-a`."""
    return rows.make(root=str(tmp_path / "sealed"), name="voice-a")


@pytest.fixture
def fs(reference: Reference) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root="voice-a", writable=True, subject="ann")
