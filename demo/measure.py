"""How fast the recordings are sealed and opened: one core, from memory to memory, file by file as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import securedata as sd
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal

MOST_BYTES = 256_000_000
ROUNDS = 3


@dataclass(frozen=True)
class Rates:
    files: int
    bytes: int
    seal: float  # bytes a second
    decrypt: float
    fetch_share: float  # of the time of a read from the store


def measure(corpus: sd.Corpus, source: Path, paths: Sequence[str]) -> Rates:
    """Seal the source files and read their objects, `paths` being their logical paths; the best of three rounds each.

    The readers' own counters tell decryption from fetching. Everything is read once before, so disks play no part.
    """
    plaintexts, total = [], 0
    for path in paths:
        plaintexts.append((source / path).read_bytes())
        total += len(plaintexts[-1])
        if total >= MOST_BYTES:
            break
    rows = [corpus.find(path) for path in paths[: len(plaintexts)]]
    buffer = bytearray(max(map(len, plaintexts)))
    sealing, opening, fetching = [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for plaintext in plaintexts:
            seal(Header(Kind.DATA, corpus.corpus_id, os.urandom(16)), os.urandom(32), plaintext)
        sealing.append(time.perf_counter() - began)
        before = corpus.counters.seconds_decrypt, corpus.counters.seconds_fetch
        for row in rows:
            corpus.read_into(row, buffer)
        opening.append(corpus.counters.seconds_decrypt - before[0])
        fetching.append(corpus.counters.seconds_fetch - before[1])
    best = min(opening)
    return Rates(len(rows), total, total / min(sealing), total / best, min(fetching) / (min(fetching) + best))
