"""Known corpora with torchaudio's classes: change the import, seal the corpus, and the rest of a program stays.

    from securedata.datasets import LIBRISPEECH

    ds = LIBRISPEECH("librispeech", url="dev-clean")
    waveform, sample_rate, transcript, speaker, chapter, utterance = ds[0]

Arguments, tuples, their order and `get_metadata` are torchaudio's. `root` is a sealed corpus, in any of the four
spellings: a name from the config, `securedata://NAME`, a path or a URL. `securedata encrypt` recognises these corpora;
seal the whole extracted tree, because its texts and lists are where words and subsets come from.
"""

from __future__ import annotations

from securedata.datasets.librispeech import LIBRISPEECH
from securedata.datasets.speechcommands import SPEECHCOMMANDS

__all__ = ["LIBRISPEECH", "SPEECHCOMMANDS"]
