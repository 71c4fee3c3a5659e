"""What several tests of commits and heads begin with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A corpus in a folder, of generation 3; `put_back` gives it the head of generation 2 again."""
    root = make_corpus(tmp_path, [clip("ann/0.wav", 0.1)])
    add_clips(root, [clip("ann/1.wav", 0.1, seed=1)])
    return root


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits and puts that are tried again do so at once."""
    monkeypatch.setattr("securedata.corpus.state.commit._sleep", lambda seconds: None)
    monkeypatch.setattr("securedata.corpus.objects.put._sleep", lambda seconds: None)


@pytest.fixture(params=["pinned", "no pin", "a list of pins"])
def reference(root: Root, request: pytest.FixtureRequest, tmp_path: Path) -> Reference:
    """The ways in which a reader knows which corpus it is; the last two only once the head was read."""
    if request.param == "pinned":
        return root.reference
    other = make_corpus(tmp_path / "other", [], "other").reference
    return replace(root.reference, pins=() if request.param == "no pin" else (*other.pins, *root.reference.pins))
