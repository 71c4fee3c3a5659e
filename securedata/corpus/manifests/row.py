"""What a manifest says of one row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from securedata.corpus.config import SCHEME
from securedata.corpus.export.manifest import COLUMNS, entry_of
from securedata.corpus.reader import Corpus


@dataclass(frozen=True, slots=True, repr=False)  # holds transcripts and names
class Row:
    """One recording, or a segment of one.

    Attributes:
        url: opens the file of the recording, also if the row is a segment: `offset` and `duration` cut it out.
        name: the corpus's name.
        path: the logical path.
        format: libsndfile's name of the file's format.
        sample_rate, channels: Hz, and how many.
        frames: of the file.
        start, length: the first frame and the frames of a segment; None: the row is the whole file.
        entry: what an export says of the row, with its columns.
    """

    url: str
    name: str
    path: str
    format: str
    sample_rate: int
    channels: int
    frames: int
    start: int | None
    length: int | None
    entry: dict[str, Any]

    @property
    def offset(self) -> float:
        """Seconds from the file's first frame to the row's."""
        return (self.start or 0) / self.sample_rate

    @property
    def duration(self) -> float:
        """Seconds of the row."""
        return (self.frames if self.length is None else self.length) / self.sample_rate

    def text(self, name: str) -> str:
        """A column of the entry as text; '' if it has none."""
        value = self.entry.get(name, "")
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def row_of(corpus: Corpus, row: int) -> Row:
    """The row with this number. The corpus must be open with `COLUMNS` of an export, `extra`, `channels`, `format`."""
    index = corpus.index
    values = dict(zip((*COLUMNS, "extra"), index.values((*COLUMNS, "extra"), row), strict=True))
    channels, format = index.values(("channels", "format"), row)
    name = corpus.name or ""
    return Row(
        f"{SCHEME}{name}/{values['path']}",
        name,
        values["path"],
        format,
        values["sample_rate"],
        channels,
        values["frames"],
        values["start"],
        values["frames_in_segment"],
        entry_of(values),
    )
