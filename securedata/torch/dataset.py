"""`EncryptedAudioDataset`: sealed recordings by number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.option_values import as_whole
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import frames_of
from securedata.errors import InvalidArgument
from securedata.media.audio.resample import Integers, resampled_lengths
from securedata.media.npy import FORMAT
from securedata.torch.base import EncryptedDataset, Target
from securedata.torch.crop import Cut, cut_of, sample_of
from securedata.torch.decode import decode_object, decode_piece, fetch_piece, open_object, piece_of, read_row
from securedata.torch.sample import Metadata, Sample
from securedata.torch.select import Duration
from securedata.torch.stats import Tally

_MAX_RATE = 768_000
_MAX_RATIO = 1_000  # beyond it soxr takes minutes, or forever, to make filters


class AudioRows:
    """What a row becomes in datasets and streams of recordings: a `Sample`."""

    sample_rate: int | None
    num_frames: int | None
    crop: str
    _tally: Tally

    def _choose(self, sample_rate: int | None, num_frames: int | None, crop: str) -> None:
        """Keep the options. Raises InvalidArgument"""
        if crop not in ("random", "start"):
            raise InvalidArgument(f"crop= must be 'random' or 'start', not {crop!r}")
        self.sample_rate = _natural("sample_rate", sample_rate, _MAX_RATE)
        self.num_frames = _natural("num_frames", num_frames, 2**62)
        self.crop = crop

    def _check_formats(self, formats: Collection[str], root: str) -> None:
        if FORMAT in formats:
            raise InvalidArgument(
                f"{root} has features, not recordings: read them with EncryptedFeatureDataset, or leave them "
                "out with filter=pyarrow.compute.field('format') != 'NPY'",
                root=root,
            )

    def _check_corpus(self, corpus: Corpus) -> None:
        """Check the formats and rates of the rows. Raises InvalidArgument"""
        self._check_formats(pc.unique(corpus.table.column("format")).to_pylist(), corpus.root)
        if self.sample_rate is not None:
            for rate in pc.unique(corpus.table.column("sample_rate")).to_pylist():
                if rate * _MAX_RATIO < self.sample_rate or self.sample_rate * _MAX_RATIO < rate:
                    raise InvalidArgument(
                        f"{corpus.root} has recordings at {rate} Hz, which cannot become {self.sample_rate} Hz: "
                        "pass another sample_rate=, or leave them out with filter="
                    )

    def _plan(self, corpus: Corpus, i: int, draw: torch.Generator | None = None) -> Cut:
        """The frames to read; draws the crop. Raises MalformedManifest"""
        return cut_of(read_row(corpus, i), self.sample_rate, self.num_frames, self.crop, draw)

    def _piece(self, corpus: Corpus, i: int, plan: Cut) -> Piece | None:
        """Their bytes; None in a large compressed file. Raises MalformedManifest"""
        return piece_of(corpus, i, plan.row, plan.start, plan.frames)

    def _fetch(self, corpus: Corpus, plan: Cut, piece: Piece) -> memoryview:
        """Those bytes, by themselves. Raises as `Corpus.read`."""
        return fetch_piece(corpus, plan.row, piece)

    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, plan: Cut) -> Sample:
        """The sample from them. Raises UndecodableMedia"""
        begun = time.perf_counter()
        sample = sample_of(plan, decode_piece(corpus, plan.row, piece, data, plan.start, plan.frames))
        self._tally.seconds_decode += time.perf_counter() - begun
        return sample

    def _read_large(self, corpus: Corpus, i: int, plan: Cut) -> Sample:
        """The sample from a large compressed file. Raises UndecodableMedia, and as `Corpus.read`."""
        with open_object(corpus, i, plan.row) as file:
            begun = time.perf_counter()
            sample = sample_of(plan, decode_object(corpus, i, plan.row, file, plan.start, plan.frames))
            self._tally.seconds_decode += time.perf_counter() - begun - file.seconds
        return sample


class EncryptedAudioDataset(AudioRows, EncryptedDataset[Sample]):
    """Recordings of one sealed corpus or several, decrypted in memory as they are asked for.

    `ds[i]` is a `Sample`, or what `map` makes of it. A dataset never changes under its reader; `refresh` opens the
    current rows. DataLoader workers get it under fork, spawn and forkserver without another call to the KMS. Any other
    pickle carries references and no keys.
    """

    _content = "waveform"
    _metadata = Metadata

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
        sample_rate: int | None = None,
        num_frames: int | None = None,
        crop: str = "random",
        transform: Callable[[Tensor], Tensor] | None = None,
        map: Callable[[Sample], Any] | None = None,
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
        """Open one corpus or several, whose rows follow each other in the order given.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL; or a list of these.
            kms: KMS URIs that are trusted to unwrap the corpus keys. None: from the config.
            pin: which corpora are meant, as `securedata info` prints them. None: from the config.
            role: ARN of a role to assume for reading, under a policy cut to the corpus. None: from the config.
            filter: a pyarrow expression over the manifest's columns. Rows that it leaves out cannot be decrypted. A
                pickle holds it unchanged, names of people included.
            speaker: only these speakers, each of whom must be in one of the corpora. Pickles never hold their names.
            split: only these splits, likewise.
            duration: (shortest, longest) in seconds, both included; None for no limit.
            sample_rate: resample to this rate in Hz, by soxr. None: each recording has its own.
            num_frames: cut longer recordings to this many frames, counted after resampling; shorter ones stay as
                they are. Only what the cut needs is fetched and decrypted, where the format allows it.
            crop: 'random' or 'start'. Random ones are drawn from torch's generator; in the batches of a worker, from
                one for each batch, which follows from the worker's seed and how many batches came before.
            transform: called with the waveform, in the process that reads it.
            map: called last, with the Sample; its result replaces the Sample. As `ds.map(function)`.
            on_error: 'raise', or 'replace': in a loader's batches the next readable row replaces a sample that is not
                audio, whose object is missing, or whose row is gone. What fails authentication always raises.
            on_erased: the same for the recordings of people who were erased since the corpus was opened, or whose
                erasure met a hold.
            on_gone: 'raise', 'replace' or 'skip', for recordings that may no longer be read: since the corpus was
                opened their person was erased, their consent has ended, or their row was replaced or removed. 'skip'
                makes a batch shorter; a batch of such recordings alone has one other in their place. None: `on_erased`
                and `on_error` decide, and consent that has ended raises `ConsentExpired`.
            purpose: what the recordings are read for, such as 'asr'; None: from the config. Recordings without consent
                to it are left out, and with or without it those whose consent has ended: `stats()` counts them.
            ttl: seconds that the keys can be used before the KMS is asked again.
            kms_wait: seconds that a read then waits for a KMS that does not answer.
            refresh: an unpickled copy can open newer rows than this dataset was made from.
            accept_generation: read a head of this generation only, even if this machine has seen a newer one: the
                corpus is a copy or a backup. It holds for this dataset, its workers and its pickles. For several
                corpora a list, with None for those that are current.
            cache: a folder on a local disk in which sealed objects are kept, for all processes of this host; 'off' for
                none. None: from the config or SECUREDATA_CACHE. See docs/cache.md.
            cache_size: bytes that it takes at most, such as '200GB'. None: from the config or SECUREDATA_CACHE_SIZE,
                else 10 GB.

        Raises:
            InvalidArgument: options that make no sense; a speaker or split that none of the corpora has.
            ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

        Example:
            ds = sd.EncryptedAudioDataset("voice-a", speaker="ann", sample_rate=8_000, num_frames=4_000)
            print(len(ds), ds[0].waveform.shape)  # float32 [channels, frames]
        """
        self._choose(sample_rate, num_frames, crop)
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

    def get_metadata(self, index: SupportsIndex) -> Metadata:
        """What `ds[i]` holds besides the audio, the logical path first; nothing is fetched or decrypted.

        Raises:
            IndexError
        """
        found: Metadata = super().get_metadata(index)
        return found if self.sample_rate is None else found._replace(sample_rate=self.sample_rate)

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: the frames of each waveform, after resampling and cropping, before `transform`."""
        self.check_rows()
        return self._rows.once((self.sample_rate, self.num_frames), self._compute_lengths)

    def _compute_lengths(self) -> Tensor:
        frames = np.concatenate([_frames(corpus.table, self.sample_rate) for corpus in self.corpora])
        return torch.from_numpy(frames if self.num_frames is None else np.minimum(frames, self.num_frames))


def _frames(table: pa.Table, sample_rate: int | None) -> Integers:
    """The frames of each row at a rate in Hz; None: at its own."""
    frames: Integers = frames_of(table.column).to_numpy().astype(np.int64)
    if sample_rate is None:
        return frames
    return resampled_lengths(frames, table.column("sample_rate").to_numpy().astype(np.int64), sample_rate)


def _natural(name: str, value: int | None, most: int) -> int | None:
    return None if value is None else as_whole(name, value, 1, most)
