"""Legal holds of S3 Object Lock: a version of a key that has one can be deleted by nobody until it is turned off.

It is one bit of a version. Storage does not record who turned it on, or what for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from securedata.errors import SecuredataError
from securedata.storage.base import Buffer


class LegalHolds(ABC):
    """The legal holds of what is under one root."""

    @abstractmethod
    def enabled(self) -> bool:
        """Does storage say that it has Object Lock? False if it does not tell us."""

    @abstractmethod
    def check(self) -> None:
        """Try on a probe that a legal hold can be turned on and off, and that it keeps a version from being deleted.

        Raises:
            NoObjectLock: it does not, or the bucket has no Object Lock.
            AccessDenied, StorageUnreachable: the text names a probe that had to stay.
        """

    @abstractmethod
    def current(self, key: str, limit: int) -> tuple[str, Buffer]:
        """The id and content of the current version of a key.

        Raises:
            NotFound, AccessDenied, StorageUnreachable
            LimitExceeded: it is larger than `limit` bytes.
        """

    @abstractmethod
    def held(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        """The id and content of each version of a key that has a legal hold, the newest first.

        Raises:
            AccessDenied, StorageUnreachable
            LimitExceeded: one is larger than `limit` bytes.
        """

    @abstractmethod
    def turn(self, key: str, version: str, on: bool) -> None:
        """Turn the legal hold of one version on or off.

        Raises:
            NotFound, AccessDenied, StorageUnreachable
        """

    @abstractmethod
    def turn_on(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        """Turn on the legal holds of all contents of many keys, which are written once, so that each has one.

        Yields each key with their number, or with its error: NotFound if there is none.
        """

    @abstractmethod
    def turn_off(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        """Turn off the legal holds of all contents of many keys. Yields each key with how many had one, or its error.

        A key that is not there, and a version without a legal hold, are no error.
        """
