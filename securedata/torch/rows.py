"""How a dataset numbers its rows, and how long they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import frames_of
from securedata.corpus.snapshot import Snapshot
from securedata.errors import GenerationChanged
from securedata.media.audio.resample import Integers, resampled_lengths


class Rows:
    """What follows from the open rows, shared by a dataset and its shallow copies.

    `copy.copy(ds)`, which people use to make a second dataset with another transform, keeps the corpora, so a `refresh`
    of one renumbers the rows of the other too.
    """

    def __init__(self) -> None:
        self.starts: Sequence[int] = (0,)
        self._lengths: dict[tuple[int | None, int | None], Tensor] = {}

    def open(self, corpora: Sequence[Corpus]) -> None:
        """Count the rows that the corpora have now."""
        self.starts = list(accumulate((len(corpus) for corpus in corpora), initial=0))
        self._lengths = {}

    def place(self, row: int) -> tuple[int, int]:
        """Which corpus a row belongs to, and its number there."""
        which = bisect_right(self.starts, row) - 1
        return which, row - self.starts[which]

    def lengths(self, corpora: Sequence[Corpus], sample_rate: int | None, num_frames: int | None) -> Tensor:
        """int64 [N]: the frames of each row at a rate in Hz (None: its own), at most `num_frames`."""
        found = self._lengths.get((sample_rate, num_frames))
        if found is None:
            frames = np.concatenate([_frames(corpus.table, sample_rate) for corpus in corpora])
            found = torch.from_numpy(frames if num_frames is None else np.minimum(frames, num_frames))
            self._lengths[sample_rate, num_frames] = found
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, ()  # lengths are megabytes for a million rows and, like all else here, follow from the index


def refuse_mixed(corpora: Sequence[Corpus], held: Sequence[Snapshot]) -> None:
    """Called after a read: the text comes from a row and the audio from an object, each looked up by number.

    Args:
        corpora: those that were read.
        held: their snapshots before the read.

    Raises:
        GenerationChanged: another thread called `refresh` meanwhile, which opened newer rows.
    """
    for corpus, before in zip(corpora, held, strict=True):
        if corpus.snapshot is not before and corpus.generation != before.generation:
            raise GenerationChanged(
                f"refresh() opened newer rows of {corpus.root} during another thread's read: call it between batches",
                root=corpus.root,
            )


def _frames(table: pa.Table, sample_rate: int | None) -> Integers:
    frames: Integers = frames_of(table.column).to_numpy().astype(np.int64)
    if sample_rate is None:
        return frames
    return resampled_lengths(frames, table.column("sample_rate").to_numpy().astype(np.int64), sample_rate)
