"""`EncryptedStream`: sealed features, and objects of any other media, in a shuffled stream."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc
import torch
from torch import Tensor

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import TRAINING
from securedata.errors import InvalidArgument
from securedata.media.npy import FORMAT
from securedata.torch.base import Target
from securedata.torch.features import FeatureRow, features_of
from securedata.torch.sample import ByteSample, FeatureSample
from securedata.torch.select import Duration
from securedata.torch.stream.base import SHUFFLE, SealedStream


class _TextRow(NamedTuple):
    """The cells of a manifest row that go beside the bytes of its object."""

    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:  # never shows the transcript or the speaker unasked
        return "_TextRow(...)"


class EncryptedStream(SealedStream[Any]):
    """Features, or objects of any other media, as an iterable dataset; all else is as in `EncryptedAudioStream`.

    A corpus of features, as `retain` makes them, gives a `FeatureSample` for each row. Any other gives a `ByteSample`
    of the plaintext of each object: decode it with `transform` or `map`.
    """

    _columns = (*TRAINING, "feature_bins", "feature_frames")
    _features: bool | None = None

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
        weights: Sequence[float] | None = None,
        seed: int = 0,
        shuffle: int = SHUFFLE,
        uneven: str | None = "pad",
        rank: int | None = None,
        world: int | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        map: Callable[[Any], Any] | None = None,
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
        """Open the head of one corpus or several, all with features or none.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL; or a list of these.
            kms, pin, role, filter, speaker, split, duration: as in `EncryptedAudioStream`.
            weights, seed, shuffle, uneven, rank, world: likewise.
            transform: called with the features or the bytes, in the process that reads them.
            map: called last, with the sample; its result replaces it.
            on_error, on_erased, on_gone, purpose, ttl, kms_wait, refresh, accept_generation: likewise.
            cache, cache_size: likewise.

        Raises:
            InvalidArgument: options that make no sense; rows with features among others.
            ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

        Example:
            stream = sd.EncryptedStream("voice-a", map=lambda sample: len(sample.data))
            print(sum(stream), "bytes")
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
            weights=weights,
            seed=seed,
            shuffle=shuffle,
            uneven=uneven,
            rank=rank,
            world=world,
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

    @property
    def _content(self) -> str:  # type: ignore[override]  # it depends on what the corpora hold
        return "features" if self._features else "data"

    def _check_formats(self, formats: Collection[str], root: str) -> None:
        found = {name == FORMAT for name in formats}
        if self._features is None and len(found) == 1:
            self._features = FORMAT in formats
        if found - {self._features}:
            raise InvalidArgument(
                f"{root} has features and other objects, or is streamed with a corpus of the other kind: choose one "
                "with filter=pyarrow.compute.field('format') == 'NPY', or != 'NPY'",
                root=root,
            )

    def _check_corpus(self, corpus: Corpus) -> None:
        self._check_formats(pc.unique(corpus.table.column("format")).to_pylist(), corpus.root)

    def _plan(self, corpus: Corpus, i: int) -> FeatureRow | _TextRow:
        kind = FeatureRow if self._features else _TextRow
        return kind._make(corpus.snapshot.index.values(kind._fields, i))

    def _piece(self, corpus: Corpus, i: int, plan: Any) -> Piece:
        return Piece(i, 0, None)

    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, plan: Any) -> Any:
        begun = time.perf_counter()
        texts = plan.transcript, plan.speaker, plan.utterance, plan.extra
        if self._features:
            made: Any = FeatureSample(torch.from_numpy(features_of(corpus, piece.i, data, plan)), *texts)
        else:
            made = ByteSample(torch.frombuffer(data, dtype=torch.uint8) if len(data) else _NOTHING, *texts)
        self._tally.seconds_decode += time.perf_counter() - begun
        return made


_NOTHING = torch.empty(0, dtype=torch.uint8)
