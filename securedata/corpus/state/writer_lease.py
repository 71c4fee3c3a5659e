"""A writer's lease of the head: opened with pin and KMS, read again at each try, never older than one seen before."""

from __future__ import annotations

import logging
from dataclasses import replace

from securedata.corpus.config import Reference
from securedata.corpus.connection import Connection
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, Seen, open_with, peek
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.seen import recall, remember, remember_committed
from securedata.errors import (
    CorpusGone,
    FormatError,
    LimitExceeded,
    NotFound,
    OlderGeneration,
    UnconfirmedGeneration,
)
from securedata.format.cobblestone import Buffer
from securedata.keys.kms import retry_throttled
from securedata.keys.wraps import unwrap_key

_log = logging.getLogger("securedata")


class WriterLease(HeadLease):
    """The newest head that a writer has read, and the right to keep reading."""

    def __init__(
        self, reference: Reference, connection: Connection, accept_generation: int | None, ttl: float, kms_wait: float
    ) -> None:
        """Open the head. Raises as `Writer` does."""
        super().__init__(reference, connection, ttl, kms_wait, accept_generation=accept_generation)
        self._confirmed: bool | None = True if accept_generation is not None else None
        self.opened = retry_throttled(self.open)
        self.begin(self.opened)

    @property
    def unwraps(self) -> int:
        """How often the KMS was called."""
        return self.counters.unwraps

    def read(self) -> OpenedHead:
        """The current head, opened with the known corpus key if that has not changed.

        Raises:
            CorpusGone, OlderGeneration, SupersededKey, PinMismatch, FormatError, KeysError, StorageError, ...
        """
        seen = self._so_far(machine=not self.by_hand)
        data, version = self._get()
        header = peek(data, self.root)[0]
        known = self.opened
        newest = seen[known.head.corpus_id]  # `begin` pinned it
        same = (header.key_id, header.corpus_id) == (known.head.key_id, known.head.corpus_id)
        if same and header.key_id not in newest.superseded:
            head = open_with(data, known.key, self.root)
            if newest.admits(head):
                self.opened = OpenedHead(head, known.key, version)
                self._note(head)
                return self.opened
        return self._reopen()  # it has a new key, or is older, which `_reopen` refuses

    def require_newest(self) -> None:
        """As `Writer.require_newest`."""
        head = self.opened.head
        if not self._confirmed:
            raise unconfirmed(self.root, head.generation)
        try:
            for name, data in self.storage.older(HEAD, MAX_SEALED):
                former = self._former(data)
                if former is not None and not Seen.of(former).admits(head):
                    raise OlderGeneration(
                        f"the head of {self.root} has generation {head.generation} but does not follow from {name}, of "
                        f"generation {former.generation}: an old head was put back, or the corpus was restored from a "
                        f"backup; nothing was deleted. Restore the newest head; or, if you mean this one, delete "
                        f"{name} first, and with it whatever only it names",
                        root=self.root,
                    )
        except LimitExceeded as error:
            raise LimitExceeded(
                f"{error}: no head is so large, so it was not compared, and nothing was deleted; check it, delete "
                "it, and run this again",
                root=self.root,
            ) from None

    def _former(self, data: Buffer) -> Head | None:
        """A former head; None if it is not of this corpus, or does not open."""
        head, key = self.opened.head, self.opened.key
        try:
            header, wraps = peek(data, self.root)
            if header.corpus_id != head.corpus_id or header.key_id in head.superseded:
                return None  # a former reader could have forged it
            if header.key_id != head.key_id:  # a later key, which the head does not know
                key = unwrap_key(wraps, self.connection.trusted, header.corpus_id, self.root)
            return open_with(data, key, self.root)
        except FormatError as error:  # a crash while writing it, or damage on storage
            _log.warning("a former head of %s does not open and was not compared: %s", self.root, error)
            return None

    def committed(self, opened: OpenedHead, head: Head) -> None:
        """Record that our `head` replaced `opened`. A failure here does not undo that."""
        self.opened = replace(opened, head=head)
        self.remember(head)

    def remember(self, head: Head) -> None:
        """Record a head that we committed, for later runs on this machine, too."""
        self._note(head)
        remember_committed(head, self.root)

    def _recall(self, corpus_id: bytes) -> Seen | None:
        seen = recall(corpus_id)
        if self._confirmed is None:  # the first look, before this opening itself is noted
            self._confirmed = seen is not None
        return seen

    def _opened(self, head: Head) -> None:
        remember(head, reset=self.by_hand)
        self.by_hand = False  # the machine now remembers what was accepted
        super()._opened(head)

    def _get(self) -> tuple[Buffer, str]:
        try:
            return self.storage.get_versioned(HEAD, MAX_SEALED)
        except NotFound as error:
            raise CorpusGone(
                f"the corpus is gone: {self.root} has no head; restore it from a backup, from head.prev or from an "
                "older version of the storage; if it was moved, 'securedata move' updates the config; if it was "
                "deleted for good, 'securedata encrypt' and 'init' make a new one in its place with --start-over",
                root=self.root,
            ) from error

    def _reopen(self) -> OpenedHead:
        self.opened = self.open()
        return self.opened


def unconfirmed(root: str, generation: int) -> UnconfirmedGeneration:
    """The error of a machine that would have to delete without having seen the corpus before."""
    return UnconfirmedGeneration(
        f"this machine has not seen {root} before, so it would not notice an old head that was put back, and would "
        f"delete whatever that does not name; nothing was deleted. If {generation} is the newest generation, as "
        f"'securedata info' shows where the corpus is written, confirm it with --accept-generation {generation} "
        f"(accept_generation={generation}); keep $XDG_STATE_HOME between the runs of a container or a cron job",
        root=root,
    )
