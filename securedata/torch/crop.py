"""Which frames of a row are read, and what becomes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from securedata.media.audio.encodings import Floats
from securedata.media.audio.resample import resample, resampled_length, window
from securedata.torch.decode import Row, span_of
from securedata.torch.sample import Sample


class Cut(NamedTuple):
    """Frames [start, start + frames) of a row are read, brought to `rate` Hz, and cut to `keep` after `skip`."""

    row: Row
    rate: int
    start: int
    frames: int
    skip: int
    keep: int | None


def cut_of(row: Row, sample_rate: int | None, num_frames: int | None, crop: str) -> Cut:
    """What to read of a row for the options of a dataset; draws from torch's generator where the crop is random."""
    start, frames = span_of(row)
    if sample_rate is None and num_frames is None:
        return Cut(row, row.sample_rate, start, frames, 0, None)
    rate = sample_rate or row.sample_rate
    total = resampled_length(frames, row.sample_rate, rate)
    if num_frames is None or total <= num_frames:
        return Cut(row, rate, start, frames, 0, None)
    at = int(torch.randint(total - num_frames + 1, ())) if crop == "random" else 0
    part = window(frames, row.sample_rate, rate, at, num_frames)
    return Cut(row, rate, start + part.start, part.frames, part.skip, num_frames)


def sample_of(cut: Cut, audio: Floats) -> Sample:
    """The sample of what was read as `cut` says: float32 [frames, channels] of the row's own rate."""
    if cut.rate != cut.row.sample_rate:
        audio = resample(audio, cut.row.sample_rate, cut.rate)
    if cut.keep is not None:
        # soxr rounds an end of exactly half a frame either way, so the last frame may be missing
        skip = min(cut.skip, len(audio) - cut.keep)
        audio = audio[skip : skip + cut.keep]
    # one channel: the same memory
    waveform, row = torch.from_numpy(np.ascontiguousarray(audio.T)), cut.row
    return Sample(waveform, cut.rate, row.transcript, row.speaker, row.utterance, row.extra)
