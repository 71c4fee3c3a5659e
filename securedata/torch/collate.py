"""Recordings or features of unequal length as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from securedata.errors import InvalidArgument
from securedata.torch.sample import Batch, FeatureBatch, FeatureSample, Sample


@overload
def pad_collate(samples: Sequence[Sample]) -> Batch: ...


@overload
def pad_collate(samples: Sequence[FeatureSample]) -> FeatureBatch: ...


def pad_collate(samples: Sequence[Sample] | Sequence[FeatureSample]) -> Batch | FeatureBatch:
    """A DataLoader's `collate_fn`: pads the shorter recordings with zeros; `lengths` says where they end.

    The last axis is padded; all others, such as channels or mel bands after a `transform`, must agree.

    Raises:
        InvalidArgument: no samples, or shapes that padding cannot make equal.
    """
    if not samples:
        raise InvalidArgument("a batch needs at least one sample")
    array, lengths = _padded(samples[0]._fields[0], [sample[0] for sample in samples])
    words = (
        [sample.transcript for sample in samples],
        [sample.speaker for sample in samples],
        [sample.utterance for sample in samples],
        [sample.extra for sample in samples],
    )
    if isinstance(samples[0], FeatureSample):
        return FeatureBatch(array, lengths, *words)
    return Batch(array, lengths, [sample.sample_rate for sample in samples if isinstance(sample, Sample)], *words)


def _padded(what: str, arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    first = arrays[0]
    for array in arrays:
        if array.ndim == 0 or array.shape[:-1] != first.shape[:-1]:
            shapes = sorted({str(list(array.shape)) for array in arrays})
            raise InvalidArgument(
                f"the {what} of one batch may differ in length only, but these have shapes {', '.join(shapes[:4])}: "
                "pass a transform that makes the channels equal, such as lambda x: x.mean(0, keepdim=True)"
            )
    lengths = torch.tensor([array.shape[-1] for array in arrays], dtype=torch.int64)
    batch = first.new_zeros((len(arrays), *first.shape[:-1], int(lengths.max())))
    for row, array in zip(batch, arrays, strict=True):
        row[..., : array.shape[-1]] = array
    return batch, lengths
