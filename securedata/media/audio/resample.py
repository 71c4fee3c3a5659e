"""Resampling by soxr, and which part of a recording is needed for a crop of the resampled one.

soxr returns the same result with any version of torch. Its filter (quality HQ) reaches less than 128 frames of the
lower rate to either side: a crop resampled with that margin equals a crop of the whole, to float32's rounding.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import soxr

from securedata.media.audio.encodings import Floats

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

REACH = 128


def resampled_length(frames: int, rate: int, target: int) -> int:
    """Frames after resampling: libsoxr's own arithmetic (rate_flush in rate.h), in double precision."""
    return frames if rate == target else int(frames / (rate / target) + 0.5)


def resampled_lengths(frames: Integers, rates: Integers, target: int) -> Integers:
    """`resampled_length` of many recordings."""
    ratios = np.maximum(rates, 1) / target
    return np.where(rates == target, frames, (frames / ratios + 0.5).astype(np.int64))


class Window(NamedTuple):
    """The frames of a recording to read for a crop, and where the crop begins in what they resample to."""

    start: int
    frames: int
    skip: int


def window(frames: int, rate: int, target: int, at: int, count: int) -> Window:
    """What to read of a recording of `frames` frames to get frames [at, at + count) of the resampled recording.

    It begins where a frame begins at both rates, so that a crop never falls between two frames.
    """
    if rate == target:
        return Window(at, count, 0)
    common = math.gcd(rate, target)
    step, stride = rate // common, target // common
    around = math.ceil(REACH * max(1.0, rate / target))
    start = max(0, at * rate // target - around) // step * step
    end = min(frames, -(-(at + count) * rate // target) + around)
    return Window(start, end - start, at - start // step * stride)


def resample(audio: Floats, rate: int, target: int) -> Floats:
    """Resample [frames, channels]."""
    if rate == target:
        return audio
    out: Floats = soxr.resample(audio, rate, target)
    return out
