"""`fs.transaction`: everything that is written, copied, moved and removed in it, in one commit for each corpus.

fsspec keeps a transaction in the filesystem, so that every thread that has the same filesystem would write into it, and
lose what it wrote when that transaction fails. Here it belongs to the code that began it.
"""

from __future__ import annotations

import logging
import os
from contextvars import ContextVar
from typing import Any

from fsspec.transaction import Transaction

from securedata.errors import InvalidArgument
from securedata.filesystem.listing import Listing
from securedata.filesystem.overlay import Overlay
from securedata.filesystem.writing.batches import Batches
from securedata.printable import plural

_log = logging.getLogger("securedata")

_begun: ContextVar[tuple[CommitTogether, ...]] = ContextVar("securedata_transactions", default=())


class CommitTogether(Transaction):
    """One transaction of a filesystem. It can be used once."""

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self.fs: Any = fs
        self.batches = Batches(fs._new_batch, whole=True)
        self._of: Any = fs  # kept after the end, when `fs` is None
        self._process = os.getpid()

    @classmethod
    def of(cls, fs: Any) -> CommitTogether | None:
        """The transaction of a filesystem that a call belongs to here: begun in this thread or task, or in the context
        that it has from the one that began it. There it may have ended, and then it refuses the call."""
        return next((one for one in _begun.get() if one._of is fs and one._process == os.getpid()), None)

    @classmethod
    def open_of(cls, fs: Any) -> CommitTogether | None:
        """The same, unless it has ended."""
        found = cls.of(fs)
        return None if found is None or found.fs is None else found

    def start(self) -> None:
        """Begin it.

        Raises:
            InvalidArgument: one is open here already, or this one has ended.
        """
        if self.fs is None:
            raise InvalidArgument("the transaction has ended: begin another one with 'with fs.transaction:'")
        if self.open_of(self.fs) is not None:
            raise InvalidArgument(
                "a transaction of this filesystem is open here already: write in that one, or end it first"
            )
        _begun.set((self, *_begun.get()))

    def complete(self, commit: bool = True) -> None:
        """Commit everything, or discard it.

        Raises:
            InvalidArgument: a file is still open, or the transaction has ended, or was begun by the process that this
                one was forked from; nothing was committed.
            as `Batch.commit`
        """
        if self.fs is not None:
            _begun.set(tuple(one for one in _begun.get() if one is not self))
        if self.fs is None or self._process != os.getpid():
            self.fs = None  # after a fork: what is sealed is the parent's, and is neither committed nor deleted here
            if commit:
                raise InvalidArgument(
                    "the transaction has ended, or belongs to the process that this one was forked from; nothing was "
                    "committed by this call: begin another one with 'with fs.transaction:'"
                )
            return
        try:
            still_open = [file for file in list(self.files) if not file.closed]
            for file in still_open:
                file.discard()
            if commit and still_open:
                raise InvalidArgument(
                    "a file that was opened in this transaction is still open; nothing was committed: close it inside"
                )
            if commit:
                self.batches.commit()
            elif dropped := len(self.batches):
                # a generator that holds a transaction has its caller's context, and so what the caller has written
                _log.warning(
                    "a transaction was dropped, with %s in it: nothing of it is in the corpus. If a generator that was "
                    "not run to its end began it, what its caller wrote meanwhile is dropped, too",
                    plural(dropped, "change"),
                )
        finally:
            self.batches.discard()
            self.files.clear()
            self.fs = None


class InTransactions(Listing):
    """The part of a filesystem that knows which of its transactions a call belongs to."""

    transaction_type = CommitTogether

    @property
    def _intrans(self) -> bool:
        return CommitTogether.of(self) is not None

    @_intrans.setter
    def _intrans(self, _: bool) -> None:
        """fsspec sets it for all threads; which transaction is open is known by the context."""

    @property
    def transaction(self) -> CommitTogether:
        """For `with fs.transaction:`, which is one commit for each corpus, and nothing if the block raises.

        It belongs to the thread or asyncio task that began it, and to calls that run in a copy of its context, as
        those of `asyncio.to_thread`, which are refused once it has ended. What other threads write meanwhile through
        the same filesystem is committed on its own.
        """
        return CommitTogether.open_of(self) or CommitTogether(self)

    def _overlay(self, target: str) -> Overlay[Any] | None:
        transaction = CommitTogether.of(self)
        return None if transaction is None else transaction.batches.overlay(target)

    def start_transaction(self) -> CommitTogether:
        """Begin a transaction without a `with` block. Raises InvalidArgument: one is open here already."""
        transaction = CommitTogether(self)
        transaction.start()
        return transaction

    def end_transaction(self) -> None:
        """Commit the transaction that `start_transaction` began here.

        Raises:
            InvalidArgument: none was begun in this thread or task.
            as `open`; nothing was committed
        """
        transaction = CommitTogether.of(self)
        if transaction is None:
            raise InvalidArgument(
                "no transaction of this filesystem was begun in this thread or task, and nothing was committed: end it "
                "where start_transaction() was called"
            )
        transaction.complete()
