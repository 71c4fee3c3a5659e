"""Which file system a path lies on."""

from __future__ import annotations

import os
from pathlib import Path


def file_system(path: str) -> str:
    """The type of the file system under `path`, as /proc/self/mountinfo names it; '' where there is none."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape", "surrogateescape")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split(" ")[0]
    return kind
