"""LJ Speech, as `torchaudio.datasets.LJSPEECH` reads it."""

from __future__ import annotations

import os
from typing import Any, Unpack

import pyarrow as pa
import pyarrow.compute as pc

from securedata.datasets.base import DropIn, Options, Order, Root, by_line, matches, re_escape
from securedata.torch.sample import Metadata, Sample, Waveform

_URL = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"

Item = tuple[Waveform, int, str, str]


class LJSPEECH(DropIn[Item]):
    """LJ Speech; `ds[n]` is (waveform, sample_rate, transcript, normalized transcript)."""

    def __init__(
        self,
        root: Root,
        url: str = _URL,
        folder_in_archive: str = "wavs",
        download: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Open a sealed LJ Speech.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            url: the release, with which the paths of `get_metadata` begin.
            folder_in_archive: the folder of the recordings.
            download: refused, since it would write plaintext.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: the corpus has no such recordings with words.
            as `EncryptedAudioDataset`
        """
        self._above = f"{os.path.basename(url).split('.tar.bz2')[0]}/{folder_in_archive}"
        where = matches(f"(^|/){re_escape(folder_in_archive)}/[^/]+$") & (pc.field("transcript") != "")
        super().__init__(root, where, f"recordings with words in a folder {folder_in_archive}", download, options)

    def _order(self, rows: pa.Table) -> Order:
        return by_line(rows, r'"line":"?(?P<n>\d+)')

    def _place(self, path: str) -> str:
        return f"{self._above}/{path.rpartition('/')[2]}"

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        original = extra.get("original", about.transcript)
        return first, about.sample_rate, original, extra.get("normalized", about.transcript)
