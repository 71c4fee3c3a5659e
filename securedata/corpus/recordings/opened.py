"""The corpora that functions of one URL have open in this process: each is opened at its first use."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from securedata.corpus.config import Reference
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.errors import ConsentExpired, NoSuchPath, RowReplaced, SubjectRestricted

COLUMNS = ("size", "subtype", "sample_rate", "channels", "frames", "data_offset", "start", "frames_in_segment")
"""The columns that such a corpus has besides path, subjects and format: no text, which would stay in memory."""

LOOK_AGAIN = 10.0
"""Seconds after which a path that is missing or replaced makes a function look for a newer head."""

_T = TypeVar("_T")


class _Opened(NamedTuple):
    """A corpus that is never refreshed, so that its rows keep their numbers, and when it was opened."""

    corpus: Corpus
    at: float


_corpora: dict[object, _Opened] = {}
_lock = threading.Lock()


def with_corpus(reference: Reference, use: Callable[[Corpus], _T]) -> _T:
    """What `use` returns for the corpus; called again with the current head if the rows of the first are too old.

    Raises:
        as `open_corpus`, and what `use` raises
    """
    opened = _opened(reference)
    try:
        return use(opened.corpus)
    except (NoSuchPath, RowReplaced, ConsentExpired, SubjectRestricted):
        newer = _opened(reference, than=opened)
        if newer is opened:
            raise
    return use(newer.corpus)


def forget_opened() -> None:
    """Drop all, as a new process has none."""
    _corpora.clear()


def _opened(reference: Reference, than: _Opened | None = None) -> _Opened:
    """The corpus as this process has it open; opened again if that is `than`, unless `than` is only seconds old."""
    key = (reference.root, reference.kms, reference.pins, tuple(sorted(reference.options.items())))
    found = _corpora.get(key)
    if found is not None and (found is not than or time.monotonic() - found.at < LOOK_AGAIN):
        return found
    with _lock:
        if _corpora.get(key) is not found:  # another thread has just opened it
            return _corpora[key]
        _corpora[key] = _Opened(open_corpus(reference, columns=COLUMNS), time.monotonic())
        return _corpora[key]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork)
