"""Who is heard in which segment of a shared object, as far as its rows tell. Nobody is guessed.

All rows of an object name everyone in the recording; `speaker` names who speaks in a segment. A segment is of its
speaker, and of the speakers of segments that overlap it. Where a row names no speaker, or no row names one of the
people, nobody knows where they are heard, and the object stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.checks import held
from securedata.corpus.rows.index import Location
from securedata.corpus.schema import optional
from securedata.corpus.segments import Span, uncovered
from securedata.corpus.state.head import Head
from securedata.ingest.sources.apart import heard
from securedata.lifecycle.select import ByPath, mask_of
from securedata.media.audio.probe import AudioInfo

CHECKED = ("path", "object_id", "subjects", "speaker", "start", "frames_in_segment")
"""What must not have changed when the rows are committed."""
COLUMNS = (*CHECKED, "data_key", "pack", "offset", "sealed_size", "size", *AudioInfo._fields, "source_sha256", "origin")

State = tuple[frozenset[str], str, int | None, int | None]
"""The people, the speaker and the segment of a row."""


class Segment(NamedTuple):
    """A row of a shared object.

    Attributes:
        path: its logical path.
        state: what it says.
        people: who is heard in it: its speaker first.
        origin: id of the first object of its recording.
    """

    path: str
    state: State
    people: tuple[str, ...]
    origin: bytes

    def __repr__(self) -> str:
        return "<Segment>"

    @property
    def start(self) -> int | None:
        """Its first frame; None: it is all of the recording."""
        return self.state[2]

    @property
    def frames(self) -> int:
        """Its length; 0 if it is all of the recording."""
        return self.state[3] or 0


@dataclass(frozen=True, slots=True)
class Shared:
    """An object that several rows of several people share.

    Attributes:
        info: of its recording.
        segments: its rows, in the order of the manifest.
        unclear: paths of rows whose speaker is none of their people.
        unnamed: is one of the people the speaker of no row?
        held: is one of the people under a hold?
    """

    location: Location
    data_key: bytes = field(repr=False)
    sha256: bytes
    info: AudioInfo
    segments: tuple[Segment, ...] = field(repr=False)
    unclear: tuple[str, ...] = field(repr=False)
    unnamed: bool
    held: bool

    @property
    def id(self) -> bytes:
        return self.location.object_id

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all rows."""
        return tuple(one.path for one in self.segments)

    @property
    def together(self) -> bool:
        """Is everyone heard in each segment, so that nobody can be erased alone?"""
        return all(set(one.people) == one.state[0] for one in self.segments)

    @property
    def cuts(self) -> tuple[Segment, ...]:
        """The rows that get an object of their own; one of all of the recording keeps the object."""
        return tuple(one for one in self.segments if one.start is not None)

    @property
    def overlapping(self) -> tuple[str, ...]:
        """Paths of segments in which others than their speaker are heard, too."""
        return tuple(one.path for one in self.cuts if len(one.people) > 1)

    @property
    def seconds_left_out(self) -> float:
        """Time in the recording that is in no segment."""
        return uncovered(_spans(self.segments, self.info), self.info.frames) / self.info.sample_rate


def shared_objects(head: Head, table: pa.Table, chosen: ByPath | None = None) -> Iterator[Shared]:
    """The objects of a part that several rows of several people share, and at least one of them is a segment.

    Args:
        head: names the part.
        table: COLUMNS of all its rows.
        chosen: only objects of which it chooses a row; None: all.
    """
    several = mask_of(pc.greater(pc.list_value_length(table.column("subjects")), 1))
    several &= mask_of(pc.is_valid(table.column("start")))
    if not several.any():
        return
    ids = table.column("object_id").combine_chunks()
    wanted = ids.filter(pa.array(several))
    if chosen is not None:
        wanted = wanted.filter(pc.is_in(wanted, value_set=pc.unique(ids.filter(pa.array(chosen.hits(head, table))))))
    mine = np.flatnonzero(mask_of(pc.is_in(ids, value_set=pc.unique(wanted))))
    codes = ids.take(pa.array(mine)).dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    kept = held(head, table)
    for group in np.split(mine[order], np.flatnonzero(np.diff(codes[order])) + 1):
        if len(group) > 1:
            rows = table.take(pa.array(group))
            yield _shared(rows, not kept.isdisjoint(group.tolist()))


def states(table: pa.Table, ids: pa.Array) -> dict[tuple[bytes, str], State]:
    """What the rows of these objects say, by object and path; `table` has CHECKED."""
    rows = table.filter(pc.is_in(table.column("object_id"), value_set=ids)).select(list(CHECKED)).to_pylist()
    return {(row["object_id"], row["path"]): _state(row) for row in rows}


def _state(row: dict[str, Any]) -> State:
    return frozenset(row["subjects"]), row["speaker"], row["start"], row["frames_in_segment"]


def _shared(rows: pa.Table, kept: bool) -> Shared:
    listed = rows.select([name for name in COLUMNS if name != "origin"]).to_pylist()
    origins = pc.coalesce(optional(rows, "origin"), rows.column("object_id")).to_pylist()
    first = listed[0]
    info = AudioInfo(*(first[name] for name in AudioInfo._fields))
    found = [_state(row) for row in listed]
    spans = [(0, info.frames) if start is None else (start, start + (frames or 0)) for _, _, start, frames in found]
    people = heard(spans, [(speaker,) for _, speaker, _, _ in found])
    return Shared(
        Location(*(first[name] for name in Location._fields)),
        first["data_key"],
        first["source_sha256"],
        info,
        tuple(
            Segment(row["path"], state, names, origin)
            for row, state, names, origin in zip(listed, found, people, origins, strict=True)
        ),
        tuple(row["path"] for row, state in zip(listed, found, strict=True) if state[1] not in state[0]),
        not found[0][0] <= {speaker for _, speaker, _, _ in found},
        kept,
    )


def _spans(segments: tuple[Segment, ...], info: AudioInfo) -> list[Span]:
    return [(0, info.frames) if one.start is None else (one.start, one.start + one.frames) for one in segments]
