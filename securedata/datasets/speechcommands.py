"""Speech Commands, as `torchaudio.datasets.SPEECHCOMMANDS` reads it."""

from __future__ import annotations

import os
from typing import Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.datasets.base import DropIn, Options, Order, Root, by_line, by_path, matches, re_escape, within
from securedata.errors import InvalidArgument
from securedata.torch.sample import Metadata, Sample, Waveform

_SUBSETS = ("training", "validation", "testing")
_RELEASES = ("speech_commands_v0.01", "speech_commands_v0.02")
_NAME = "_nohash_"

Item = tuple[Waveform, int, str, str, int]


class SPEECHCOMMANDS(DropIn[Item]):
    """Speech Commands; `ds[n]` is (waveform, sample_rate, label, speaker, utterance number), the last an int."""

    def __init__(
        self,
        root: Root,
        url: str = "speech_commands_v0.02",
        folder_in_archive: str = "SpeechCommands",
        download: bool = False,
        subset: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Open a sealed Speech Commands.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            url: the release; the corpus may hold others. If its folder was sealed by itself, this is only what paths
                begin with.
            folder_in_archive: the folder of the releases in the corpus, if it holds several such folders.
            download: refused, since it would write plaintext.
            subset: 'training', 'validation' or 'testing', by the lists beside the words; None: all.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: no such subset, or the corpus has no recording of it.
            as `EncryptedAudioDataset`
        """
        if subset is not None and subset not in _SUBSETS:
            raise InvalidArgument(f"subset= must be None or one of {', '.join(_SUBSETS)}, not {subset!r}")
        self._release = os.path.basename(url)
        if url not in _RELEASES:
            self._release = self._release.rsplit(".", 2)[0]
        self._folder, self._subset = folder_in_archive, subset
        self._archive = os.path.join(os.fspath(root), folder_in_archive)
        where = matches(rf"(^|/)[^/]+/[^/]*{_NAME}\d+[^/]*$") & ~matches("_background_noise_")
        where &= matches(f"(^|/){re_escape(self._release)}/") | ~matches(r"(^|/)speech_commands_v\d[^/]*/")
        if subset is not None:
            where &= pc.field("split") == subset
        what = "recordings of Speech Commands" if subset is None else f"recordings with the split {subset}"
        super().__init__(root, where, what, download, options)

    def _order(self, rows: pa.Table) -> Order:
        taken = within(rows, self._folder)
        rows = rows.take(taken)
        # torchaudio reads validation and testing in the order of their lists
        listed = self._subset in ("validation", "testing")
        order = by_line(rows, r'"line":"?(?P<n>\d+)') if listed else by_path(rows)
        found: Order = taken.to_numpy().astype(np.int64)[order]
        return found

    def _place(self, path: str) -> str:
        return "/".join([self._release, *path.split("/")[-2:]])

    def _walk(self, path: str, about: Metadata) -> str:
        return os.path.join(self._archive, self._place(path))

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        speaker, _, number = about.utterance.partition(".")[0].partition(_NAME)
        return first, about.sample_rate, about.transcript, speaker, int(number)
