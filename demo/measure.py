"""How fast recordings are sealed and opened, and where the time of a sample goes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import securedata as sd
from demo.train import TimedLogMel
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal

MOST_BYTES = 256_000_000
MOST_SAMPLES = 2000
ROUNDS = 3


@dataclass(frozen=True)
class Rates:
    files: int
    bytes: int
    seal: float  # bytes per second, on one core, from memory to memory
    decrypt: float


def rates(corpus: sd.Corpus) -> Rates:
    """Seal the recordings in memory, and read their objects. The best of three rounds counts for each.

    The reader's own counters separate decryption from fetching.
    """
    sizes = corpus.table.column("size").to_pylist()
    rows = range(0, len(sizes), -(-sum(sizes) // MOST_BYTES))
    plaintexts = [corpus.read(row) for row in rows]
    total = sum(map(len, plaintexts))
    buffer = bytearray(max(map(len, plaintexts)))
    sealing, opening = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for plaintext in plaintexts:
            seal(Header(Kind.DATA, corpus.corpus_id, os.urandom(16)), os.urandom(32), plaintext)
        sealing.append(time.perf_counter() - began)
        before = corpus.counters.seconds_decrypt
        for row in rows:
            corpus.read_into(row, buffer)
        opening.append(corpus.counters.seconds_decrypt - before)
    return Rates(len(rows), total, total / min(sealing), total / min(opening))


def shares(dataset: sd.EncryptedAudioDataset, features: TimedLogMel, rows: Sequence[int]) -> dict[str, float]:
    """Where the time of `dataset[row]` goes, in this process; the shares add up to one.

    The fastest of three rounds counts, because other work disturbed it least.
    """
    counters = dataset.corpora[0].counters

    def clocks() -> tuple[float, ...]:
        return time.perf_counter(), counters.seconds_fetch, counters.seconds_decrypt, features.seconds

    rounds = []
    for _ in range(ROUNDS):
        before = clocks()
        for row in rows[:MOST_SAMPLES]:
            dataset[row]
        rounds.append([after - start for after, start in zip(clocks(), before, strict=True)])
    total, *parts = min(rounds)
    named = dict(zip(("read the store", "decrypt", "log-mel"), parts, strict=True))
    named["look up, decode"] = total - sum(parts)
    return {name: seconds / total for name, seconds in named.items()}
