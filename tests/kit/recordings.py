"""Folders of recordings and manifests for the tests of ingest, and the columns that come of them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from securedata.ingest.sources.recordings import SourceList
from securedata.media.audio.probe import AudioInfo

RATE = 8000


class Recording(NamedTuple):
    """What a manifest says of a file."""

    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None


def recording_of(data: bytes, info: AudioInfo) -> Recording:
    return Recording(len(data), info.subtype, info.sample_rate, info.channels, info.frames, info.data_offset)


def touch(root: Path, *names: str) -> Path:
    """Files of audio by name only: nothing may open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def record(root: Path, name: str, seconds: float) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(seconds * RATE), 0.1), RATE, subtype="PCM_16")


def jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def column(sources: SourceList, name: str) -> list[Any]:
    return list(sources.table.column(name).to_pylist())


def by_path(sources: SourceList, name: str) -> dict[str, Any]:
    return dict(zip(column(sources, "path"), column(sources, name), strict=True))
