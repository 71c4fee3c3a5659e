"""The work that is timed: opening objects and ranges with securedata, beside one-shot AES-GCM and memcpy.

Everything reads from memory and writes to one reused buffer, because the page faults of a new buffer cost more than
decryption. Only ranges return their bytes.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securedata.bench.units import size_name
from securedata.errors import SecuredataError
from securedata.format.header import Header, Kind
from securedata.format.ranges import open_range
from securedata.format.sealed import Expect, open_into, seal

Call = Callable[[], object]

SECUREDATA, AES_GCM, MEMCPY = METHODS = ("securedata", "aes_gcm", "memcpy")

_ROOT = "memory://bench"
_NONCE = bytes(12)  # safe here: each key below encrypts one made-up object
_WARM = 1 << 18  # bytes of small objects opened in turn: few enough to stay in a core's caches, like a fresh fetch
_PLACES = 64  # ranges of one object opened in turn


@dataclass(frozen=True, slots=True)
class Case:
    """Whole objects of `size` bytes, or ranges of `length` bytes in objects of `size` bytes."""

    size: int
    length: int | None = None

    @property
    def bytes(self) -> int:
        """Bytes of plaintext from one call."""
        return self.size if self.length is None else self.length

    @property
    def name(self) -> str:
        """For tables: `100 kB`, `16 kB of 16 MiB`."""
        return size_name(self.size) if self.length is None else f"{size_name(self.length)} of {size_name(self.size)}"


@dataclass(frozen=True, slots=True)
class Run:
    """How many calls one process made, and the wall-clock and CPU seconds that they took."""

    calls: int
    wall: float
    cpu: float


def memory_needed(cases: Iterable[Case]) -> int:
    """Roughly how many bytes a worker holds for these cases."""
    cases = list(cases)
    sealed = sum(size * _objects(size) for size in {case.size for case in cases})
    one_shot = sum(case.bytes * _objects(case.bytes) for case in cases)
    return sealed + one_shot + max(case.size for case in cases)


class Work:
    """The calls of every case and method, made once per process, each checked against the plaintext."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._out = memoryview(bytearray(max(case.size for case in cases)))
        self._places = random.Random(1)  # noqa: S311 - where ranges begin is not a secret
        self._calls: dict[tuple[Case, str], list[Call]] = {}
        self._whole: dict[int, list[tuple[Call, bytes, Expect, bytearray]]] = {}
        for case in cases:
            calls = self._ranges(case) if case.length is not None else self._objects(case.size)
            self._calls[case, SECUREDATA] = calls
            self._calls[case, AES_GCM] = self._one_shot(case.bytes)
            self._calls[case, MEMCPY] = self._copies(case.bytes, self._whole[case.size][0][3])

    def run(self, case: Case, method: str, start: float, end: float) -> Run:
        """Call from `start` until `end` (`time.monotonic`), at least once."""
        calls = self._calls[case, method]
        now = time.monotonic
        while now() < start:
            pass  # spin instead of sleeping, so that the core is awake when the clock starts
        count, cpu, begun = 0, time.process_time(), now()
        while True:
            for call in calls:
                call()
            count += len(calls)
            stop = now()
            if stop >= end:
                return Run(count, stop - begun, time.process_time() - cpu)

    def _objects(self, size: int) -> list[Call]:
        if size not in self._whole:
            self._whole[size] = [self._seal(size) for _ in range(_objects(size))]
        return [call for call, *_ in self._whole[size]]

    def _seal(self, size: int) -> tuple[Call, bytes, Expect, bytearray]:
        corpus_id, object_id, key, plain = os.urandom(16), os.urandom(16), os.urandom(32), os.urandom(size)
        sealed = seal(Header(Kind.DATA, corpus_id, object_id), key, plain)
        expect = Expect(Kind.DATA, corpus_id, object_id, _ROOT, len(sealed), size)
        call = partial(open_into, key, sealed, self._out, expect)
        call()
        _same(self._out[:size], plain)
        return call, key, expect, sealed

    def _ranges(self, case: Case) -> list[Call]:
        self._objects(case.size)
        _, key, expect, sealed = self._whole[case.size][0]
        view = memoryview(sealed)
        size = open_into(key, sealed, self._out, expect)

        def fetch(ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
            return [view[offset : offset + length] for offset, length in ranges]

        calls: list[Call] = []
        for _ in range(_PLACES):
            offset = self._places.randint(0, size - case.bytes)
            _same(open_range(key, fetch, offset, case.bytes, expect), self._out[offset : offset + case.bytes])
            calls.append(partial(open_range, key, fetch, offset, case.bytes, expect))
        return calls

    def _one_shot(self, size: int) -> list[Call]:
        calls: list[Call] = []
        for _ in range(_objects(size)):
            aead, plain = AESGCM(os.urandom(32)), os.urandom(size)
            target = self._out[:size]
            calls.append(partial(aead.decrypt_into, _NONCE, aead.encrypt(_NONCE, plain, None), None, target))
            calls[-1]()
            _same(target, plain)
        return calls

    def _copies(self, size: int, source: bytearray) -> list[Call]:
        copy = partial(self._out[:size].__setitem__, slice(None), memoryview(source)[:size])
        return [copy] * _objects(size)


def _objects(size: int) -> int:
    """How many objects of a size are opened in turn; more of small ones, so that the clock is read less often."""
    return max(1, min(32, _WARM // size))


def _same(found: bytearray | memoryview, plain: bytes | memoryview) -> None:
    if found != plain:
        raise SecuredataError("opening did not give back what was sealed: do not trust this installation with data")
