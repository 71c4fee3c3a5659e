"""Compute the features of many recordings in the workers of a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch.utils.data import DataLoader, Dataset

from securedata.corpus.objects.put import Put
from securedata.corpus.schema import ADDED, TRAINING
from securedata.errors import SecuredataError
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.transforms import compute
from securedata.media.npy import to_npy
from securedata.media.reason import Undecodable
from securedata.torch.dataset import EncryptedAudioDataset
from securedata.torch.decode import undecodable

_ROWS = 32
_SECONDS = 600.0
"""The most recordings, and the most audio, of one batch: what a worker has in memory, and hands over at once."""


class Computed(NamedTuple):
    """The features of one row of the source.

    Attributes:
        row: its number in the dataset.
        npy: the features as a .npy file; empty if there is an error.
        shape: [channels, features, frames].
        audio: channels and frames of the waveform that they were computed from.
        error: why there are none.
        put: the object that they were put into by the process that computed them; `npy` is empty then.
    """

    row: int
    npy: bytes = b""
    shape: tuple[int, ...] = ()
    audio: tuple[int, ...] = ()
    error: SecuredataError | None = None
    put: Put | None = None

    def __repr__(self) -> str:
        return f"Computed({self.row}, {self.shape}, error={type(self.error).__name__})"


class Source(EncryptedAudioDataset):
    """All recordings of one corpus, with the columns that a row of features takes over."""

    _columns = (
        *TRAINING,
        "source_sha256",
        "recording",
        "recording_sha256",
        "source_mtime_ns",
        "consent_id",
        "purposes",
        "expires",
        *(name for name in ADDED.names if name != "ingested"),
    )

    def resample_to(self, rate: int) -> None:
        """Read at this rate in Hz from now on. Raises InvalidArgument"""
        self.sample_rate = rate
        self._check_corpus(self.corpora[0])


def computed(dataset: Source, recipe: Recipe, rows: Sequence[int], workers: int) -> Iterator[list[Computed]]:
    """Compute the features of these rows, in batches and in order. They come from `workers` processes; 0: this one."""
    cut = list(batches(dataset, rows))
    loader: DataLoader[Computed] = DataLoader(
        Computing(dataset, recipe), batch_sampler=cut, num_workers=workers, collate_fn=_as_it_is
    )
    return iter(loader)


class Computing(Dataset[Computed]):
    """The features of each recording of a dataset, which resamples to the recipe's rate. It pickles."""

    def __init__(self, dataset: Source, recipe: Recipe) -> None:
        self._dataset, self._recipe = dataset, recipe

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, row: int) -> Computed:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[Computed]:
        found = []
        for row, sample in zip(rows, self._dataset.outcomes(rows), strict=True):
            if isinstance(sample, SecuredataError):
                found.append(Computed(row, error=sample))
                continue
            try:
                features = compute(self._recipe, sample.waveform)
            except Undecodable as reason:
                found.append(Computed(row, error=undecodable(self._dataset.corpora[0], row, str(reason))))
                continue
            found.append(Computed(row, to_npy(features), features.shape, tuple(sample.waveform.shape)))
        return found


def batches(dataset: Source, rows: Sequence[int]) -> Iterator[list[int]]:
    """These rows in batches limited by number and length of audio."""
    lengths = dataset.lengths
    most = _SECONDS * (dataset.sample_rate or 1)
    batch: list[int] = []
    frames = 0
    for row in rows:
        length = int(lengths[row])
        if batch and (len(batch) == _ROWS or frames + length > most):
            yield batch
            batch, frames = [], 0
        batch.append(row)
        frames += length
    if batch:
        yield batch


def _as_it_is(batch: list[Computed]) -> list[Computed]:
    return batch
