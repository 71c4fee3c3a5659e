"""SpeechBrain's data pipeline reads a sealed corpus, as docs/ecosystem.md shows, and leaves nothing on a disk."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.canary import Places, places
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.docs.readme import make_wavs
from tests.kit.docs.tree import ROOT
from tests.peers.pages import run_blocks

__all__ = ["places"]  # the fixture

PAGE = ROOT / "docs/ecosystem.md"


def test_the_example_of_the_page(run: Run, here: Path) -> None:
    make_wavs(here)
    assert run("init", "./sealed", "--name", "voice-a").code == 0
    assert run("encrypt", "./wavs", "voice-a", *PATTERN).code == 0
    assert run_blocks(PAGE, "python speechbrain") == 1


def test_it_leaves_nothing(places: Places) -> None:
    assert run_blocks(PAGE, "python speechbrain") == 1
    assert places.found() == {}
