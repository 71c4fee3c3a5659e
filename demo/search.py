"""Search every byte of a folder for names, texts and audio.

Needles are hashed into a table by their first eight bytes. Every offset of every file is looked up in it, and hits are
compared in full, so that one pass searches for a hundred thousand needles. Needles of less than eight bytes would occur
in random bytes by chance; they are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PREFIX = 8
RUN = 16  # bytes of a source file's audio: of PCM, eight samples of 16 bits
MOST_RUNS = 100_000
BLOCK = 1 << 20
TABLE_BITS = 26
MIXER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the top bits of the product depend on all bits of the prefix


@dataclass
class Found:
    """The result of a search: how many distinct needles were seen, by kind."""

    files: int = 0
    bytes: int = 0
    seen: dict[str, int] = field(default_factory=dict)


class Needles:
    """A set of byte strings of at least eight bytes, by kind, to be found at any offset."""

    def __init__(self, kinds: dict[str, Iterable[bytes]]) -> None:
        self.kinds = list(kinds)
        unique: dict[bytes, int] = {}
        self.counts = dict.fromkeys(kinds, 0)
        self.too_short = dict.fromkeys(kinds, 0)
        for number, (kind, needles) in enumerate(kinds.items()):
            for needle in set(needles):
                if len(needle) < PREFIX:
                    self.too_short[kind] += 1
                elif needle not in unique:
                    unique[needle] = number
                    self.counts[kind] += 1
        self.needles = sorted(unique, key=lambda needle: int.from_bytes(needle[:PREFIX], "little"))
        self.kind_of = np.array([unique[needle] for needle in self.needles], np.int64)
        heads = np.frombuffer(b"".join(needle[:PREFIX] for needle in self.needles), "<u8")
        self.prefixes, first = np.unique(heads, return_index=True)
        self.first = np.append(first, len(heads))  # the needles of prefix i are first[i] to first[i + 1]
        self.table = np.zeros(1 << TABLE_BITS, bool)
        self.table[_slots(self.prefixes)] = True

    def search(self, files: Iterable[Path], folder: Path) -> Found:
        """Search the bytes of the files, and their paths relative to `folder`."""
        found, seen = Found(), np.zeros(len(self.needles), bool)
        wanted = np.ones(len(self.prefixes), bool)  # by prefix: is any of its needles still unseen?
        for path in files:
            data = path.read_bytes()
            found.files += 1
            found.bytes += len(data)
            self._search(data, seen, wanted)
            name = path.relative_to(folder) if path.is_relative_to(folder) else path
            self._search(name.as_posix().encode() + bytes(PREFIX), seen, wanted)
        numbers = self.kind_of[seen]
        found.seen = {kind: int(np.count_nonzero(numbers == number)) for number, kind in enumerate(self.kinds)}
        return found

    def _search(self, data: bytes, seen: np.ndarray, wanted: np.ndarray) -> None:
        for start in range(0, max(len(data) - PREFIX + 1, 0), BLOCK):
            piece = data[start : start + BLOCK + PREFIX - 1]
            for phase in range(PREFIX):
                words = np.frombuffer(piece, "<u8", count=(len(piece) - phase) // PREFIX, offset=phase)
                offsets = np.flatnonzero(self.table[_slots(words)])
                prefixes = np.searchsorted(self.prefixes, words[offsets]).clip(max=len(self.prefixes) - 1)
                hits = (self.prefixes[prefixes] == words[offsets]) & wanted[prefixes]
                for offset, prefix in zip(offsets[hits].tolist(), prefixes[hits].tolist(), strict=True):
                    if not wanted[prefix]:
                        continue
                    at = start + phase + offset * PREFIX
                    group = range(self.first[prefix], self.first[prefix + 1])
                    for index in group:
                        seen[index] |= data.startswith(self.needles[index], at)
                    wanted[prefix] = not seen[group.start : group.stop].all()


def _slots(words: np.ndarray) -> np.ndarray:
    return ((words * MIXER) >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def audio_runs(files: Sequence[Path]) -> tuple[list[bytes], int]:
    """Runs of 16 bytes from the files' audio, one from every `stride` bytes of each file; and the stride.

    Any stretch of `stride + 15` bytes of a source file would be found, wherever it was in the store. Runs with fewer
    than eight different bytes (silence) are left out, because padding looks like them.
    """
    total = sum(path.stat().st_size for path in files)
    stride = max(1024, -(-total // MOST_RUNS // RUN) * RUN)
    runs = []
    for path in files:
        data = path.read_bytes()
        for start in range(min(64, max(len(data) - RUN, 0)), len(data) - RUN + 1, stride):
            run = data[start : start + RUN]
            if len(set(run)) >= 8:
                runs.append(run)
    return runs, stride


def entropy(counts: np.ndarray) -> float:
    """Bits per byte of a histogram of the 256 byte values: 8.0 if all are equally frequent."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def histogram(files: Iterable[Path]) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for path in files:
        counts += np.bincount(np.frombuffer(path.read_bytes(), np.uint8), minlength=256)
    return counts
