"""The head of an opened corpus and the right to keep reading: opens the head, refuses older ones, renews the grant."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from securedata.corpus.config import Reference
from securedata.corpus.connection import Connection
from securedata.corpus.objects.counters import Counters
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, Seen, open_head, peek
from securedata.corpus.state.layout import HEAD, OBJECTS
from securedata.corpus.state.seen import recall_or_warn
from securedata.errors import (
    AccessDenied,
    CorpusGone,
    InvalidArgument,
    NotACorpus,
    NotFound,
    OlderGeneration,
    PartMissing,
    SupersededKey,
)
from securedata.keys.grant import Grant, Lease
from securedata.keys.pin import check_corpus
from securedata.storage.base import Buffer, Storage

_T = TypeVar("_T")


class HeadLease:
    """Opens the head of one corpus through the KMS, and holds the grant to read. Readers, writers and verify use it.

    It refuses a head that is older than one that this opening or others on this machine have seen: see `seen`.
    """

    holds: Callable[[], bool]
    """Is no renewal due? Set once the lease has begun."""
    heed: Callable[[], Callable[[Head], None] | None]
    """Returns what is to be called with the head of every renewal: a weak reference, which may lead to nothing.

    It raises PartMissing if it needs a part that storage does not have.
    """

    def __init__(
        self,
        reference: Reference,
        connection: Connection,
        ttl: float,
        kms_wait: float,
        *,
        accept_generation: int | None = None,
        seen: Mapping[bytes, Seen] | None = None,
    ) -> None:
        """Make no network request.

        Args:
            ttl, kms_wait: seconds, as `open_corpus` takes them.
            accept_generation: take a head of this generation, and no other, whatever this machine has seen.
            seen: by corpus id, what an earlier opening, which this one continues, has seen.
        """
        self.reference = reference
        self.root = reference.root
        self.connection = connection
        self.storage = connection.storage
        self.counters = Counters()
        self.by_hand = accept_generation is not None
        self._accept = accept_generation
        self._seen = dict(seen or {})
        self._ttl = ttl
        self._kms_wait = kms_wait
        self._lease: Lease | None = None
        self.heed = lambda: None

    @property
    def grant(self) -> Grant:
        """The current grant: what may be read, and until when."""
        assert self._lease is not None
        return self._lease.grant

    @property
    def seen(self) -> dict[bytes, Seen]:
        """By corpus id, the newest head that this opening has seen."""
        return dict(self._seen)

    def now(self) -> float:
        """The time in seconds, by this host's clock or storage's, whichever is later. No request is made."""
        if self._lease is not None:
            return self._lease.grant.now()
        return max(time.time(), self.storage.recent_time() or -math.inf)

    def open(self) -> OpenedHead:
        """Fetch and open the current head: one GET and one unwrap.

        It is not older than any that this opening or this machine has seen.

        Raises:
            CorpusGone, NotACorpus: there is no head.
            OlderGeneration, SupersededKey: a newer one was seen.
            InvalidArgument: it does not have the generation to accept.
            as `open_head`
        """
        return self._open(not self.by_hand)

    def _open(self, machine: bool) -> OpenedHead:
        seen = self._so_far(machine)
        while True:
            data, version = self._get()
            corpus_id = peek(data, self.root)[0].corpus_id
            check_corpus(self.reference.pins, corpus_id, self.root)
            late = corpus_id not in seen
            if late:
                seen[corpus_id] = self._newest(corpus_id, machine)
            self.counters.unwraps += 1
            try:
                opened = open_head(
                    data, version, self.root, self.connection.trusted, self.reference.pins, seen[corpus_id]
                )
                break
            except (OlderGeneration, SupersededKey):
                if not late:
                    raise
                # the corpus was known only from this head; a commit noted since it was read is on storage now
        if self._accept is not None and opened.head.generation != self._accept:
            raise InvalidArgument(
                f"the head of {self.root} has generation {opened.head.generation}, not {self._accept}; "
                "it was not accepted",
                root=self.root,
            )
        self._opened(opened.head)
        self._accept = None
        return opened

    def disregard_machine(self) -> None:
        """From now on, only what this opening itself has seen counts: for verify, which reports an old head."""
        self.by_hand = True

    def _so_far(self, machine: bool) -> dict[bytes, Seen]:
        """What was seen of the pinned corpus, by its id.

        Called before the head is read: otherwise a commit noted after reading would make that head look old.
        """
        if len(self.reference.pins) != 1:
            return {}
        corpus_id = self.reference.pins[0].corpus_id
        return {corpus_id: self._newest(corpus_id, machine)}

    def _newest(self, corpus_id: bytes, machine: bool) -> Seen:
        own = self._seen.get(corpus_id, Seen())
        others = self._recall(corpus_id) if machine else None
        return own.newest(others) if others else own

    def _recall(self, corpus_id: bytes) -> Seen | None:
        return recall_or_warn(corpus_id, self.root, corpus_id not in self._seen)

    def _note(self, head: Head) -> None:
        Seen.add(self._seen, {head.corpus_id: Seen.of(head)})

    def _opened(self, head: Head) -> None:
        self._note(head)

    def _get(self) -> tuple[Buffer, str]:
        return explain_missing_head(self.reference, self.storage, lambda: self.storage.get_versioned(HEAD, MAX_SEALED))

    def begin(self, opened: OpenedHead) -> None:
        """Begin the lease with a head that was just opened, and pin the corpus to it."""
        self.reference = replace(self.reference, pins=(opened.head.pin,))
        self.take(self._grant(opened.head))

    def take(self, grant: Grant) -> None:
        """Begin the lease with a grant, such as a parent process's."""
        self._lease = Lease(grant, self._renew, self.root, self._kms_wait)
        self.holds = self._lease.holds  # bound once, since every read calls it

    def check(self) -> None:
        """Renew the keys if they are due. Called before every fetch.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        assert self._lease is not None
        self._lease.check()

    def guard(self, items: Iterable[_T]) -> Iterator[_T]:
        """The same items, with a `check` before each, for work that may take hours."""
        self.check()
        for item in items:
            self.check()
            yield item

    def hand_over(self) -> None:
        """Called before new workers start, which inherit the grant."""
        assert self._lease is not None
        self._lease.hand_over()

    def retire(self) -> None:
        """Called on close: the grant is no longer renewed before a fork; running reads renew it when they need to."""
        if self._lease is not None:
            self._lease.retire()

    def _renew(self, _: Grant) -> Grant:
        self.connection.renew()
        for last in (False, False, True):
            head = self._reopen().head
            try:
                if heed := self.heed():
                    heed(head)
                break
            except PartMissing:  # the head was replaced while its parts were read, or one is lost
                if last:
                    raise
        return self._grant(head)

    def _reopen(self) -> OpenedHead:
        # The rows stay those that were opened, so what others have seen since must not end a job: it may be reading a
        # copy while the original is written to on this machine.
        return self._open(machine=False)

    def _grant(self, head: Head) -> Grant:
        return Grant.issue(
            head.generation,
            head.key_id,
            frozenset(head.superseded),
            self.connection.ttl(self._ttl),
            self.storage.recent_time(),
        )


def explain_missing_head(reference: Reference, storage: Storage, read: Callable[[], _T]) -> _T:
    """Read the head with `read`, explaining a missing one.

    Raises:
        CorpusGone, NotACorpus
        what `read` raises
    """
    try:
        return read()
    except NotFound as error:
        if reference.pins or _has_objects(storage):
            raise CorpusGone(
                f"the corpus is gone: {reference.root} no longer has a head; restore it from a backup, "
                "from head.prev or from an older version of the storage; if it was moved, 'securedata move' updates "
                "the config; if it was deleted for good, 'securedata init --start-over' makes a new one there",
                root=reference.root,
            ) from error
        raise NotACorpus(
            f"there is no corpus at {reference.root}: check the path, or make one with 'securedata init'",
            root=reference.root,
        ) from error


def _has_objects(storage: Storage) -> bool:
    try:
        return any(True for _ in storage.list(OBJECTS))
    except AccessDenied:  # cannot be listed, so it counts as no corpus
        return False
