"""`EncryptedFeatureDataset`: sealed features of recordings by number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import TRAINING
from securedata.errors import InvalidArgument
from securedata.media.npy import FORMAT, Features, from_npy, subtype_of
from securedata.media.reason import Undecodable
from securedata.torch.base import EncryptedDataset, Target
from securedata.torch.decode import undecodable
from securedata.torch.sample import FeatureSample, Metadata
from securedata.torch.select import Duration


class FeatureRow(NamedTuple):
    """The cells of a manifest row that make a sample of features."""

    subtype: str
    channels: int
    feature_bins: int
    feature_frames: int
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:  # never shows the transcript or the speaker unasked
        return f"FeatureRow({self.subtype} {[self.channels, self.feature_bins, self.feature_frames]})"


class EncryptedFeatureDataset(EncryptedDataset[FeatureSample]):
    """Features of one sealed corpus or several, as `retain` made them, decrypted in memory as they are asked for.

    `ds[i]` is a `FeatureSample`, or what `map` makes of it. Everything else is as in `EncryptedAudioDataset`: a dataset
    never changes under its reader, `refresh` opens the current rows, and DataLoader workers get it under fork, spawn
    and forkserver without another call to the KMS.
    """

    _content = "features"
    _metadata = Metadata
    _columns = (*TRAINING, "feature_bins", "feature_frames")

    def __init__(
        self,
        target: Target | Sequence[Target],
        *,
        kms: str | Sequence[str] | None = None,
        pin: str | Sequence[str] | None = None,
        role: str | None = None,
        filter: pc.Expression | None = None,
        speaker: str | Sequence[str] | None = None,
        split: str | Sequence[str] | None = None,
        duration: Duration | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        map: Callable[[FeatureSample], Any] | None = None,
        on_error: str = "raise",
        on_erased: str = "replace",
        on_gone: str | None = None,
        purpose: str | None = None,
        ttl: float = 3600.0,
        kms_wait: float = 600.0,
        refresh: bool = False,
        accept_generation: int | Sequence[int | None] | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_size: int | str | None = None,
    ) -> None:
        """Open one corpus of features or several, whose rows follow each other in the order given.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL; or a list of these.
            kms, pin, role: as in `EncryptedAudioDataset`.
            filter, speaker, split: which rows, likewise.
            duration: (shortest, longest) of the recordings in seconds, both included; None for no limit.
            transform: called with the features, in the process that reads them.
            map: called last, with the FeatureSample; its result replaces it. As `ds.map(function)`.
            on_error, on_erased, on_gone: 'raise' or 'replace', the last also 'skip', as in `EncryptedAudioDataset`.
            purpose: what the features are read for, likewise.
            ttl, kms_wait, refresh, accept_generation, cache, cache_size: likewise.

        Raises:
            InvalidArgument: options that make no sense; a corpus that holds recordings rather than features.
            ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

        Example:
            ds = sd.EncryptedFeatureDataset("features-a")
            print(len(ds), ds[0].features.shape)  # float16 or float32 [channels, features, frames]
        """
        super().__init__(
            target,
            kms=kms,
            pin=pin,
            role=role,
            filter=filter,
            speaker=speaker,
            split=split,
            duration=duration,
            transform=transform,
            map=map,
            on_error=on_error,
            on_erased=on_erased,
            on_gone=on_gone,
            purpose=purpose,
            ttl=ttl,
            kms_wait=kms_wait,
            refresh=refresh,
            accept_generation=accept_generation,
            cache=cache,
            cache_size=cache_size,
        )

    def _check_corpus(self, corpus: Corpus) -> None:
        other = set(pc.unique(corpus.table.column("format")).to_pylist()) - {FORMAT}
        if other:
            raise InvalidArgument(
                f"{corpus.root} has rows that are not features ({', '.join(sorted(other))}): read recordings with "
                "EncryptedAudioDataset, or leave them out with filter=pyarrow.compute.field('format') == 'NPY'",
                root=corpus.root,
            )

    def _plan(self, corpus: Corpus, i: int, draw: torch.Generator | None = None) -> FeatureRow:
        return FeatureRow._make(corpus.snapshot.index.values(FeatureRow._fields, i))

    def _piece(self, corpus: Corpus, i: int, plan: FeatureRow) -> Piece:
        return Piece(i, 0, None)

    def _fetch(self, corpus: Corpus, plan: FeatureRow, piece: Piece) -> memoryview:
        return memoryview(corpus.read(piece.i))

    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, plan: FeatureRow) -> FeatureSample:
        begun = time.perf_counter()
        features = features_of(corpus, piece.i, data, plan)
        self._tally.seconds_decode += time.perf_counter() - begun
        return FeatureSample(torch.from_numpy(features), plan.transcript, plan.speaker, plan.utterance, plan.extra)

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: the frames of each array of features, before `transform`."""
        self.check_rows()
        columns = [one.table.column("feature_frames").to_numpy().astype(np.int64) for one in self.corpora]
        return torch.from_numpy(np.concatenate(columns))


def features_of(corpus: Corpus, i: int, data: memoryview, row: FeatureRow) -> Features:
    """The array of an object, which must be the one that its row describes.

    Raises:
        UndecodableMedia: it is another array, or none.
    """
    try:
        features = from_npy(data)
    except Undecodable as reason:
        raise undecodable(corpus, i, str(reason)) from None
    found = (subtype_of(features), *features.shape)
    if found != row[:4]:
        raise undecodable(corpus, i, f"it holds {found[0]} {list(found[1:])}, where its row says {row}")
    return features
