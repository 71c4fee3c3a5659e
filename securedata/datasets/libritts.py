"""LibriTTS, as `torchaudio.datasets.LIBRITTS` reads it."""

from __future__ import annotations

import os
from typing import Any, Unpack

import pyarrow as pa

from securedata.datasets.base import DropIn, Options, Order, Root, written
from securedata.datasets.books import in_order, part_of, stem_of
from securedata.torch.sample import Metadata, Sample, Waveform

Item = tuple[Waveform, int, str, str, int, int, str]


class LIBRITTS(DropIn[Item]):
    """LibriTTS; `ds[n]` is (waveform, sample_rate, original text, normalized text, speaker, chapter, utterance).

    Speaker and chapter are int. Each text is the first line, as it was written.
    """

    def __init__(
        self,
        root: Root,
        url: str = "train-clean-100",
        folder_in_archive: str = "LibriTTS",
        download: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Open one part of a sealed LibriTTS.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            url: the part, such as 'dev-clean', or the URL of its archive; the corpus may hold others.
            folder_in_archive: the folder of the parts in the corpus, if it holds several such folders.
            download: refused, since it would write plaintext.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: the corpus has no recording of the part.
            as `EncryptedAudioDataset`
        """
        self._part, self._folder = os.path.basename(url).split(".")[0], folder_in_archive
        where = part_of(self._part, r"\d+_\d+_\d+_\d+")
        super().__init__(root, where, f"recordings of {self._part}", download, options)

    def _order(self, rows: pa.Table) -> Order:
        return in_order(rows, self._folder)

    def _place(self, path: str) -> str:
        name = path.rpartition("/")[2]
        speaker, chapter, _ = name.split("_", 2)
        return f"{self._part}/{speaker}/{chapter}/{name}"

    def _walk(self, path: str, about: Metadata) -> str:
        return stem_of(path)

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        original = written(extra.get("original", about.transcript), extra, "original_")
        normalized = written(about.transcript, extra, "normalized_")
        speaker, chapter, _ = about.utterance.split("_", 2)
        return first, about.sample_rate, original, normalized, int(speaker), int(chapter), about.utterance
