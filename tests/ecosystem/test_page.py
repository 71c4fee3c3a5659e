"""The callbacks as docs/lineage.md shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.docs.readme import blocks, make_wavs
from tests.kit.docs.tree import ROOT


def test_the_examples_of_the_page(run: Run, here: Path) -> None:
    make_wavs(here)
    assert run("init", "./sealed", "--name", "voice-a").code == 0
    assert run("encrypt", "./wavs", "voice-a", *PATTERN).code == 0
    shown = blocks(ROOT / "docs/lineage.md", "python eco")
    assert len(shown) == 2
    names: dict[str, Any] = {"__name__": "page"}
    for block in shown:
        exec(compile("\n" * (block.line - 1) + block.text, "lineage.md", "exec"), names)
    found = sorted(path.relative_to(here).as_posix() for path in here.rglob("*.lineage.json"))
    assert found == ["out/checkpoint-2/securedata.lineage.json", "run/epoch=0.ckpt.lineage.json"]
