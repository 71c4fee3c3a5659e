"""The storage interface: what a corpus needs of a place that keeps its objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from securedata.errors import NotFound, SecuredataError

Buffer: TypeAlias = bytes | bytearray | memoryview

BATCH_BYTES = 512 * 1024
"""Bytes that `Storage.get_batches` hands over together."""


MAX_REPLACED = 128 * 1024 * 1024
"""Bytes, at most, of what `replace` replaces: twice what a head may have, and what `replace` reads of it."""
CLOCK_SLACK = 60.0
"""Seconds by which clocks of one storage may differ: the time of a put, if it is made out from another answer, is taken
this much earlier, so that it is never later than what a listing says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored key, as a listing shows it.

    Attributes:
        time: seconds since the epoch, by storage's own clock.
        version: storage's own name for this content, such as an ETag; '' where a listing has none.
    """

    key: str
    size: int
    time: float
    version: str = ""


class Wanted(NamedTuple):
    """A range of one object to fetch: `length` bytes from `offset`, or fewer where the object ends.

    `least`: bytes that must come if the object is whole; with fewer a network storage asks again.
    """

    key: str
    offset: int
    length: int
    least: int = 0


def previous_key(key: str) -> str:
    """Where `replace` leaves what was under a key before, on storage that keeps no versions."""
    return f"{key}.prev"


class Storage(ABC):
    """A flat space of keys under one root. Keys are `/`-separated and relative to the root.

    Every method maps failures to the StorageError subclasses. Objects and parts are written once, by
    `put_new`; `head` is the only key that is ever replaced, by `replace`, the commit point.
    """

    url: str = ""
    checksums: bool = False
    """Does `put_new` send a checksum that the other side compares with what it received? Else what was put is read."""

    buffered: int = 0
    """Bytes of one object, at most, that `put_new` has in memory besides the piece that it is given."""

    parallel_puts: int = 1
    """Objects that `put_many` puts side by side."""

    lost: int = 0
    """How often `make_durable` has failed, or what was put was lost otherwise: what was put before does not count."""

    @abstractmethod
    def get(self, key: str, limit: int | None = None) -> Buffer:
        """The whole object.

        Raises:
            NotFound, AccessDenied, StorageUnreachable
            LimitExceeded: it is larger than `limit` bytes; nothing was read.
        """

    @abstractmethod
    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """The (offset, length) ranges of one object; shorter where the object ends.

        Raises:
            NotFound, AccessDenied, StorageUnreachable
        """

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Fetch many ranges, each yielded as it lands with its position in `wanted`, in any order.

        Failures are yielded, so that one object does not cost the others. At most `in_flight` bytes are under way at
        once; a larger one goes alone.
        """
        for at, one in enumerate(wanted):
            try:
                yield at, self.get_ranges(one.key, [(one.offset, one.length)])[0]
            except SecuredataError as error:
                yield at, error

    def get_batches(
        self, wanted: Sequence[Wanted], in_flight: int
    ) -> Iterator[list[tuple[int, Buffer | SecuredataError]]]:
        """`get_many` in lists of what has landed when it is asked for, `BATCH_BYTES` bytes at most and one more.

        To open them all before the first is decoded costs a quarter less than to open each after a decoder has swept
        the caches.
        """
        group: list[tuple[int, Buffer | SecuredataError]] = []
        size = 0
        for at, got in self.get_many(wanted, in_flight):
            group.append((at, got))
            size += 0 if isinstance(got, SecuredataError) else len(got)
            if size >= BATCH_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def seconds_backing_off(self) -> float:
        """Seconds that this thread has spent between the tries of its fetches, with none under way."""
        return 0.0

    @abstractmethod
    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        """The whole object and its version, for `replace`. Raises like `get`."""

    @abstractmethod
    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        """Store an object under a key that does not exist; returns storage's time of it, in seconds.

        Until `make_durable` returns, a power cut may lose it; a crash of the process never leaves a
        part of it under the key.

        Raises:
            AlreadyExists, AccessDenied, StorageUnreachable
        """

    def put_many(self, wanted: Iterable[tuple[str, Buffer]]) -> Iterator[tuple[int, float | SecuredataError]]:
        """Store whole objects, of a few MB at most, as `put_new` does; yields each one's time with its position.

        The next is taken from `wanted` while others are under way. Failures are yielded, in any order like the rest.
        """
        for at, (key, body) in enumerate(wanted):
            try:
                yield at, self.put_new(key, [body])
            except SecuredataError as error:
                yield at, error

    @abstractmethod
    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        """Replace an object if its version is still `version` (None: if it does not exist); durable on return.

        Raises:
            PreconditionFailed: it is not; nothing was written.
            AccessDenied, StorageUnreachable: the outcome is unknown to the caller.
            OutcomeUnknown: it was replaced, and might not survive a power cut.
            CorpusBusy: another process kept its lock.
        """

    @abstractmethod
    def make_durable(self) -> None:
        """Everything that this instance has put survives a power cut once this returns.

        Raises:
            StorageUnreachable: nothing of what was put since the last call counts as stored, and `lost` is one more;
                what the caller still needs it puts again, under new keys.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All keys that begin with `prefix`, in no particular order."""

    def deleted_keys(self) -> Iterator[str]:
        """Keys of which only older versions and delete markers are left; none where storage keeps no versions."""
        return iter(())

    def older(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        """What was stored under a key before, as far as storage shows it: a name for people, and the whole content.

        Here that is what `replace` leaves beside a key, where it does; storage that keeps versions has those as well.

        Raises:
            AccessDenied, StorageUnreachable
            LimitExceeded: one is larger than `limit` bytes.
        """
        try:
            yield previous_key(key), self.get(previous_key(key), limit)
        except NotFound:
            return

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete all versions of a key; a key that is not there is fine."""

    @abstractmethod
    def now(self) -> float:
        """Storage's own clock, in seconds since the epoch."""

    @abstractmethod
    def check_writable(self, single_writer: bool = False) -> None:
        """Called before the first write: are conditional puts honest here?

        Raises:
            UnsafeStorage: they are not, and the caller did not say `single_writer`.
        """
