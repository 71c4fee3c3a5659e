"""A corpus on a disk, in which tests share recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.writer import Writer
from tests.kit.corpora.recorded import Root, make_corpus


@pytest.fixture
def old(tmp_path: Path) -> Root:
    """An empty corpus."""
    return make_corpus(tmp_path, [], name="old")


@pytest.fixture
def pen(old: Root) -> Writer:
    """Its writer."""
    return Writer(old.reference)
