"""Counters of what this process has read from a corpus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Since the corpus was opened, or since this process was forked. Seconds are those of the calling threads.

    Attributes:
        unwraps: calls to the KMS.
        objects: objects read, whole or in part.
        bytes: of plaintext.
        seconds_fetch: waiting for data from storage.
        seconds_decrypt: decrypting and checking.
        seconds_wait: waiting for keys, backing off between retries, and finding out why an object is missing.
        cache_hits: ranges read from the cache of sealed objects.
        cache_misses: those that it did not have.
        cache_bytes: sealed bytes read from it.
    """

    unwraps: int = 0
    objects: int = 0
    bytes: int = 0
    seconds_fetch: float = 0.0
    seconds_decrypt: float = 0.0
    seconds_wait: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
