"""The manifest that an export writes: one JSON object per line, for NeMo and `securedata encrypt --manifest`.

It uses NeMo's names where there are any: audio_filepath, duration, offset, text, lang, speaker. `text` is always there,
since NeMo takes a line without it as one without words, or searches columns of other names. Names of our own add what
NeMo lacks: `subjects` is everybody recorded, and `speaker` one of them.

JSON rather than a table, because a transcript may contain tabs and line ends, and because whatever else is known of a
recording (`extra`) has columns of its own. Sealing the export with its manifest makes the same rows again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from securedata.corpus.columns import folded, perhaps_end, target_of
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import seconds
from securedata.corpus.segments import recording_path
from securedata.corpus.state.consent import Consent

MANIFEST = "manifest.jsonl"

_TEXTS = {"utterance": "utterance", "split": "split", "language": "lang"}
_CONSENT = Consent._fields
COLUMNS = (
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
    """The manifest of some rows, one line each. The corpus must be open with `COLUMNS` and `extra`."""
    for row in rows:
        values = dict(zip((*COLUMNS, "extra"), corpus.index.values((*COLUMNS, "extra"), row), strict=True))
        yield json.dumps(entry_of(values), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def entry_of(values: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of a row, from its cells in `COLUMNS` and `extra`."""
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
    for name in ("expires", "last_contact"):
        if name in consent:
            consent[name] = consent[name].isoformat()
    return {**entry, **consent, **_extra(values["extra"])}


def _extra(text: str) -> dict[str, Any]:
    """The source's other columns; kept together as `extra` if one could be mistaken for a column of ours."""
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
    """Would we or NeMo take a column of this name for something else?"""
    return bool(target_of(name)) or perhaps_end(name) or folded(name) in ("extra", "text_filepath")
