"""LibriSpeech, as `torchaudio.datasets.LIBRISPEECH` reads it."""

from __future__ import annotations

from typing import Any, Unpack

import pyarrow as pa

from securedata.datasets.base import DropIn, Options, Order, Root
from securedata.datasets.books import PARTS, in_order, part_of, stem_of
from securedata.errors import InvalidArgument
from securedata.torch.sample import Metadata, Sample, Waveform

Item = tuple[Waveform, int, str, int, int, int]


class LIBRISPEECH(DropIn[Item]):
    """LibriSpeech; `ds[n]` is (waveform, sample_rate, transcript, speaker, chapter, utterance), the last three int."""

    def __init__(
        self,
        root: Root,
        url: str = "train-clean-100",
        folder_in_archive: str = "LibriSpeech",
        download: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Open one part of a sealed LibriSpeech.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            url: the part, such as 'dev-clean'; the corpus may hold others.
            folder_in_archive: the folder of the parts in the corpus, if it holds several such folders.
            download: refused, since it would write plaintext.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: no such part, or the corpus has no recording of it.
            as `EncryptedAudioDataset`
        """
        if url not in PARTS:
            raise InvalidArgument(f"invalid url {url!r}: choose one of {', '.join(PARTS)}")
        self._url, self._folder = url, folder_in_archive
        super().__init__(root, part_of(url, r"\d+-\d+-\d+"), f"recordings of {url}", download, options)

    def _order(self, rows: pa.Table) -> Order:
        return in_order(rows, self._folder)

    def _place(self, path: str) -> str:
        name = path.rpartition("/")[2]
        speaker, chapter, _ = name.split("-")
        return f"{self._url}/{speaker}/{chapter}/{name}"

    def _walk(self, path: str, about: Metadata) -> str:
        return stem_of(path)

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        speaker, chapter, utterance = about.utterance.split("-")
        return first, about.sample_rate, about.transcript, int(speaker), int(chapter), int(utterance)
