"""What tests of keys begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.keys.local import LocalKMS, create_key_file, uri_for


class Keys:
    """Key files of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> LocalKMS:
        path = self.folder / f"{name}.kek"
        create_key_file(path)
        return LocalKMS(uri_for(path))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")
