"""Encrypted speech corpora that are plaintext only in the memory of the process that trains on them.

Importing this package loads neither torch nor boto3: names are resolved at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securedata.corpus.opening import UnpinnedWarning, open_corpus
    from securedata.corpus.reader import Corpus
    from securedata.torch.collate import pad_collate
    from securedata.torch.combine import concat
    from securedata.torch.dataset import EncryptedAudioDataset
    from securedata.torch.load import load
    from securedata.torch.sample import Batch, Sample

__version__ = "0.1.0"

_HOME = {
    "Batch": "securedata.torch.sample",
    "Corpus": "securedata.corpus.reader",
    "EncryptedAudioDataset": "securedata.torch.dataset",
    "Sample": "securedata.torch.sample",
    "UnpinnedWarning": "securedata.corpus.opening",
    "concat": "securedata.torch.combine",
    "load": "securedata.torch.load",
    "open_corpus": "securedata.corpus.opening",
    "pad_collate": "securedata.torch.collate",
}

__all__ = [
    "Batch",
    "Corpus",
    "EncryptedAudioDataset",
    "Sample",
    "UnpinnedWarning",
    "concat",
    "load",
    "open_corpus",
    "pad_collate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'securedata' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
