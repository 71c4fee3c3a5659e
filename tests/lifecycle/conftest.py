"""Corpora that several tests of `securedata.lifecycle` begin with."""

from __future__ import annotations

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import make, writer_of


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def corpus(place: MemoryStorage) -> Reference:
    """An empty corpus in `place`."""
    return make(place)


@pytest.fixture
def writer(corpus: Reference, place: MemoryStorage) -> Writer:
    return writer_of(corpus, place)
