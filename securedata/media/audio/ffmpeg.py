"""Decode what libsndfile does not read with FFmpeg from PyAV's wheel: MP4, Matroska, AAC and others of `sniff`.

The container is passed to FFmpeg, so that it never guesses a playlist, and it gets bytes, never a name. A recording
is always decoded from its start, and its frames are counted by decoding: a seek lands near the wanted frame only, and
the length in headers includes what encoders put before the first sample.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from securedata.media.audio.encodings import Floats
from securedata.media.audio.sniff import Kind, ReadAt
from securedata.media.reason import Undecodable

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

WAY = "ffmpeg -i IN -map 0:a:0 -c:a flac OUT.flac"
"""The command that makes a file that libsndfile reads."""

AGAIN = f"copy it again, or keep what can be decoded: {WAY}"
"""What to do about a file that ends too early."""

_SLACK = 0.25  # seconds that a header may count beyond what decodes: encoders' priming and padding
_NO_LENGTH = ("AAC", "AMR", "AC3")  # streams without a header: FFmpeg guesses their length
_SCALES = {"u1": (128.0, 2.0**-7), "i2": (0.0, 2.0**-15), "i4": (0.0, 2.0**-31), "f4": (0.0, 1.0), "f8": (0.0, 1.0)}


def describe(kind: Kind, read_at: ReadAt, size: int) -> tuple[str, int, int, int]:
    """Codec, sample rate in Hz, channels and frames of the audio track.

    Raises:
        Undecodable, and what `read_at` raises.
    """
    with _opened(kind, read_at, size) as (container, stream):
        rate, channels, frames = 0, 0, 0
        said = _said_seconds(kind, container, stream)
        try:
            for frame in container.decode(stream):
                found = (frame.sample_rate, frame.layout.nb_channels)
                if frames and found != (rate, channels):
                    raise Undecodable(f"its sample rate or channels change in the middle; convert it: {WAY}")
                rate, channels = found
                frames += frame.samples
        except ValueError:
            # to some demuxers (WavPack's) a tag after the last frame is invalid data
            if said is None or not frames or frames < round(said * rate):
                raise
        if not frames:
            raise Undecodable("the recording has no frames")
        if said is not None and frames / rate < said - _SLACK:
            raise Undecodable(f"cut off: {frames / rate:.2f} s of {said:.2f} s can be decoded; {AGAIN}")
        return stream.codec_context.name.upper(), rate, channels, frames


def decode(kind: Kind, read_at: ReadAt, size: int, start: int, frames: int, rate: int, channels: int) -> Floats:
    """Frames [start, start + frames), which must have this rate and number of channels.

    Returns:
        float32 [frames, channels], its own memory.

    Raises:
        Undecodable, and what `read_at` raises.
    """
    out: Floats = np.empty((frames, channels), np.float32)
    at = 0
    with _opened(kind, read_at, size) as (container, stream):
        for frame in container.decode(stream):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                raise Undecodable(f"it has {frame.layout.nb_channels} channels and {frame.sample_rate} Hz")
            first, last = max(start, at), min(start + frames, at + frame.samples)
            if first < last:
                out[first - start : last - start] = _samples(frame)[first - at : last - at]
            at += frame.samples
            if at >= start + frames:
                return out
    raise Undecodable(f"it has {at} frames")


def tracks(count: int) -> str:
    """Why a file without exactly one audio track is refused."""
    return f"{count} audio tracks: extract one: {WAY} (0:a:1 for the second)" if count else "no audio track"


@contextmanager
def _opened(kind: Kind, read_at: ReadAt, size: int) -> Iterator[tuple[InputContainer, AudioStream]]:
    """The container and its only audio track; inside the block, errors of FFmpeg become `Undecodable`."""
    try:
        import av
    except ImportError:
        raise Undecodable(
            f"{kind.name} needs FFmpeg: pip install 'securedata-torch[media]', or convert it: {WAY}"
        ) from None
    file = _File(read_at, size)
    try:
        with av.open(file, "r", format=kind.demuxer, metadata_errors="replace") as container:
            streams = container.streams.audio
            if len(streams) != 1:
                raise Undecodable(tracks(len(streams)))
            codec = streams[0].codec_context
            if codec is None:  # the track is damaged, or FFmpeg does not know its encoding
                raise ValueError
            codec.thread_count = 1  # there are many workers already
            yield container, streams[0]
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        if file.error is not None:
            raise file.error from None
        # strerror alone: the whole text names the file
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = f"no {kind.name} that FFmpeg can decode ({reason}); if another program plays it: {WAY}"
        raise Undecodable(text) from None
    if file.error is not None:
        raise file.error


def _said_seconds(kind: Kind, container: InputContainer, stream: AudioStream) -> float | None:
    if kind.name in _NO_LENGTH:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    others = len(container.streams) > 1  # the container is as long as its longest track
    return None if container.duration is None or others else container.duration / 1e6


def _samples(frame: AudioFrame) -> Floats:
    """float32 [frames, channels] in [-1, 1]."""
    array: np.ndarray[Any, Any] = frame.to_ndarray()
    zero, scale = _SCALES[array.dtype.str[1:]]
    wide: np.ndarray[Any, np.dtype[np.float64]] = array.astype(np.float64)
    floats = (wide - zero) * scale
    planar = floats.T if frame.format.is_planar else floats.reshape(-1, frame.layout.nb_channels)
    return np.ascontiguousarray(planar, np.float32)


class _File:
    """The file that PyAV reads; keeps the error that reading raises, which FFmpeg would replace by its own."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at, self._size, self._at = read_at, size, 0
        self.error: BaseException | None = None

    def read(self, length: int) -> bytes:
        if self.error is not None:
            return b""
        try:
            found = bytes(self._read_at(self._at, min(length, max(0, self._size - self._at))))
        except BaseException as error:  # raised again by `_opened`, once FFmpeg has returned
            self.error = error
            raise
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
