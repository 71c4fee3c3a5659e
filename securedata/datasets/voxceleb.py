"""VoxCeleb 1, as `torchaudio.datasets.VoxCeleb1Identification` reads it."""

from __future__ import annotations

import os
from typing import Any, Unpack

import pyarrow as pa

from securedata.datasets.base import DropIn, Options, Order, Root, by_path, matches
from securedata.errors import InvalidArgument
from securedata.torch.sample import Metadata, Sample, Waveform

_SUBSETS = ("train", "dev", "test")
_LIST = "iden_split.txt"
_URL = f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{_LIST}"

Item = tuple[Waveform, int, int, str]


class VoxCeleb1Identification(DropIn[Item]):
    """VoxCeleb 1 for telling who speaks; `ds[n]` is (waveform, sample_rate, speaker, file id), the speaker an int."""

    def __init__(
        self,
        root: Root,
        subset: str = "train",
        meta_url: str = _URL,
        download: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Open one subset of a sealed VoxCeleb 1.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            subset: 'train', 'dev' or 'test', by iden_split.txt, which must have been sealed with the corpus.
            meta_url: the address of that list; nothing is fetched from it, and another list is refused.
            download: refused, since it would write plaintext.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: no such subset, or the corpus has no recording of it.
            as `EncryptedAudioDataset`
        """
        if subset not in _SUBSETS:
            raise InvalidArgument(f"subset= must be one of {', '.join(_SUBSETS)}, not {subset!r}")
        if os.path.basename(meta_url) != _LIST:
            raise InvalidArgument(
                f"meta_url= names another list than {_LIST}, which 'securedata encrypt' reads: save the list under "
                "this name beside the recordings, and encrypt them again"
            )
        where = matches(rf'"identification":"{subset}"', "extra")
        super().__init__(root, where, f"recordings of {subset}, by an {_LIST} sealed with them", download, options)

    def _order(self, rows: pa.Table) -> Order:
        return by_path(rows, "utterance")

    def _place(self, path: str) -> str:
        return "/".join(path.split("/")[-3:])

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        speaker = about.utterance.partition("/")[0]
        return first, about.sample_rate, int(speaker[3:]), about.utterance.replace("/", "-")
