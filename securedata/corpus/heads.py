"""A writer's view of the head: opened by pin and KMS, read again, and never older than one that was seen."""

from __future__ import annotations

import logging
from dataclasses import replace

from securedata.corpus.config import Reference
from securedata.corpus.head import KEY, MAX_SEALED, Head, OpenedHead, Seen, open_head, open_with, peek
from securedata.corpus.lease import HeadLease
from securedata.corpus.place import Place
from securedata.corpus.seen import recall, remember
from securedata.errors import ConfigError, CorpusGone, InvalidArgument, NotFound, WrongCorpus
from securedata.format.cobblestone import Buffer
from securedata.keys.grant import Grant
from securedata.keys.kms import patiently
from securedata.keys.pin import check_corpus

_log = logging.getLogger("securedata")


class Heads(HeadLease):
    """The newest head that a writer has read, and its right to read on."""

    def __init__(
        self, reference: Reference, place: Place, accept_generation: int | None, ttl: float, kms_wait: float
    ) -> None:
        """Open the head. Raises as `Writer` does."""
        super().__init__(reference, place, ttl, kms_wait)
        self._accept = accept_generation
        self._seen: Seen | None = None
        self.opened = patiently(self._unwrap)
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
        seen = self._seen_so_far()
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
        self.opened = self._unwrap()  # under a new key, or an older one, which it refuses
        return self.opened

    def _seen_so_far(self) -> dict[bytes, Seen]:
        """What this writer and others on this machine have seen of the pinned corpora.

        Looked up before a head is read: one that is committed and remembered in between is not newer than the one
        that storage gives then.
        """
        seen = {id: found for pin in self.reference.pins if (found := recall(id := pin.corpus_id))}
        if self._seen:
            id = self.opened.head.corpus_id
            seen[id] = self._seen.newest(seen.get(id, self._seen))
        return seen

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

    def _note(self, head: Head) -> None:
        now = Seen.of(head)
        self._seen = self._seen.newest(now) if self._seen else now

    def _unwrap(self) -> OpenedHead:
        seen = self._seen_so_far() if self._accept is None else {}
        data, version = self._get()
        corpus_id = peek(data, self.root)[0].corpus_id
        check_corpus(self.reference.pins, corpus_id, self.root)
        if self.unwraps and corpus_id != self.opened.head.corpus_id:  # pinned as well, and not the one that was opened
            raise WrongCorpus(
                f"the head of {self.root} belongs to corpus {corpus_id.hex()}, and was of "
                f"{self.opened.head.corpus_id.hex()} when it was opened: the root was replaced; restore it",
                root=self.root,
            )
        opened = open_head(data, version, self.root, self.place.trusted, self.reference.pins, seen.get(corpus_id))
        self.counters.unwraps += 1
        if self._accept is not None and opened.head.generation != self._accept:
            raise InvalidArgument(
                f"the head of {self.root} has generation {opened.head.generation}, not {self._accept}; nothing accepted"
            )
        remember(opened.head, reset=self._accept is not None)
        self._accept = None
        self._note(opened.head)
        return opened

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

    def _renew(self, old: Grant) -> Grant:
        self.place.renew()
        self.opened = self._unwrap()
        return self._grant(self.opened.head)
