"""The head of an opened corpus and the right to read on: opens it, knows what was seen of it, and renews the grant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from securedata.corpus.config import Reference
from securedata.corpus.counters import Counters
from securedata.corpus.head import Head, OpenedHead, Seen, read_head
from securedata.corpus.place import Place
from securedata.errors import AccessDenied, CorpusGone, NotACorpus, NotFound
from securedata.keys.grant import Grant, Lease
from securedata.storage.base import Storage

_T = TypeVar("_T")


class HeadLease:
    """Opens the head of one corpus through the KMS, and holds the grant that it gives. Readers, writers and verify
    renew through it.
    """

    def __init__(self, reference: Reference, place: Place, ttl: float, kms_wait: float) -> None:
        """Contacts nobody. `ttl` and `kms_wait` are seconds, as `open_corpus` takes them."""
        self.reference = reference
        self.root = reference.root
        self.place = place
        self.storage = place.storage
        self.counters = Counters()
        self._ttl = ttl
        self._kms_wait = kms_wait
        self._lease: Lease | None = None

    @property
    def grant(self) -> Grant:
        """What is allowed now, and until when."""
        assert self._lease is not None
        return self._lease.grant

    @property
    def seen(self) -> Seen:
        """What the grant has seen."""
        grant = self.grant
        return Seen(grant.generation, grant.superseded)

    def open(self, seen: Seen | None) -> OpenedHead:
        """Fetch and open the current head: one GET and one unwrap.

        Raises:
            CorpusGone, NotACorpus: there is none.
            as `read_head`
        """
        self.counters.unwraps += 1
        return or_no_corpus(
            self.reference,
            self.storage,
            lambda: read_head(self.storage, self.place.trusted, self.reference.pins, seen),
        )

    def begin(self, opened: OpenedHead) -> None:
        """Begin a lease by a head that was opened just now. Without a pin, the corpus is pinned to it from here on."""
        if not self.reference.pins:
            self.reference = replace(self.reference, pins=(opened.head.pin,))
        self.take(self._grant(opened.head))

    def take(self, grant: Grant) -> None:
        """Begin a lease by a grant, as that of a parent process."""
        self._lease = Lease(grant, self._renew, self.root, self._kms_wait)

    def holds(self) -> bool:
        """Is no renewal due?"""
        assert self._lease is not None
        return self._lease.holds()

    def check(self) -> None:
        """Called before every fetch: renew the keys if it is time.

        Raises:
            KeysExpired, KMSDenied, ...
        """
        assert self._lease is not None
        self._lease.check()

    def hand_over(self) -> None:
        """Called before new workers start, which take over the grant."""
        assert self._lease is not None
        self._lease.hand_over()

    def _renew(self, old: Grant) -> Grant:
        self.place.renew()
        return self._grant(self.open(Seen(old.generation, old.superseded)).head)

    def _grant(self, head: Head) -> Grant:
        return Grant.issue(head.generation, head.key_id, frozenset(head.superseded), self.place.ttl(self._ttl))


def or_no_corpus(reference: Reference, storage: Storage, read: Callable[[], _T]) -> _T:
    """What `read` makes of the head; a head that is missing is explained.

    Raises:
        CorpusGone, NotACorpus
        what `read` raises
    """
    try:
        return read()
    except NotFound as error:
        if reference.pins or _has_objects(storage):
            raise CorpusGone(
                f"the corpus is gone: {reference.root} has no head any more; restore it from a backup, "
                "from head.prev or from an older version of the storage; if it was moved, change root in the "
                "config file",
                root=reference.root,
            ) from error
        raise NotACorpus(
            f"there is no corpus at {reference.root}: check the path, or make one with 'securedata init'",
            root=reference.root,
        ) from error


def _has_objects(storage: Storage) -> bool:
    try:
        return any(True for _ in storage.list("objects/"))
    except AccessDenied:  # whoever may not look takes it for no corpus
        return False
