"""The storage interface: what a corpus needs from the place that holds its objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from securedata.errors import DeleteRefused, NoObjectLock, NotFound, SecuredataError

if TYPE_CHECKING:
    from securedata.storage.legal_holds import LegalHolds

Buffer: TypeAlias = bytes | bytearray | memoryview

BATCH_BYTES = 512 * 1024
"""Bytes that `Storage.get_batches` yields together."""

PARTIAL = "go on with --partial, and the receipt says so"
NO_VERSIONS = f"this storage cannot show older versions, so nothing proves that they are gone: {PARTIAL}"
"""What an error says of a storage that does not list versions."""

MAX_REPLACED = 128 * 1024 * 1024
"""The most bytes that `replace` reads of the content it replaces: twice the limit of a head."""
CLOCK_SLACK = 60.0
"""Seconds by which the clocks of one storage may differ. The time of a put that is derived from another answer is moved
this much earlier, so that it is never later than the time in a listing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored key, as a listing shows it.

    Attributes:
        time: seconds since the epoch, by storage's own clock.
        version: storage's own name for this content, such as an ETag; '' if the listing has none.
    """

    key: str
    size: int
    time: float
    version: str = ""


class Purged(NamedTuple):
    """What `purge` deleted of one key, and has listed as gone.

    `versions`: its contents and delete markers, temporary files included; 0 if the key was not there.
    """

    versions: int


class Wanted(NamedTuple):
    """A range of one object to fetch: `length` bytes from `offset`, or fewer where the object ends.

    `least`: the fewest bytes that an intact object yields; a network storage retries if it gets fewer.
    `within`: offset and length, under the key, of the object that it is a range of, for a cache; None: not known.
    """

    key: str
    offset: int
    length: int
    least: int = 0
    within: tuple[int, int] | None = None


Group: TypeAlias = "list[tuple[int, Buffer | SecuredataError]]"
"""Ranges that arrived together, each with its position among those that were wanted."""


class Download:
    """Ranges on their way, for the thread and the process that started it.

    All `groups` must be taken, or the download cancelled.
    """

    def __init__(
        self,
        groups: Iterator[Group],
        poll: Callable[[], bool] | None = None,
        cancel: Callable[[], object] | None = None,
    ) -> None:
        """`groups`: waits for them; the others do nothing where nothing is on its way until then."""
        self.groups = groups
        self._poll, self._cancel = poll, cancel

    def poll(self) -> bool:
        """Receive what has arrived, without waiting; returns whether there is more to come by itself."""
        return self._poll is not None and self._poll()

    def cancel(self) -> None:
        """Abandon what has not been taken; nothing happens if there is nothing left."""
        if isinstance(self.groups, Generator):
            self.groups.close()
        if self._cancel is not None:
            self._cancel()


def previous_key(key: str) -> str:
    """Where `replace` keeps a key's previous content, on storage without versions."""
    return f"{key}.prev"


