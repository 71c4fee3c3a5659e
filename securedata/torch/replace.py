"""Replace an unreadable sample by the next readable row, so batches keep their size and ranks their step count.

Or skip those whose row is gone, so that batches get shorter, but never empty: ranks keep their step count here, too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from securedata.errors import (
    ConsentExpired,
    InvalidArgument,
    ObjectMissing,
    RowReplaced,
    SecuredataError,
    StorageUnreachable,
    SubjectErased,
    SubjectRestricted,
    TooManyReplaced,
    UndecodableMedia,
)

_log = logging.getLogger("securedata")

_CHOICES = ("raise", "replace")
_OF_ONE_OBJECT = (UndecodableMedia, ObjectMissing, RowReplaced, StorageUnreachable)
_CLOSED = (SubjectErased, SubjectRestricted)
_GONE = (ConsentExpired, RowReplaced, *_CLOSED)
_LASTING = (UndecodableMedia, ObjectMissing, *_GONE)
SHARE = 100
"""One in this many samples may be replaced, and always at least one."""

T = TypeVar("T")


class Source(NamedTuple, Generic[T]):
    """Where other rows come from.

    Attributes:
        rows: how many there are.
        read: reads some.
        people: who is recorded in a row.
        count: counts replaced samples, and returns how many there were in this epoch.
        skip: counts skipped samples.
    """

    rows: int
    read: Callable[[Sequence[int]], list[T | SecuredataError]]
    people: Callable[[int], Collection[tuple[int, str]]]
    count: Callable[[int], int]
    skip: Callable[[int], None]


class Skipped:
    """Stands in a batch for a sample that was skipped. There is one, `SKIPPED`."""


SKIPPED = Skipped()


class Replacing:
    """The policy of `on_error`, `on_erased` and `on_gone`, and the rows that this process knows to be unreadable.

    A failed authentication, a refusal and expired keys concern more than one sample, and always raise.
    """

    def __init__(self, on_error: str, on_erased: str, on_gone: str | None = None) -> None:
        """
        Args:
            on_error, on_erased: 'raise' or 'replace'.
            on_gone: 'raise', 'replace' or 'skip', for all rows that are gone; None: those of erased people as
                `on_erased`, replaced and removed ones as `on_error`, and ended consent raises.

        Raises:
            InvalidArgument
        """
        for name, value in (("on_error", on_error), ("on_erased", on_erased)):
            if value not in _CHOICES:
                raise InvalidArgument(f"{name}= is 'raise' or 'replace', not {value!r}")
        if on_gone is not None and on_gone not in (*_CHOICES, "skip"):
            raise InvalidArgument(f"on_gone= is 'raise', 'replace' or 'skip', not {on_gone!r}")
        self._on_error, self._on_erased, self._on_gone = on_error, on_erased, on_gone
        self._warned_in = 0
        self.forget()

    def forget(self) -> None:
        """Forget unreadable rows, because the rows were renumbered."""
        self._unreadable: set[int] = set()
        self._erased: set[tuple[int, str]] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return Replacing, (self._on_error, self._on_erased, self._on_gone)  # no names in a pickle

    def allows(self, error: SecuredataError) -> bool:
        """Whether this error is replaced rather than raised."""
        if isinstance(error, _GONE) and self._on_gone is not None:
            return self._on_gone != "raise"  # what a batch of skipped samples alone has in their place
        if isinstance(error, _CLOSED):
            return self._on_erased == "replace"
        return self._on_error == "replace" and isinstance(error, _OF_ONE_OBJECT)

    def skips(self, error: SecuredataError) -> bool:
        """Whether this error is skipped rather than raised or replaced."""
        return self._on_gone == "skip" and isinstance(error, _GONE)

    def fill(
        self, rows: Sequence[int], outcomes: list[T | SecuredataError], source: Source[T], keep: bool = True
    ) -> list[T | Skipped]:
        """The samples of a batch, with those that failed replaced, and `SKIPPED` in place of those that are skipped.

        Args:
            rows: what was read.
            outcomes: the results, changed in place.
            keep: replace the first sample of a batch that would be empty, since no loader takes an empty one.

        Raises:
            the first error that must not be replaced
            TooManyReplaced: more than 1 % of an epoch would be replaced.
        """
        failed = {at: outcome for at, outcome in enumerate(outcomes) if isinstance(outcome, SecuredataError)}
        skipped = [at for at, error in failed.items() if self.skips(error)]
        if keep and skipped and len(skipped) == len(rows):
            del skipped[0]
        if skipped:
            for at in skipped:
                error = failed.pop(at)
                self._take(rows[at], error, source)
            source.skip(len(skipped))
            self.warn_once("a sample was skipped: its row is gone", error)
        reached = {at: rows[at] for at in failed}
        for at, error in failed.items():
            self._take(reached[at], error, source)
        if (
            failed
            and len(failed) == len(rows) > 1
            and all(isinstance(one, StorageUnreachable) for one in failed.values())
        ):
            raise error  # a whole batch failed: the cause is storage, not some objects
        if failed:
            self.warn_once("a sample was replaced by the next readable row", error)
            replaced = source.count(len(failed))
            if not all(map(self.skips, failed.values())):
                limit(replaced, source.rows, error)
        while failed:
            for at, error in failed.items():
                reached[at] = self._next(reached[at], rows[at], source, error)
            for at, outcome in zip(list(failed), source.read([reached[at] for at in failed]), strict=True):
                if not isinstance(outcome, SecuredataError):
                    outcomes[at] = outcome
                    del failed[at]
                    continue
                self._take(reached[at], outcome, source)
                if isinstance(outcome, StorageUnreachable) and isinstance(failed[at], StorageUnreachable):
                    raise outcome  # two rows in succession: the cause is storage, not one object
                failed[at] = outcome
        return [SKIPPED if isinstance(outcome, SecuredataError) else outcome for outcome in outcomes]

    def _take(self, row: int, error: SecuredataError, source: Source[Any]) -> None:
        """Raise an error that must not be replaced; remember the row of one that lasts."""
        if not self.allows(error):
            raise error
        if isinstance(error, _LASTING):
            self._unreadable.add(row)
        if isinstance(error, _CLOSED):
            self._erased.update(source.people(row))

    def _next(self, row: int, first: int, source: Source[Any], error: SecuredataError) -> int:
        """The next row that might be readable: a person's recordings are often neighbours, and all are erased."""
        while (row := (row + 1) % source.rows) != first:
            if row not in self._unreadable and not (self._erased and self._erased.intersection(source.people(row))):
                return row
        raise error

    def warn_once(self, what: str, error: SecuredataError) -> None:
        """Log the first error of this process that did not end it."""
        if self._warned_in != os.getpid():
            self._warned_in = os.getpid()
            _log.warning("%s; this process counts further ones in stats() only: %s", what, error)


def limit(replaced: int, rows: int, error: SecuredataError) -> None:
    """Raise TooManyReplaced if more than 1 % of an epoch was replaced."""
    if replaced > max(1, rows // SHARE):
        raise TooManyReplaced(
            f"{replaced} samples of an epoch of {rows} could not be read and were replaced, more than 1 %: refresh() "
            f"the dataset, or run 'securedata verify'; the last error: {error}",
            root=error.root,
            object_id=error.object_id,
            path=error.path,
        ) from error
