"""What the tests of all venvs need: the object store that `tests.peers` started, and caches out of the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tests.ecosystem.conftest  # noqa: F401 - HF_HOME, before `datasets` is imported

GIVEN = "PEERS_"
"""Begins the names of variables of the store's environment; tests have no `AWS_` of their caller."""


@pytest.fixture
def store(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the bucket, on a real store, which the environment says how to reach."""
    for name, value in os.environ.items():
        if name.startswith(GIVEN):
            monkeypatch.setenv(name.removeprefix(GIVEN), value)
    assert "AWS_ENDPOINT_URL" in os.environ, "run these by `make test-peers`, which starts the store"
    return "s3://voice"