class Storage(ABC):
    """A flat set of keys under one root. Keys are `/`-separated and relative to the root.

    Every method maps failures to subclasses of StorageError. Objects and parts are written once, by
    `put_new`. Only `head` is ever replaced, by `replace`: the commit point.
    """

    url: str = ""
    checksums: bool = False
    """Whether `put_new` sends a checksum that the server verifies. If not, objects are read back after a put."""

    unversioned: bool = False
    """Whether it is known to keep no older versions of a key."""

    buffered: int = 0
    """The most bytes of one object that `put_new` holds in memory besides the piece that it is given."""

    parallel_puts: int = 1
    """Objects that `put_many` puts at once."""

    lost: int = 0
    """How often `make_durable` failed, or puts were lost otherwise. Puts from before a loss do not count as stored."""

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
        """Fetch many ranges. Yields each as it arrives, with its position in `wanted`, in any order.

        Failures are yielded, so that one object does not fail the others. At most `in_flight` bytes are under way at
        once; a range above that runs alone.
        """
        for at, one in enumerate(wanted):
            try:
                yield at, self.get_ranges(one.key, [(one.offset, one.length)])[0]
            except SecuredataError as error:
                yield at, error

    def get_batches(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[Group]:
        """Like `get_many`, in lists: a list ends once it holds `BATCH_BYTES` bytes, or with what has arrived so far.

        Opening a whole list before decoding any of it takes a quarter less time: a decoder empties the CPU caches.
        """
        group: Group = []
        size = 0
        for at, got in self.get_many(wanted, in_flight):
            group.append((at, got))
            size += 0 if isinstance(got, SecuredataError) else len(got)
            if size >= BATCH_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group

    def start(self, wanted: Sequence[Wanted], in_flight: int) -> Download:
        """Begin what `get_batches` does, and return at once. Storage over a network then makes progress at each `poll`;
        other storage reads when the groups are taken.

        Downloads of one thread share its connections and `in_flight`, counting what has arrived and was not taken.

        Raises:
            as `get_ranges`: nothing can be fetched.
        """
        return Download(self.get_batches(wanted, in_flight))

    def seconds_backing_off(self) -> float:
        """Seconds that this thread has waited to retry fetches, with none under way."""
        return 0.0

    @abstractmethod
    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        """The whole object and its version, for `replace`. Raises as `get` does."""

    @abstractmethod
    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        """Store an object under a key that does not exist. Returns the time that storage gives it, in seconds.

        Until `make_durable` returns, a power cut can lose it. A crash of the process never leaves a partial object
        under the key.

        Raises:
            AlreadyExists, AccessDenied, StorageUnreachable
        """

    def put_many(self, wanted: Iterable[tuple[str, Buffer]]) -> Iterator[tuple[int, float | SecuredataError]]:
        """Store whole objects of at most a few MB, as `put_new` does. Yields their positions and times, in any order.

        The next is taken from `wanted` while others are under way. Failures are yielded too.
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
            PreconditionFailed: its version is different; nothing was written.
            AccessDenied, StorageUnreachable: the outcome is unknown to the caller.
            OutcomeUnknown: it was replaced, but might not survive a power cut.
            CorpusBusy: another process held the lock for too long.
        """

    @abstractmethod
    def make_durable(self) -> None:
        """Once this returns, everything that this instance has put survives a power cut.

        Raises:
            StorageUnreachable: nothing put since the last call counts as stored, and `lost` is incremented. The caller
                must put what it still needs again, under new keys.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All keys that begin with `prefix`, in no particular order."""

    def deleted_keys(self, prefix: str = "", strict: bool = False) -> Iterator[str]:
        """Keys that have only older versions and delete markers left; none on storage without versions.

        Args:
            prefix: only keys that begin with it.
            strict: raise if storage does not list versions to us; otherwise there are then none.

        Raises:
            DeleteRefused: only if `strict`.
        """
        if strict and not self.unversioned:
            raise DeleteRefused(f"{self.url}: {NO_VERSIONS}", root=self.url)
        return iter(())

    def older(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        """Earlier contents of a key, as far as storage shows them: a name for people, and the whole content.

        Here that is the copy that `replace` may leave beside the key. Storage with versions yields those too.

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
        """Delete all versions of a key, as far as storage lets us. A missing key is not an error.

        For orphans and retired parts, which nobody needs to see gone. It does not check that anything is gone, and
        where versions are not listed to us it only hides the key under a delete marker. `purge` checks both.
        """

    def hide(self, key: str) -> None:  # noqa: B027 - where there are no versions
        """Put a delete marker over versions that may not be deleted, so that a plain GET finds nothing.

        Nothing happens where there are no versions, or if the key is hidden already.

        Raises:
            AccessDenied, StorageUnreachable
        """

    def check_deletable(self) -> None:
        """Check, before an erasure commits, that `purge` can delete: it deletes a probe with its versions.

        Raises:
            DeleteRefused: versions cannot be listed or deleted. The text names a probe that had to stay.
            AccessDenied, StorageUnreachable: the probe could not be put, or storage did not answer.
        """
        raise DeleteRefused(f"{self.url}: {NO_VERSIONS}", root=self.url)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        """Delete all versions and delete markers of many keys, and list that they are gone.

        Each deletion must be answered. Yields each key once, with what was deleted or with its error, in any order and
        as it goes; it takes a bounded number of keys at a time. What is already gone is no error, so a purge that was
        interrupted can be run again.

        Raises:
            DeleteRefused: storage does not list versions to us, or refuses all deletions.
            NotFound: the root or the bucket is missing.
            AccessDenied, StorageUnreachable: storage did not answer. Keys not yet yielded might not be deleted.
        """
        raise DeleteRefused(f"{self.url}: {NO_VERSIONS}", root=self.url)

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        """Delete the earlier contents of a key that `replace` writes, and list that they are gone.

        With versions: from the newest on, the first one whose content `is_older`, and all below it in storage's own
        order, delete markers included. Those above stay. Without: the copy that `replace` leaves, if it `is_older` or
        cannot be read, and temporary files of writers that were killed.

        Args:
            is_older: takes a whole content; it might not be a head at all. A lock may be held meanwhile.
            limit: the most bytes that a content may have.

        Returns:
            How many contents, delete markers and files were deleted.

        Raises:
            DeleteRefused: storage does not list, read or delete versions for us.
            PreconditionFailed: the current content `is_older`; nothing was deleted.
            LimitExceeded: a version is larger than `limit` bytes; nothing was deleted.
            StorageUnreachable: storage did not answer, or something is still there.
            CorpusBusy: another process held the lock for too long.
        """
        raise DeleteRefused(f"{self.url}: {NO_VERSIONS}", root=self.url)

    def legal_holds(self) -> LegalHolds:
        """Legal holds, which keep versions from being deleted. No request is made.

        Raises:
            NoObjectLock: this kind of storage has none.
        """
        raise NoObjectLock(
            f"{self.url}: only S3 with Object Lock can keep versions from being deleted, and this is no S3: hold "
            "without --object-lock, and see to it by other means that nobody deletes there",
            root=self.url,
        )

    @abstractmethod
    def now(self) -> float:
        """Storage's own clock, in seconds since the epoch."""

    def recent_time(self) -> float | None:
        """Storage's own clock, going by the last answer of `get_versioned`: no request is made.

        None: no answer gave a time, or the clock is this host's.
        """
        return None

    @abstractmethod
    def check_writable(self, single_writer: bool = False) -> None:
        """Check, before the first write, that storage honours conditional puts.

        Raises:
            UnsafeStorage: it does not, and `single_writer` is false.
        """
