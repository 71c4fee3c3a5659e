"""`EncryptedAudioStream`: sealed recordings in a shuffled stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow.compute as pc
from torch import Tensor

from securedata.torch.base import Target
from securedata.torch.dataset import AudioRows
from securedata.torch.sample import Sample
from securedata.torch.select import Duration
from securedata.torch.stream.base import SHUFFLE, SealedStream


class EncryptedAudioStream(AudioRows, SealedStream[Sample]):
    """Recordings of one sealed corpus or several as an iterable dataset, shuffled, decrypted in memory as they come.

    For corpora that are too large to open whole: only the manifest parts are opened whose recordings a worker reads,
    objects are fetched ahead, and on packed corpora in ranges of about 8 MB. Every rank and every worker gets its own
    share, and a state of some 100 bytes continues an epoch exactly, with any other number of ranks and workers.
    """

    _content = "waveform"
    _any_file = False

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
        """Open the head of one corpus or several.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL; or a list of these.
            kms, pin, role: as in `EncryptedAudioDataset`.
            filter, speaker, split, duration: which rows, likewise; with one of them all manifest parts are read once.
            weights: how much of an epoch each corpus makes, relative to the others; an epoch has as many samples as
                all of them have rows, so a corpus can be cut short or come several times. None: every row once.
            seed: another seed gives other orders; it must be the same on every rank.
            shuffle: bytes of objects that each worker holds to shuffle them, of corpora in packs. More mixes better.
            uneven: when the ranks cannot have equally many samples: 'pad' gives some to two ranks, 'drop' leaves some
                out, fewer than there are ranks; both give others for rows that turn out closed. None: ranks may differ
                by one sample, and by such rows.
            rank, world: this process's number and how many there are; None: from torch.distributed, or torchrun.
            sample_rate, num_frames, crop: as in `EncryptedAudioDataset`.
            transform, map: called with the waveform, and last with the Sample, likewise.
            on_error, on_erased, on_gone: 'raise' or 'replace', the last also 'skip', likewise; another sample of the
                stream replaces one.
            purpose: what the recordings are read for, likewise.
            ttl, kms_wait: seconds, likewise.
            refresh: a copy that is unpickled elsewhere may open newer rows, and a state `with_objects` of an earlier
                generation is taken.
            accept_generation, cache, cache_size: as in `EncryptedAudioDataset`.

        Raises:
            InvalidArgument: options that make no sense; a speaker or split that none of the corpora has.
            ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

        Example:
            stream = sd.EncryptedAudioStream("voice-a", seed=1)
            for sample in stream:
                print(sample.waveform.shape)  # float32 [channels, frames]
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
