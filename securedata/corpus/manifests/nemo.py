"""NeMo's manifest: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from securedata.corpus.manifests.row import Row


def files(rows: Callable[[], Iterator[Row]]) -> Mapping[str, Callable[[], Iterator[str]]]:
    """The file by name, as a function that makes its lines."""
    return {"manifest.jsonl": lambda: map(_line, rows())}


def _line(row: Row) -> str:
    entry: dict[str, Any] = {**row.entry, "audio_filepath": row.url}
    first = {name: entry[name] for name in ("audio_filepath", "offset", "duration") if name in entry}
    return as_json(first | {"sampling_rate": row.sample_rate} | entry)


def as_json(value: object) -> str:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
