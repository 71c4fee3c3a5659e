"""The corpora that filesystems of this process have open: each is opened once, and all instances share it.

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

COLUMNS = ("format", "sample_rate", "channels", "frames", "source_mtime_ns")
"""What `info` shows of a row besides its size: nothing about people, because tools write what `info` says into their
logs and caches."""

_Key = tuple[object, ...]


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.corpus: Corpus | None = None


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
    if slot.corpus is None:
        with slot.lock:
            if slot.corpus is None:
                slot.corpus = open_corpus(reference, columns=COLUMNS, accept_generation=accept_generation, seen=seen)
    return slot.corpus


def refresh_corpus(reference: Reference, accept_generation: int | None = None) -> None:
    """Open the current head of a corpus, if the corpus was opened at all.

    Raises:
        as `open_corpus`
    """
    slot = _slot(reference, accept_generation)
    with slot.lock:
        if slot.corpus is not None:
            slot.corpus.refresh()


def seen_of(reference: Reference, accept_generation: int | None = None) -> dict[bytes, Seen]:
    """What the opening of a corpus has seen; nothing if there is none."""
    corpus = _slot(reference, accept_generation).corpus
    return corpus.seen if corpus is not None else {}


def forget_corpora() -> None:
    """Drop all; open files keep theirs."""
    _slots.clear()


def _after_fork() -> None:
    # a lock that another thread held would stay held forever in the child
    for slot in list(_slots.values()):
        slot.lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
