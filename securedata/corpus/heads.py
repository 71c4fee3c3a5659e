"""A writer's view of the head: opened by pin and KMS, read again, and never older than one that was seen."""

from __future__ import annotations

import logging
from dataclasses import replace

from securedata.corpus.config import Reference
from securedata.corpus.head import KEY, MAX_SEALED, Head, OpenedHead, Seen, open_with, peek
from securedata.corpus.lease import HeadLease
from securedata.corpus.place import Place
from securedata.corpus.seen import recall, remember
from securedata.errors import ConfigError, CorpusGone, NotFound
from securedata.format.cobblestone import Buffer
from securedata.keys.grant import Grant
from securedata.keys.kms import patiently

_log = logging.getLogger("securedata")


class Heads(HeadLease):
    """The newest head that a writer has read, and its right to read on."""

    def __init__(
        self, reference: Reference, place: Place, accept_generation: int | None, ttl: float, kms_wait: float
    ) -> None:
        """Open the head. Raises as `Writer` does."""
        super().__init__(reference, place, ttl, kms_wait, accept_generation=accept_generation)
        self.opened = patiently(self.open)
        self.begin(self.opened)

    @property
    def unwraps(self) -> int:
        """How often the KMS was asked."""
        return self.counters.unwraps

    def read(self) -> OpenedHead:
        """The current head, by the corpus key that is known if it is still that one.

        Raises:
            CorpusGone, OlderGeneration, SupersededKey, PinMismatch, FormatError, KeysError, StorageError, ...
        """
        seen = self._so_far()
        data, version = self._get()
        header = peek(data, self.root)[0]
        known, newest = self.opened, seen.get(header.corpus_id, Seen())
        same = (header.key_id, header.corpus_id) == (known.head.key_id, known.head.corpus_id)
        if same and header.key_id not in newest.superseded:
            head = open_with(data, known.key, self.root)
            if head.generation >= newest.generation:
                self.opened = OpenedHead(head, known.key, version)
                self._note(head)
                return self.opened
        self.opened = self.open()  # under a new key, or an older one, which it refuses
        return self.opened

    def committed(self, opened: OpenedHead, head: Head) -> None:
        """A head of ours was put in the place of `opened`. Nothing that fails here undoes that."""
        self.opened = replace(opened, head=head)
        self.remember(head)

    def remember(self, head: Head) -> None:
        """Note a head that a commit of ours made, also for later runs on this machine."""
        self._note(head)
        try:
            remember(head)
        except ConfigError as error:
            _log.warning("%s; an old head of %s that is put back may go unnoticed", error, self.root)

    def _recall(self, corpus_id: bytes) -> Seen | None:
        return recall(corpus_id)

    def _opened(self, head: Head) -> None:
        remember(head, reset=self.by_hand)
        self.by_hand = False  # what was accepted is what this machine knows now
        super()._opened(head)

    def _get(self) -> tuple[Buffer, str]:
        try:
            return self.storage.get_versioned(KEY, MAX_SEALED)
        except NotFound as error:
            raise CorpusGone(
                f"the corpus is gone: {self.root} has no head; restore it from a backup, from head.prev or from an "
                "older version of the storage; if it was moved, change root in the config file; if there never was "
                "one, make it with 'securedata init'",
                root=self.root,
            ) from error

    def _renew(self, _: Grant) -> Grant:
        self.place.renew()
        self.opened = self.open()
        return self._grant(self.opened.head)
