"""Runs a command as a person would, and shows what it said when it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def output_of(command: Sequence[str | Path], cwd: Path, text: str | None = None, timeout: float = 170) -> str:
    """What the command prints on stdout when fed with ``text``; an exit status other than 0 is an AssertionError."""
    done = subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, timeout=timeout)
    said = f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    return done.stdout


def pip(python: Path, *arguments: str | Path) -> list[str | Path]:
    """The command for the pip of this venv to work on the packages of another one, which needs no pip of its own."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, *arguments]
