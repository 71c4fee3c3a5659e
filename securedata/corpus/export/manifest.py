"""The manifest that an export writes: one JSON object a line, which NeMo reads, and `securedata encrypt --manifest`.

Names are NeMo's where it has one: audio_filepath, duration, offset, text, lang, speaker. It takes a line without `text`
for one without words, or looks for them in columns of other names, so `text` is always there. Ours stand beside them
where they say more: `subjects` is everybody recorded, of whom `speaker` is one.

JSON and not a table, because a transcript may hold tabs and line ends, and what else is known of a recording (`extra`)
has columns of its own. Sealing the export with it makes the same rows again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from securedata.corpus.columns import folded, perhaps_end, target_of
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import seconds
from securedata.corpus.segments import recording_path

MANIFEST = "manifest.jsonl"

_TEXTS = {"utterance": "utterance", "split": "split", "language": "lang"}
_CONSENT = ("consent_id", "purposes", "expires")
_COLUMNS = (
    "path",
    "start",
    "frames_in_segment",
    "sample_rate",
    "frames",
    "subjects",
    "speaker",
    "transcript",
    *_TEXTS,
    *_CONSENT,
)


def manifest_lines(corpus: Corpus, rows: Iterable[int]) -> Iterator[bytes]:
    """The manifest of some rows, a line each. The corpus has to be open with these columns and `extra`."""
    for row in rows:
        values = dict(zip((*_COLUMNS, "extra"), corpus.index.values((*_COLUMNS, "extra"), row), strict=True))
        yield json.dumps(_entry(values), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _entry(values: dict[str, Any]) -> dict[str, Any]:
    start, length, rate = values["start"], values["frames_in_segment"], values["sample_rate"]
    entry: dict[str, Any] = {"audio_filepath": recording_path(values["path"], start, length)}
    if start is not None and length is not None and rate:
        entry["offset"] = start / rate
    if rate:
        entry["duration"] = seconds(values["frames"], length, rate)
    entry["text"] = values["transcript"]
    entry["subjects"] = values["subjects"]
    if values["speaker"] in values["subjects"]:
        entry["speaker"] = values["speaker"]
    entry.update({name: values[column] for column, name in _TEXTS.items() if values[column]})
    consent = {name: values[name] for name in _CONSENT if values[name] is not None}
    if "expires" in consent:
        consent["expires"] = consent["expires"].isoformat()
    return {**entry, **consent, **_extra(values["extra"])}


def _extra(text: str) -> dict[str, Any]:
    """What else the source said, as columns of its own; kept as one where they would be taken for others."""
    if not text:
        return {}
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)  # 1e999 reads as infinity, which JSON cannot write
    except (ValueError, RecursionError):
        return {"extra": text}
    if not isinstance(found, dict) or any(
        _elsewhere(name) or found[name] is None or found[name] == "" for name in found
    ):
        return {"extra": found}
    return found


def _elsewhere(name: str) -> bool:
    """Would a column of this name be taken for something else, here or by NeMo?"""
    return bool(target_of(name)) or perhaps_end(name) or folded(name) in (*_CONSENT, "extra", "text_filepath")
