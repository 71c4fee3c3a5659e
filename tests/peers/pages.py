"""What the pages say of the libraries of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kit.docs.readme import blocks


def named(page: Path, *tools: str) -> list[str]:
    """Those that the page does not name."""
    text = page.read_text(encoding="utf-8")
    return [tool for tool in tools if f"`{tool}`" not in text]


def run_blocks(page: Path, language: str) -> int:
    """Run the blocks of this language; how many there are."""
    names: dict[str, Any] = {"__name__": "page"}
    shown = blocks(page, language)
    for block in shown:
        exec(compile("\n" * (block.line - 1) + block.text, page.name, "exec"), names)
    return len(shown)
