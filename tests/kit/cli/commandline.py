"""Runs the command in this process, as its tests want it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.cli.main import main

PATTERN = ("--speaker-pattern", "{speaker}/{utterance}")


class Ran:
    """What one run of the command left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on standard error that begins like an error."""
        [line] = [line for line in self.err.splitlines() if line.startswith("securedata: error: ")]
        return line


Run = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs the command with these arguments."""

    def run(*arguments: str | Path) -> Ran:
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run
