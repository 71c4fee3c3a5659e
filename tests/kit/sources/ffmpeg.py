"""Files that FFmpeg makes, in memory."""

from __future__ import annotations

import io
from typing import NamedTuple

import av
import numpy as np

from tests.kit.sources.recordings import Floats, noise


class Made(NamedTuple):
    """One kind of file: FFmpeg's names of container and codec, the usual suffix, and what the manifest calls both."""

    container: str
    codec: str
    suffix: str
    rate: int
    format: str
    subtype: str


KINDS = (
    Made("ipod", "aac", ".m4a", 16_000, "MP4", "AAC"),
    Made("mp4", "aac", ".mp4", 44_100, "MP4", "AAC"),
    Made("mov", "pcm_s16le", ".mov", 16_000, "MP4", "PCM_S16LE"),
    Made("mp4", "alac", ".m4a", 16_000, "MP4", "ALAC"),
    Made("webm", "libopus", ".webm", 48_000, "MATROSKA", "OPUS"),
    Made("matroska", "aac", ".mka", 16_000, "MATROSKA", "AAC"),
    Made("adts", "aac", ".aac", 16_000, "AAC", "AAC"),
    Made("asf", "wmav2", ".wma", 44_100, "ASF", "WMAV2"),
    Made("amr", "libopencore_amrnb", ".amr", 8_000, "AMR", "AMRNB"),
    Made("wv", "wavpack", ".wv", 16_000, "WAVPACK", "WAVPACK"),
    Made("tta", "tta", ".tta", 16_000, "TTA", "TTA"),
    Made("ac3", "ac3", ".ac3", 48_000, "AC3", "AC3"),
)


def make(kind: Made, seconds: float = 1.0, channels: int = 1, tracks: int = 1) -> bytes:
    """A file with something audible in it."""
    file = io.BytesIO()
    audio = noise(seconds, kind.rate, channels, seed=3)
    with av.open(file, "w", format=kind.container) as container:
        streams = [container.add_stream(kind.codec, rate=kind.rate) for _ in range(tracks)]
        for stream in streams:
            stream.layout = "mono" if channels == 1 else "stereo"  # type: ignore[union-attr] - of audio, all of them
            stream.bit_rate = 64_000 if kind.codec != "libopencore_amrnb" else 12_200  # type: ignore[union-attr] - same
        for stream in streams:
            planes = np.ascontiguousarray(audio.T, np.float32)
            frame = av.AudioFrame.from_ndarray(planes, "fltp", "mono" if channels == 1 else "stereo")
            frame.sample_rate, frame.pts = kind.rate, 0
            container.mux(stream.encode(frame))  # type: ignore[union-attr,arg-type] - of audio, all of them
            container.mux(stream.encode(None))  # type: ignore[union-attr] - of audio, all of them
    return file.getvalue()


def heard(kind: Made, seconds: float = 1.0) -> Floats:
    """What `make` puts into a mono file: float32 [frames, 1]."""
    return noise(seconds, kind.rate, 1, seed=3)
