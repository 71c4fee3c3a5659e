"""The examples of the pages that need other libraries, in the order of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.files import make_files, some_files
from tests.kit.docs.readme import blocks, make_wavs
from tests.kit.docs.tree import ROOT

PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md") if blocks(page, "python eco"))


@pytest.fixture
def page(request: pytest.FixtureRequest, run: Run, here: Path) -> Path:
    """Runs the blocks of a page beside `./wavs`, `voice-a` and `files`; returns the folder in which they ran."""
    make_wavs(here)
    assert run("init", "./sealed", "--name", "voice-a").code == 0
    assert run("encrypt", "./wavs", "voice-a", *PATTERN).code == 0
    make_files(here.parent, some_files())
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(ROOT / "docs" / request.param, "python eco"):
        exec(compile("\n" * (block.line - 1) + block.text, request.param, "exec"), names)
    return here


def test_pages_are_these() -> None:
    assert PAGES == ["ecosystem.md", "lineage.md"]


@pytest.mark.parametrize("page", ["lineage.md"], indirect=True)
def test_records_of_the_lineage_page(page: Path) -> None:
    found = sorted(path.relative_to(page).as_posix() for path in page.rglob("*.lineage.json"))
    assert found == ["out/checkpoint-2/securedata.lineage.json", "run/epoch=0.ckpt.lineage.json"]


@pytest.mark.parametrize("page", ["ecosystem.md"], indirect=True)
def test_the_ecosystem_page_leaves_no_file(page: Path) -> None:
    found = [path.relative_to(page) for path in page.rglob("*") if path.is_file()]
    assert {path.parts[0] for path in found} == {"sealed", "wavs"}
