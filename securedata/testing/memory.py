"""Storage in memory with a clock that tests can set: a fake that passes the storage contract."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from securedata.errors import AlreadyExists, LimitExceeded, NotFound, PreconditionFailed, SecuredataError
from securedata.storage.base import Buffer, Entry, Purged, Storage
from securedata.storage.purging import check_by_probe, purge_previous


class MemoryStorage(Storage):
    """All objects in one dict; `clock` is storage's time, in seconds."""

    unversioned = True

    def __init__(self, url: str = "memory://corpus", clock: float = 1_000_000.0) -> None:
        self.url = url
        self.clock = clock
        self.objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: str, limit: int | None = None) -> bytes:
        try:
            data = self.objects[key][0]
        except KeyError:
            raise NotFound(f"{key} of {self.url} does not exist", root=self.url) from None
        if limit is not None and len(data) > limit:
            raise LimitExceeded(f"{key} of {self.url} has {len(data)} bytes, above the limit of {limit}", root=self.url)
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        data = self.get(key)
        return [data[offset : offset + length] for offset, length in ranges]

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        data = self.get(key, limit)
        return data, hashlib.sha256(data).hexdigest()

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        data = b"".join(pieces)
        with self._lock:
            if key in self.objects:
                raise AlreadyExists(f"{key} of {self.url} exists already", root=self.url)
            self.objects[key] = (data, self.clock)
            return self.clock

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        with self._lock:
            current = self.objects.get(key)
            if (None if current is None else hashlib.sha256(current[0]).hexdigest()) != version:
                raise PreconditionFailed(f"{key} of {self.url} changed since it was read", root=self.url)
            self.objects[key] = (bytes(data), self.clock)

    def make_durable(self) -> None:
        """Do nothing: nothing in memory survives a power cut."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for key, (data, time) in list(self.objects.items()):
            if key.startswith(prefix):
                yield Entry(key, len(data), time)

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(key, None)

    def check_deletable(self) -> None:
        check_by_probe(self)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        for key in keys:
            with self._lock:
                there = self.objects.pop(key, None) is not None
            yield key, Purged(int(there))

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        return purge_previous(self, key, is_older, limit)

    def now(self) -> float:
        return self.clock

    def check_writable(self, single_writer: bool = False) -> None:
        """Do nothing: conditional puts are honoured."""
