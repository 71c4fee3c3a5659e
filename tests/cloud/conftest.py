"""Servers that start once for all tests here, and the environment in which a user would meet them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Bao, Seaweed, moto, openbao, seaweed

pytest.register_assert_rewrite("securedata.testing.kms", "securedata.testing.storage")

SESSION = 12
"""Seconds that a session lives at most; renewal and expiry can be watched."""

VERSIONED = "versioned"


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """S3 and STS, with the buckets `voice` and `versioned`."""
    with seaweed(tmp_path_factory.mktemp("weed"), SESSION) as server:
        server.client().create_bucket(Bucket=VERSIONED)
        server.client().put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
        yield server


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """A KMS."""
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto: shapes of AWS's APIs."""
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture
def admin(weed: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    """The S3 server, whose owner's credentials this test has in its environment."""
    for name, value in weed.environment().items():
        monkeypatch.setenv(name, value)
    return weed


@pytest.fixture
def prefix() -> str:
    """A place in a bucket that no other test has."""
    return f"t-{os.urandom(6).hex()}"
