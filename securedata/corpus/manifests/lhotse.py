"""lhotse's cuts as JSON lines, each with its recording, whose source is a URL, and one supervision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from securedata.corpus.manifests.nemo import as_json
from securedata.corpus.manifests.row import Row

_OWN = ("audio_filepath", "offset", "duration", "text", "speaker", "lang")


def files(rows: Callable[[], Iterator[Row]]) -> Mapping[str, Callable[[], Iterator[str]]]:
    """The file by name, as a function that makes its lines."""
    return {"cuts.jsonl": lambda: (as_json(cut_of(row)) for row in rows())}


def cut_of(row: Row) -> dict[str, Any]:
    """A cut of the whole row: a MonoCut, or a MultiCut if it has several channels."""
    channels = list(range(row.channels))
    channel = 0 if row.channels == 1 else channels
    supervision = {
        "id": row.path,  # as in `securedata.lhotse.cuts`; utterances of two people can have one name
        "recording_id": row.path,
        "start": 0.0,
        "duration": row.duration,
        "channel": channel,
        "text": row.text("text"),
    }
    known = {"language": row.text("lang"), "speaker": row.text("speaker")}
    supervision |= {name: value for name, value in known.items() if value}
    custom = {name: value for name, value in row.entry.items() if name not in _OWN}
    return {
        "id": row.path,
        "start": row.offset,
        "duration": row.duration,
        "channel": channel,
        "supervisions": [supervision | ({"custom": custom} if custom else {})],
        "recording": {
            "id": row.path,
            "sources": [{"type": "url", "channels": channels, "source": row.url}],
            "sampling_rate": row.sample_rate,
            "num_samples": row.frames,
            "duration": row.frames / row.sample_rate,
            "channel_ids": channels,
        },
        "type": "MonoCut" if row.channels == 1 else "MultiCut",
    }
