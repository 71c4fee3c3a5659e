"""Which frames of a row are read, and how they become a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from securedata.media.audio.encodings import Floats
from securedata.media.audio.resample import resample, resampled_length, window
from securedata.torch.decode import Row, span_of
from securedata.torch.sample import Sample


class Cut(NamedTuple):
    """Read frames [start, start + frames) of a row, resample them to `rate` Hz, skip `skip` and keep `keep`."""

    row: Row
    rate: int
    start: int
    frames: int
    skip: int
    keep: int | None


def cut_of(
    row: Row, sample_rate: int | None, num_frames: int | None, crop: str, draw: torch.Generator | None = None
) -> Cut:
    """What to read of a row under a dataset's options; a random crop is drawn from `draw` (None: torch's generator)."""
    start, frames = span_of(row)
    if sample_rate is None and num_frames is None:
        return Cut(row, row.sample_rate, start, frames, 0, None)
    rate = sample_rate or row.sample_rate
    total = resampled_length(frames, row.sample_rate, rate)
    if num_frames is None or total <= num_frames:
        return Cut(row, rate, start, frames, 0, None)
    at = int(torch.randint(total - num_frames + 1, (), generator=draw)) if crop == "random" else 0
    part = window(frames, row.sample_rate, rate, at, num_frames)
    return Cut(row, rate, start + part.start, part.frames, part.skip, num_frames)


def sample_of(cut: Cut, audio: Floats) -> Sample:
    """The sample from what was read for `cut`: float32 [frames, channels] at the row's own rate."""
    if cut.rate != cut.row.sample_rate:
        audio = resample(audio, cut.row.sample_rate, cut.rate)
    if cut.keep is not None:
        # soxr rounds an end of exactly half a frame up or down, so the last frame might be missing
        skip = min(cut.skip, len(audio) - cut.keep)
        audio = audio[skip : skip + cut.keep]
    # one channel: no copy
    waveform, row = torch.from_numpy(np.ascontiguousarray(audio.T)), cut.row
    return Sample(waveform, cut.rate, row.transcript, row.speaker, row.utterance, row.extra)
