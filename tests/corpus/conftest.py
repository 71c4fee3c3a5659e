"""Corpora that several tests of `securedata.corpus` begin with."""

from __future__ import annotations

import os

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.harmed import TwoCorpora, two_corpora
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


@pytest.fixture
def made() -> TwoCorpora:
    return two_corpora()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files take at most a thousand bytes a call."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, memoryview(data)[:1000]))
