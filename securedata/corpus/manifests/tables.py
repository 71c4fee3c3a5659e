"""A table with one row per recording: JSON lines for Hugging Face's json loader, or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from securedata.corpus.manifests.nemo import as_json
from securedata.corpus.manifests.row import Row

_TEXTS = ("text", "speaker", "utterance", "split", "lang")
_OTHERS = ("audio_filepath", "offset", "duration", "subjects", *_TEXTS)


def hf_files(rows: Callable[[], Iterator[Row]]) -> Mapping[str, Callable[[], Iterator[str]]]:
    """The file by name, as a function that makes its lines: the same columns in every row, since types are inferred."""
    return {"data.jsonl": lambda: (as_json(_values(row)) for row in rows())}


def csv_files(rows: Callable[[], Iterator[Row]]) -> Mapping[str, Callable[[], Iterator[str]]]:
    """The file by name, as a function that makes its lines, the header first."""
    return {"manifest.csv": lambda: _csv_lines(rows)}


def _values(row: Row) -> dict[str, Any]:
    others = {name: value for name, value in row.entry.items() if name not in _OTHERS}
    return {
        "audio": row.url,
        "offset": row.offset,
        "duration": row.duration,
        "sampling_rate": row.sample_rate,
        **{name: row.text(name) for name in _TEXTS},
        "subjects": row.entry["subjects"],
        "extra": as_json(others) if others else "",
    }


def _csv_lines(rows: Callable[[], Iterator[Row]]) -> Iterator[str]:
    header = False
    for row in rows():
        values = _values(row)
        if not header:
            yield _csv_line(list(values))
            header = True
        yield _csv_line([as_json(one) if isinstance(one, list) else one for one in values.values()])


def _csv_line(values: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
