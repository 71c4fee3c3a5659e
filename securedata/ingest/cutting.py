"""Cuts segments of a recording into files of their own, in memory: nothing is written to a disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from securedata.ingest.sources.origin import Origin, Stamp
from securedata.media.audio.cut import Cut, ReadAt, cut_of, pieces
from securedata.media.audio.plan import block_bytes
from securedata.media.audio.probe import AudioInfo
from securedata.media.blocks import Blocks


class CutFrom(NamedTuple):
    """The recording that a segment was cut from: its logical path, and its file's size and digest."""

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
        is_copying: samples are copied as bytes, so that cutting cannot fail unless reading does.
    """

    def __init__(self, info: AudioInfo, size: int, read_at: ReadAt) -> None:
        """`size`: of the file, in bytes; `read_at(offset, length)` returns a part of it."""
        self._info, self._read_at = info, read_at
        self._recording = _Recording(size, info.subtype, info.sample_rate, info.channels, info.frames, info.data_offset)
        self.is_copying = block_bytes(self._recording) is not None

    @classmethod
    def over(cls, info: AudioInfo, data: bytes) -> Cutter:
        """Cut a file that is in memory."""
        return cls(info, len(data), lambda at, length: data[at : at + length])

    @classmethod
    def of(cls, info: AudioInfo, origin: Origin, file: str, stamp: Stamp) -> Cutter:
        """Cut a file where it is. The caller checks afterwards that it is still the file that was listed."""
        blocks = Blocks(lambda at, length: origin.peek(file, stamp, at, length), stamp.size)
        return cls(info, stamp.size, blocks.read_at)

    def file(self, frames: int) -> Cut:
        """The file that a segment of `frames` becomes."""
        return cut_of(self._info, frames)

    def pieces(self, start: int, frames: int) -> Iterator[bytes]:
        """The bytes of that file.

        Raises:
            Undecodable, SourceProblem
        """
        return pieces(self.file(frames), self._recording, self._read_at, start)
