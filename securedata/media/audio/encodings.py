"""Sample encodings, under libsndfile's names, and the arrays that they decode to."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""[frames, channels] in [-1, 1]."""

SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
"""Encodings in which all frames have the same number of bytes, with their bytes per sample."""


def is_header_wrong(format: str, subtype: str) -> bool:
    """Whether libsndfile might count frames from the header that it cannot read, or that it misses after a seek."""
    return format in ("PAF", "SDS") or subtype.startswith("DWVW")


_TELLS = ("AIFF", "AU", "CAF", "FLAC", "NIST", "RF64", "W64", "WAV", "WAVEX", "")  # '' is for what is not audio
_SAMPLE_BY_SAMPLE = (*SAMPLE_BYTES, "PCM_S8", "")


def hides_errors(format: str, subtype: str) -> bool:
    """Whether libsndfile might return fewer or other frames, without an error, if reading such a file fails.

    It reports an error for PCM and G.711 in the usual files, and for FLAC, which it calls PCM: there it seeks after
    each read, and notices. It decodes lossy and block-coded files as if they ended at the failure (see
    tests/corpus/objects/test_file_faults.py).
    """
    return format not in _TELLS or subtype not in _SAMPLE_BY_SAMPLE


_ENCODINGS = {
    "PCM_U8": "PCM_U",
    "FLOAT": "PCM_F",
    "DOUBLE": "PCM_F",
    "MPEG_LAYER_III": "MP3",
    "GSM610": "GSM",
}
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64} | {
    "ULAW": 8,
    "ALAW": 8,
    "DPCM_8": 8,
    "DPCM_16": 16,
    "DWVW_12": 12,
    "DWVW_16": 16,
    "DWVW_24": 24,
}


def encoding_of(format: str, subtype: str) -> str:
    """torchaudio's name of an encoding; libsndfile's or FFmpeg's if torchaudio had none for it."""
    if format == "FLAC":
        return "FLAC"
    return _ENCODINGS.get(subtype, "PCM_S" if subtype.startswith("PCM_") else subtype)


def bits_of(subtype: str) -> int:
    """Bits per sample; 0 if their number is not fixed."""
    return _BITS.get(subtype, 0)
