"""Corpora of features, sealed by the real writer from arrays made on the spot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from securedata.media.npy import FORMAT, subtype_of, to_npy
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip

Array = np.ndarray[Any, Any]


def array(frames: int = 12, bins: int = 5, channels: int = 1, dtype: str = "float16", seed: int = 0) -> Array:
    """[channels, bins, frames]."""
    return np.random.default_rng(seed).standard_normal((channels, bins, frames)).astype(dtype)


def features(path: str, content: Array, speaker: str = "ann", **columns: Any) -> Clip:
    """One row of features, as `retain` writes it."""
    described = {
        "format": FORMAT,
        "subtype": subtype_of(content),
        "sample_rate": 16_000,
        "channels": content.shape[0],
        "frames": content.shape[2] * 160,
        "feature_bins": content.shape[1],
        "feature_frames": content.shape[2],
        "derived_from": bytes(16),
        "computed_with": 1,
    }
    return Clip(path, to_npy(content), speaker, columns={**described, **columns})


def some_features() -> list[Clip]:
    """Three people, two dtypes, one or two channels, different lengths."""
    return [
        features("ann/0.wav.npy", array(12), transcript="eins"),
        features("ann/1.wav.npy", array(7, seed=1), extra='{"age": 40}'),
        features("bob/0.wav.npy", array(20, channels=2, dtype="float32", seed=2), speaker="bob", split="train"),
        features("eve/0.wav.npy", array(3, seed=3), speaker="eve", transcript="drei"),
    ]


def make_features(folder: Path, rows: Iterable[Clip] | None = None, name: str = "features-a", **options: Any) -> Root:
    """Make FOLDER/NAME with these rows (None: `some_features`) and its config entry."""
    return make_corpus(folder, some_features() if rows is None else rows, name, **options)
