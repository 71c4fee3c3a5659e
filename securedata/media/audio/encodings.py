"""Sample encodings, under libsndfile's names, and the arrays that they become."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""[frames, channels] in [-1, 1]."""

SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
"""Those in which every frame has the same number of bytes, with their bytes per sample."""
