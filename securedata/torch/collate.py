"""Recordings of unequal length as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from securedata.errors import InvalidArgument
from securedata.torch.sample import Batch, Sample


def pad_collate(samples: Sequence[Sample]) -> Batch:
    """A DataLoader's `collate_fn`: pads the shorter recordings with zeros; `lengths` says where they end.

    The last axis is padded; all others, such as channels or mel bands after a `transform`, must agree.

    Raises:
        InvalidArgument: no samples, or shapes that padding cannot make equal.
    """
    if not samples:
        raise InvalidArgument("a batch needs at least one sample")
    first = samples[0].waveform
    for sample in samples:
        if sample.waveform.ndim == 0 or sample.waveform.shape[:-1] != first.shape[:-1]:
            shapes = sorted({str(list(sample.waveform.shape)) for sample in samples})
            raise InvalidArgument(
                f"waveforms of one batch may differ in length only, but these have shapes {', '.join(shapes[:4])}: "
                "pass a transform that makes the channels equal, such as lambda x: x.mean(0, keepdim=True)"
            )
    lengths = torch.tensor([sample.waveform.shape[-1] for sample in samples], dtype=torch.int64)
    waveform = first.new_zeros((len(samples), *first.shape[:-1], int(lengths.max())))
    for row, sample in zip(waveform, samples, strict=True):
        row[..., : sample.waveform.shape[-1]] = sample.waveform
    return Batch(
        waveform,
        lengths,
        [sample.sample_rate for sample in samples],
        [sample.transcript for sample in samples],
        [sample.speaker for sample in samples],
        [sample.utterance for sample in samples],
        [sample.extra for sample in samples],
    )
