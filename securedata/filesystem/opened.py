"""The corpora that filesystems of this process have open: each is opened once, for reading and for writing, and all
instances share it.

fsspec makes an instance per thread and forgets its instances after a fork. If each had its own corpus, it
would ask the KMS and hold an index once per thread and worker, so what they share lives here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from securedata.corpus.config import Reference
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.state.head import Seen
from securedata.corpus.writer import Writer

COLUMNS = ("format", "sample_rate", "channels", "frames", "source_mtime_ns")
"""What `info` shows of a row besides its size: nothing about people, because tools write what `info` says into their
logs and caches."""

_Key = tuple[object, ...]


class OpenWriter:
    """A corpus opened for writing. Many threads put objects; the lock is held to read its head and to commit."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.lock = threading.RLock()


class _Slot:
    def __init__(self) -> None:
        self._begin()
        self.corpus: Corpus | None = None

    def _begin(self) -> None:
        self.lock = threading.Lock()
        self.stale = False  # a commit of this process is not in `corpus` yet
        self.writers: dict[bool, OpenWriter] = {}

    def in_child(self) -> None:
        """After a fork: another thread might hold a lock forever, and a writer's uncommitted objects are its own."""
        stale = self.stale
        self._begin()
        self.stale = stale


_slots: dict[_Key, _Slot] = {}


def _slot(reference: Reference, accept_generation: int | None = None) -> _Slot:
    options = tuple(sorted(reference.options.items()))
    key = (reference.root, reference.kms, reference.pins, options, accept_generation)
    return _slots.setdefault(key, _Slot())


def corpus_of(
    reference: Reference, accept_generation: int | None = None, seen: Mapping[bytes, Seen] | None = None
) -> Corpus:
    """The corpus, opened at the first use in this process or in the one that forked it.

    Args:
        seen: what the opening that this one continues has seen.

    Raises:
        as `open_corpus`
    """
    slot = _slot(reference, accept_generation)
    if slot.corpus is None or slot.stale:
        with slot.lock:
            if slot.corpus is None:
                slot.stale = False
                slot.corpus = open_corpus(reference, columns=COLUMNS, accept_generation=accept_generation, seen=seen)
            elif slot.stale:
                slot.stale = False  # before it is read: a commit meanwhile sets it again
                try:
                    slot.corpus.refresh()
                except BaseException:  # raised again
                    slot.stale = True
                    raise
    return slot.corpus


def open_writer(reference: Reference, single_writer: bool) -> OpenWriter:
    """The corpus opened for writing, at the first use in this process.

    Raises:
        as `Writer`
    """
    slot = _slot(reference)
    if single_writer not in slot.writers:
        with slot.lock:
            if single_writer not in slot.writers:
                slot.writers[single_writer] = OpenWriter(Writer(reference, single_writer=single_writer))
    return slot.writers[single_writer]


def note_commit(reference: Reference) -> None:
    """Have the next look at the corpus, through any instance of this process with these options, see a new commit."""
    _slot(reference).stale = True


def refresh_corpus(reference: Reference, accept_generation: int | None = None) -> None:
    """Open the current head of a corpus, if the corpus was opened at all.

    Raises:
        as `open_corpus`
    """
    slot = _slot(reference, accept_generation)
    with slot.lock:
        if slot.corpus is not None:
            slot.stale = False
            slot.corpus.refresh()


def seen_of(reference: Reference, accept_generation: int | None = None) -> dict[bytes, Seen]:
    """What the opening of a corpus has seen; nothing if there is none."""
    corpus = _slot(reference, accept_generation).corpus
    return corpus.seen if corpus is not None else {}


def forget_corpora() -> None:
    """Drop all; open files keep theirs."""
    _slots.clear()


def _after_fork() -> None:
    for slot in list(_slots.values()):
        slot.in_child()


os.register_at_fork(after_in_child=_after_fork)
