"""Known corpora with torchaudio's classes: change the import, seal the corpus, and the rest of a program stays.

    from securedata.datasets import LIBRISPEECH

    ds = LIBRISPEECH("librispeech", url="dev-clean")
    waveform, sample_rate, transcript, speaker, chapter, utterance = ds[0]

Arguments, tuples, their order and `get_metadata` are torchaudio's. `root` is a sealed corpus, in any of the four
spellings: a name from the config, `securedata://NAME`, a path or a URL. `securedata encrypt` recognises these corpora;
seal the whole extracted tree, because its texts and lists are where words and subsets come from.
"""

from __future__ import annotations

from securedata.datasets.commonvoice import COMMONVOICE
from securedata.datasets.librispeech import LIBRISPEECH
from securedata.datasets.libritts import LIBRITTS
from securedata.datasets.ljspeech import LJSPEECH
from securedata.datasets.speechcommands import SPEECHCOMMANDS
from securedata.datasets.vctk import VCTK_092
from securedata.datasets.voxceleb import VoxCeleb1Identification

__all__ = [
    "COMMONVOICE",
    "LIBRISPEECH",
    "LIBRITTS",
    "LJSPEECH",
    "SPEECHCOMMANDS",
    "VCTK_092",
    "VoxCeleb1Identification",
]
