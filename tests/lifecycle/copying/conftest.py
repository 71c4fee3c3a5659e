"""A corpus of recordings, and where a part of it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.lifecycle.receipt.operator import make_operator
from tests.kit.corpora.recorded import Root, make_corpus
from tests.lifecycle.features.conftest import clips


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Three people; one recording with a consent until 2031, one in two segments that share an object."""
    return make_corpus(tmp_path, clips())


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "vendor-b"


@pytest.fixture
def operator() -> None:
    make_operator("example.com/erasure")
