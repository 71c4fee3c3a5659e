"""The corpus that verify and prune look at."""

import pytest

from tests.kit.corpora.harmed import MemoryCorpus, four_files


@pytest.fixture
def sound() -> MemoryCorpus:
    return four_files()
