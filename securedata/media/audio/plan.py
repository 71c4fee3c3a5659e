"""Which bytes of a file are needed for a part of its recording."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from securedata.media.audio.encodings import SAMPLE_BYTES

WHOLE = 4 * 1024 * 1024
"""Bytes up to which a compressed file is read whole, even for a part of it."""


class Recording(Protocol):
    """What is known of a file before it is read, from a manifest or a probe."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def subtype(self) -> str:
        """Sample encoding, as libsndfile names it."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def channels(self) -> int: ...

    @property
    def frames(self) -> int: ...

    @property
    def data_offset(self) -> int | None:
        """Position of the first PCM byte; None where frames are not evenly spaced bytes."""


Span: TypeAlias = tuple[int, int | None]
"""The whole file (0, None), or (offset, length) of bytes."""

_ALL: Span = (0, None)


def plan(recording: Recording, start: int, frames: int) -> Span | None:
    """What frames [start, start + frames) need; None if the decoder must ask, as in a large compressed file.

    Raises:
        ValueError: the recording claims samples beyond the end of its file.
    """
    block = block_bytes(recording)
    if block is None:
        return _ALL if recording.size <= WHOLE or frames == recording.frames else None
    at, length = (recording.data_offset or 0) + start * block, frames * block
    if at < 0 or at + length > recording.size:
        raise ValueError(f"its row puts samples at byte {at + length} of {recording.size}")
    return _ALL if frames == recording.frames else (at, length)


def block_bytes(recording: Recording) -> int | None:
    """Bytes of a frame, if frame i begins at data_offset + i times this number; else None."""
    width = SAMPLE_BYTES.get(recording.subtype)
    return width * recording.channels if recording.data_offset is not None and width is not None else None
