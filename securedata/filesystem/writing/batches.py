"""One batch for each corpus that a call or a transaction changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fsspec.transaction import Transaction

from securedata.errors import InvalidArgument
from securedata.filesystem.writing.batch import Batch

_ROWS = 10_000
_BYTES = 4_000_000_000


class Batches:
    """The batches of one call or transaction, by corpus."""

    def __init__(self, open_batch: Callable[[str], Batch], whole: bool = False) -> None:
        """`whole`: all of it in one commit, however much it is."""
        self._open, self._whole = open_batch, whole
        self._batches: dict[str, Batch] = {}
        self._lock = threading.Lock()

    def of(self, target: str) -> Batch:
        """The batch of a corpus; the first time, it looks at the corpus's current head."""
        with self._lock:
            if target not in self._batches:
                batch = self._open(target)
                batch.refresh()
                self._batches[target] = batch
            return self._batches[target]

    def commit(self) -> None:
        """One commit for each corpus. Raises as `Batch.commit`; corpora after the one that failed are not committed."""
        try:
            for batch in self._batches.values():
                batch.commit()
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
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            batch.discard()


class CommitTogether(Transaction):
    """`fs.transaction`: everything that is written, copied, moved and removed in it, in one commit for each corpus."""

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self.fs: Any = fs
        self.batches = Batches(fs._new_batch, whole=True)

    def complete(self, commit: bool = True) -> None:
        """Commit everything, or discard it.

        Raises:
            InvalidArgument: a file is still open; nothing was committed.
            as `Batch.commit`
        """
        fs = self.fs
        try:
            still_open = [file for file in self.files if not file.closed]
            for file in still_open:
                file.discard()
            if commit and still_open:
                raise InvalidArgument(
                    "a file that was opened in this transaction is still open; nothing was committed: close it inside"
                )
            if commit:
                self.batches.commit()
        finally:
            self.batches.discard()
            self.files.clear()
            fs._intrans = False
            fs._transaction = None
            self.fs = None
