"""What several tests of datasets begin with."""

from __future__ import annotations

import pytest


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """All samples of an epoch may be replaced: what is tested is something else."""
    monkeypatch.setattr("securedata.torch.replace.SHARE", 1)
