"""VCTK 0.92, as `torchaudio.datasets.VCTK_092` reads it."""

from __future__ import annotations

from typing import Any, Unpack

import pyarrow as pa
import pyarrow.compute as pc

from securedata.datasets.base import DropIn, Options, Order, Root, by_path, matches, re_escape, written
from securedata.errors import InvalidArgument
from securedata.torch.sample import Metadata, Sample, Waveform

_MICS = ("mic1", "mic2")
_URL = "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip"

Item = tuple[Waveform, int, str, str, str]


class VCTK_092(DropIn[Item]):
    """VCTK 0.92; `ds[n]` is (waveform, sample_rate, transcript, speaker, utterance), the last without the speaker.

    As in torchaudio, speaker p280 is left out for mic2, and recordings without words are, too. One that lacks only the
    recording, where torchaudio raises, is not there.
    """

    def __init__(
        self,
        root: Root,
        mic_id: str = "mic2",
        download: bool = False,
        url: str = _URL,
        audio_ext: str = ".flac",
        **options: Unpack[Options],
    ) -> None:
        """Open a sealed VCTK.

        Args:
            root: the sealed corpus: a name from the config, `securedata://NAME`, a path or a URL.
            mic_id: 'mic1' or 'mic2'.
            download: refused, since it would write plaintext.
            url: not used.
            audio_ext: the suffix of the recordings, if the corpus was converted.
            options: of `EncryptedAudioDataset`, such as kms=, pin=, role=, purpose=, sample_rate=.

        Raises:
            InvalidArgument: no such microphone, or the corpus has no recording of it.
            as `EncryptedAudioDataset`
        """
        if mic_id not in _MICS:
            raise InvalidArgument(f"mic_id= must be 'mic1' or 'mic2', not {mic_id!r}")
        where = matches(rf"(^|/)(p\d{{3}}|s5)_\d{{3}}_{mic_id}{re_escape(audio_ext)}$") & (pc.field("transcript") != "")
        if mic_id == "mic2":
            where &= ~matches(r"(^|/)p280_[^/]*$")
        super().__init__(root, where, f"recordings of {mic_id} with words", download, options)

    def _order(self, rows: pa.Table) -> Order:
        return by_path(rows)

    def _place(self, path: str) -> str:
        name = path.rpartition("/")[2]
        return f"wav48_silence_trimmed/{name.partition('_')[0]}/{name}"

    def _item(self, first: Any, about: Sample | Metadata, extra: dict[str, Any]) -> Item:
        speaker, _, utterance = about.utterance.partition("_")
        return first, about.sample_rate, written(about.transcript, extra), speaker, utterance
