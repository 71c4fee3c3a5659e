"""A stateless hash of numbers: what a stream draws follows from its seed, and from nothing that happened before."""

from __future__ import annotations

from typing import Any

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

_STEP = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def _mixed(x: Hashes) -> Hashes:
    # the finalizer of SplitMix64 (Steele, Lea, Flood 2014)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Hashes = x ^ (x >> np.uint64(31))
    return found


def key_of(*numbers: int) -> int:
    """A 64-bit key from whole numbers, whose order counts."""
    key = len(numbers)
    for one in numbers:
        key = int(_mixed(np.array([(key * _STEP + (one & _MASK) + _STEP) & _MASK], np.uint64))[0])
    return key


def hashes(key: int, numbers: np.ndarray[Any, np.dtype[Any]]) -> Hashes:
    """uint64 [N]: one hash for each number, under a key."""
    return _mixed(_mixed(numbers.astype(np.uint64) * np.uint64(_STEP) + np.uint64(key)))


def fractions(key: int, numbers: np.ndarray[Any, np.dtype[Any]]) -> Floats:
    """float64 [N] in [0, 1), from the upper 53 bits of the hash, so that every machine finds the same."""
    found: Floats = (hashes(key, numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found
