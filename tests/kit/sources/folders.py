"""Files of a folder to ingest: recordings, texts and manifests; and the columns that come of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from securedata.ingest.sources.recordings import SourceList
from tests.kit.sources.recordings import encode, noise

RATE = 8000


def touch(root: Path, *names: str) -> Path:
    """Files of audio by name only: nothing may open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def record(path: Path, seconds: float = 0.1, seed: int = 0, format: str | None = None) -> None:
    """A recording in the format that its suffix names, or in another; each seed gives another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(noise(seconds, RATE, seed=seed), RATE, format or path.suffix[1:].upper()))


def text(path: Path, words: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words, encoding="utf-8")


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    """JSON lines, packed if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def column(sources: SourceList, name: str) -> list[Any]:
    return list(sources.table.column(name).to_pylist())


def by_path(sources: SourceList, name: str) -> dict[str, Any]:
    return dict(zip(column(sources, "path"), column(sources, name), strict=True))


def counted(sources: SourceList) -> bool:
    """Is every file accounted for?"""
    taken = len(set(column(sources, "file")))
    return sources.files == taken + sources.companions + sources.hidden + sources.left_out + sources.not_taken
