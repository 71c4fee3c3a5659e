"""A corpus of recordings, and where its features go."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, clip

UNTIL = datetime(2031, 5, 1, tzinfo=UTC)


def clips() -> list[Clip]:
    """Three people; one recording with a consent, one in two segments."""
    return [
        clip("ann/0.wav", 0.5, transcript="eins", split="train", language="de", extra='{"age": 40}'),
        clip("ann/1.flac", 0.7, 16_000, 2, seed=1, consent_id="C7", purposes=["asr"], expires=UNTIL),
        clip("bob/t.wav", 1.0, seed=2, speaker="bob", segments=[(0, 8_000), (8_000, 8_000)]),
        clip("eve/0.wav", 0.4, seed=3, speaker="eve"),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, clips())


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "features-a"
