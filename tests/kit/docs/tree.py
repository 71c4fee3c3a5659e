"""The files of the project, as a commit would hold them: for tests about the repository itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

NOT_OURS = {".venv", ".venv-eco", ".venv-peers", "build", "dist", "__pycache__", "results", ".hypothesis"}


def _walk() -> Iterator[Path]:
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in NOT_OURS and not n.endswith(("_cache", ".egg-info")) and n != ".git"]
        yield from (Path(folder) / name for name in files)


@cache
def project_files() -> tuple[Path, ...]:
    """What git tracks or would offer to add; in an unpacked sdist, where it knows nothing, all files but caches."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
        found = (ROOT / name for name in listed if name)
    else:
        found = _walk()
    return tuple(sorted(path for path in found if path.is_file()))


def python_files() -> tuple[Path, ...]:
    return tuple(path for path in project_files() if path.suffix == ".py")
