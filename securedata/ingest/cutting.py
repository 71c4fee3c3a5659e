"""Segments of a recording as files of their own, read out of its source: nothing of it goes to a disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from securedata.ingest.sources.origin import Origin, Stamp
from securedata.media.audio.cut import Cut, ReadAt, cut_of, pieces
from securedata.media.audio.plan import block_bytes
from securedata.media.audio.probe import AudioInfo
from securedata.media.blocks import Blocks


class CutFrom(NamedTuple):
    """Where a segment was cut out: the recording's logical path, its file's bytes and digest."""

    recording: str
    size: int
    sha256: bytes


class _Recording(NamedTuple):
    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None


class Cutter:
    """Cuts one recording.

    Attributes:
        is_copying: samples are copied byte by byte, so that cutting them cannot fail where reading does not.
    """

    def __init__(self, info: AudioInfo, size: int, read_at: ReadAt) -> None:
        """`size`: bytes of the file; `read_at` gives those at (offset, length)."""
        self._info, self._read_at = info, read_at
        self._recording = _Recording(size, info.subtype, info.sample_rate, info.channels, info.frames, info.data_offset)
        self.is_copying = block_bytes(self._recording) is not None

    @classmethod
    def over(cls, info: AudioInfo, data: bytes) -> Cutter:
        """Of a file that is in memory."""
        return cls(info, len(data), lambda at, length: data[at : at + length])

    @classmethod
    def of(cls, info: AudioInfo, origin: Origin, file: str, stamp: Stamp) -> Cutter:
        """Of a file where it is; what is read together with what was listed is the caller's to check, at the end."""
        blocks = Blocks(lambda at, length: origin.peek(file, stamp, at, length), stamp.size)
        return cls(info, stamp.size, blocks.read_at)

    def file(self, frames: int) -> Cut:
        """What a segment of so many frames becomes."""
        return cut_of(self._info, frames)

    def pieces(self, start: int, frames: int) -> Iterator[bytes]:
        """Its bytes.

        Raises:
            Undecodable, SourceProblem
        """
        return pieces(self.file(frames), self._recording, self._read_at, start)
