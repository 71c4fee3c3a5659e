"""What a dataset returns, as named tuples of this module: a worker cannot unpickle one made at run time."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

Waveform: TypeAlias = Tensor
"""float32 [channels, frames] in [-1, 1]."""


class Sample(NamedTuple):
    """One recording. Missing text is '', never None, because torch's `default_collate` fails on None.

    Attributes:
        waveform: float32 [channels, frames] in [-1, 1], or what the dataset's `transform` made of it.
        sample_rate: Hz.
        transcript, speaker, utterance: text of the manifest.
        extra: JSON text, whatever else the source held about it.
    """

    waveform: Tensor
    sample_rate: int
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:
        return _shape_of(self)


class FeatureSample(NamedTuple):
    """The features of one recording. Missing text is '', as in Sample.

    Attributes:
        features: float16 or float32 [channels, features, frames], or what the dataset's `transform` made of it.
        transcript, speaker, utterance: text of the manifest.
        extra: JSON text, whatever else the source of the recording held about it.
    """

    features: Tensor
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:
        return _shape_of(self)


class ByteSample(NamedTuple):
    """An object of any other media, as it was sealed. Missing text is '', as in Sample.

    Attributes:
        data: uint8 [bytes], or what the stream's `transform` made of it.
        transcript, speaker, utterance: text of the manifest.
        extra: JSON text, whatever else the source held about it.
    """

    data: Tensor
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:
        return _shape_of(self)


class Metadata(NamedTuple):
    """A Sample's fields with the logical path in place of the audio.

    Attributes:
        path: the logical path.
        sample_rate: Hz, of the waveform that the dataset would return, or that its features were computed from.
        transcript, speaker, utterance, extra: as in Sample.
    """

    path: str
    sample_rate: int
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:
        return _shape_of(self)


class Batch(NamedTuple):
    """Several recordings, padded at the end.

    Attributes:
        waveform: float32 [B, channels, T], zero beyond each recording's end.
        lengths: int64 [B], frames of each.
        sample_rate: Hz of each.
        transcript, speaker, utterance, extra: of each, as in Sample.
    """

    waveform: Tensor
    lengths: Tensor
    sample_rate: list[int]
    transcript: list[str]
    speaker: list[str]
    utterance: list[str]
    extra: list[str]

    def __repr__(self) -> str:
        return _shape_of(self)


class FeatureBatch(NamedTuple):
    """The features of several recordings, padded at the end.

    Attributes:
        features: float16 or float32 [B, channels, features, T], zero beyond each recording's end.
        lengths: int64 [B], frames of each.
        transcript, speaker, utterance, extra: of each, as in FeatureSample.
    """

    features: Tensor
    lengths: Tensor
    transcript: list[str]
    speaker: list[str]
    utterance: list[str]
    extra: list[str]

    def __repr__(self) -> str:
        return _shape_of(self)


def _shape_of(record: Any) -> str:
    """A repr without text or audio: a notebook saves what it shows."""
    fields = ", ".join(f"{name}={_shown(value)}" for name, value in zip(record._fields, record, strict=True))
    return f"{type(record).__name__}({fields})"


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, str):
        return f"<{len(value)} characters>"
    if isinstance(value, (list, tuple)):
        return f"<{len(value)} values>"
    return str(value) if isinstance(value, int) else f"<{type(value).__name__}>"
