"""Legal holds of S3 Object Lock, by the ids of versions, several calls at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from securedata.errors import (
    AccessDenied,
    LimitExceeded,
    NoObjectLock,
    NotFound,
    SecuredataError,
)
from securedata.foreign.describe import code_text
from securedata.storage.base import Buffer
from securedata.storage.legal_holds import LegalHolds
from securedata.storage.purging import probe_key
from securedata.storage.s3.calls import Calls, response
from securedata.storage.s3.listing import odd
from securedata.storage.s3.versions import below
from securedata.threads import BoundedPool

_log = logging.getLogger("securedata")

_THREADS = 8
_KEPT = frozenset({"AccessDenied", "InvalidRequest", "MethodNotAllowed"})  # the second: MinIO
_UNKNOWN = frozenset({"ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented", "MethodNotAllowed"})
_ADVICE = "hold without --object-lock, or keep the corpus in a bucket that was made with Object Lock"


class S3LegalHolds(LegalHolds):
    """As `LegalHolds`, below a prefix of a bucket."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    # ------------------------------------------------------------ the probe

    def enabled(self) -> bool:
        try:
            self._check_bucket()
        except (NoObjectLock, AccessDenied):
            return False
        return True

    def check(self) -> None:
        self._check_bucket()
        calls, key = self._calls, probe_key()
        id = str(calls.call("put_object", key, Body=b"1").get("VersionId") or "")
        on = False
        try:
            if not id:
                raise self._none("the bucket gives no version ids")
            self.turn(key, id, on=True)
            on = True
            if self._deletes(key, id):
                on = False
                raise self._none("the server deletes a version in spite of its legal hold")
        finally:
            self._remove(key, id, on)

    def _check_bucket(self) -> None:
        """Check that the bucket has Object Lock: some servers take legal holds, and ignore them, where it has not."""
        try:
            answer = self._calls.call("get_object_lock_configuration", None)
        except AccessDenied as error:
            raise AccessDenied(f"{error}; allow s3:GetBucketObjectLockConfiguration", root=self._calls.url) from error
        except SecuredataError as error:
            if _code(error) not in _UNKNOWN:
                raise
            raise self._none("the bucket has none") from error
        if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise self._none("the bucket has none")

    def _deletes(self, key: str, id: str) -> bool:
        try:
            self._calls.call("delete_object", key, VersionId=id)
        except SecuredataError as error:
            if _code(error) not in _KEPT:
                raise
            return False
        return True

    def _remove(self, key: str, id: str, on: bool) -> None:
        """Turn off the probe's legal hold, and delete it.

        One that has to stay, such as under a default retention, harms nothing.

        Raises:
            AccessDenied, StorageUnreachable: the legal hold cannot be turned off.
        """
        if on:
            self.turn(key, id, on=False)
        version: dict[str, Any] = {"VersionId": id} if id else {}
        try:
            self._calls.call("delete_object", key, **version)
        except NotFound:
            return
        except SecuredataError as error:
            _log.warning("the probe %s had to stay: %s", key, error)

    def _none(self, why: str) -> NoObjectLock:
        url = self._calls.url
        return NoObjectLock(f"{url}: no Object Lock keeps versions from being deleted: {why}; {_ADVICE}", root=url)

    # ------------------------------------------------------------ one version

    def turn(self, key: str, version: str, on: bool) -> None:
        hold = {"Status": "ON" if on else "OFF"}
        try:
            self._calls.call("put_object_legal_hold", key, VersionId=version, LegalHold=hold)
        except AccessDenied as error:
            raise AccessDenied(f"{error}; allow s3:PutObjectLegalHold", root=self._calls.url) from error

    def _is_on(self, key: str, version: str) -> bool:
        try:
            answer = self._calls.call("get_object_legal_hold", key, VersionId=version)
        except NotFound:  # no legal hold, or deleted meanwhile
            return False
        except AccessDenied as error:
            raise AccessDenied(f"{error}; allow s3:GetObjectLegalHold", root=self._calls.url) from error
        return bool(answer.get("LegalHold", {}).get("Status") == "ON")

    def current(self, key: str, limit: int) -> tuple[str, Buffer]:
        content, id = self._calls.read_version(key, limit)
        if not id:
            raise odd(self._calls, f"no version id of {key}")
        return id, self._checked(key, content, limit)

    def held(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        ids = self._contents(key)
        with BoundedPool[str, bool]("ask", _THREADS, 2 * _THREADS) as pool:
            asked = pool.results((id, partial(self._is_on, key, id)) for id in ids)
            found = [id for id, on in asked if on.result()]
        for id in found:
            try:
                content = self._calls.read(key, limit, VersionId=id)
            except NotFound:  # its legal hold was turned off meanwhile, and it was deleted
                continue
            yield id, self._checked(f"version {id} of {key}", content, limit)

    def _checked(self, what: str, content: bytes, limit: int) -> bytes:
        if len(content) > limit:
            text = f"{what} of {self._calls.url} is above the limit of {limit} bytes"
            raise LimitExceeded(text, root=self._calls.url)
        return content

    def _contents(self, key: str) -> list[str]:
        """The ids of all versions of a key that are no delete markers, the newest first."""
        return [str(one["VersionId"]) for one in below(self._calls, key, "") if "Size" in one]

    # ------------------------------------------------------------ many keys

    def turn_on(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        return self._each(keys, self._all_on)

    def turn_off(self, keys: Iterable[str]) -> Iterator[tuple[str, int | SecuredataError]]:
        return self._each(keys, self._all_off)

    def _each(self, keys: Iterable[str], act: Callable[[str], int]) -> Iterator[tuple[str, int | SecuredataError]]:
        with BoundedPool[str, int]("lock", _THREADS, 2 * _THREADS) as pool:
            for key, future in pool.results((key, partial(act, key)) for key in keys):
                try:
                    yield key, future.result()
                except SecuredataError as error:
                    yield key, error

    def _all_on(self, key: str) -> int:
        ids = self._contents(key)
        if not ids:
            raise NotFound(f"{key} of {self._calls.url} does not exist", root=self._calls.url)
        for id in ids:
            self.turn(key, id, on=True)
        return len(ids)

    def _all_off(self, key: str) -> int:
        on = [id for id in self._contents(key) if self._is_on(key, id)]
        for id in on:
            self.turn(key, id, on=False)
        return len(on)


def _code(error: SecuredataError) -> str:
    answer: Any = response(error).get("Error", {})
    return code_text(str(answer.get("Code", "")))
