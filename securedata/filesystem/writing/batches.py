"""One batch for each corpus that a call or a transaction changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from securedata.filesystem.overlay import Overlay
from securedata.filesystem.writing.batch import Batch
from securedata.filesystem.writing.pending import Pending, ended

_ROWS = 10_000
_BYTES = 4_000_000_000


class Batches:
    """The batches of one call or transaction, by corpus."""

    def __init__(self, open_batch: Callable[[str], Batch], whole: bool = False) -> None:
        """`whole`: all of it in one commit, however much it is."""
        self._open, self._whole = open_batch, whole
        self._batches: dict[str, Batch] = {}
        self._lock = threading.Lock()
        self._has_ended = False

    def __len__(self) -> int:
        return sum(len(batch) for batch in list(self._batches.values()))

    def of(self, target: str) -> Batch:
        """The batch of a corpus; the first time, it looks at the corpus's current head.

        Raises:
            InvalidArgument: all was committed or discarded already.
            as `Batch.refresh`
        """
        with self._lock:
            if self._has_ended:
                raise ended()
            if target not in self._batches:
                batch = self._open(target)
                batch.refresh()
                self._batches[target] = batch
            return self._batches[target]

    def overlay(self, target: str) -> Overlay[Pending] | None:
        """What is to change in a corpus; None: nothing."""
        batch = self._batches.get(target)
        return None if batch is None else batch.overlay()

    def commit(self) -> None:
        """One commit for each corpus, the last. Raises as `Batch.commit`; corpora after the one that failed are not
        committed."""
        with self._lock:
            self._has_ended = True
        try:
            for batch in self._batches.values():
                batch.commit(last=True)
        finally:
            self.discard()

    def commit_if_large(self) -> None:
        """Commit what a call over very many files has done so far: a crash costs at most this much."""
        for batch in [] if self._whole else list(self._batches.values()):
            if len(batch) >= _ROWS or batch.size >= _BYTES:
                batch.commit()
                batch.refresh()

    def discard(self) -> None:
        """Drop what is not committed."""
        with self._lock:
            self._has_ended = True
            batches, self._batches = self._batches, {}
        for batch in batches.values():
            batch.discard(last=True)
