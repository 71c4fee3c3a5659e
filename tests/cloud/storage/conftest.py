"""What tests of storage on real servers begin with."""

from __future__ import annotations

import pytest

from securedata.storage.s3.store import S3Storage
from securedata.testing.storage import OBJECT
from tests.kit.servers import Seaweed


@pytest.fixture
def url(admin: Seaweed, prefix: str) -> str:
    """A root with one object."""
    S3Storage(f"s3://voice/{prefix}").put_new(OBJECT, [b"there"])
    return f"s3://voice/{prefix}"
