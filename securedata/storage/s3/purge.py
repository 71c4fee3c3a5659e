"""Strict deletion on S3: every version by its id, each deletion answered, and then listed as gone.

A deletion without a version id would only add a delete marker, so none is ever sent here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from securedata.errors import (
    AccessDenied,
    DeleteRefused,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
)
from securedata.foreign.describe import code_text
from securedata.storage.base import NO_VERSIONS, PARTIAL, Buffer, Purged
from securedata.storage.purging import chunks, probe_key, still_there
from securedata.storage.s3.calls import Calls, response
from securedata.storage.s3.listing import odd
from securedata.storage.s3.versions import Version, below, versions_of
from securedata.threads import BoundedPool

BATCH = 1000
"""The most versions that one DeleteObjects takes."""
_CHECKED = 64  # entries of the first page when what was deleted is listed again: almost nothing is left
_STREAMS = 2  # batches under way at once
_TRIES = 4
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
_BRIEF = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted", "RequestTimeout"})
_DENIED = frozenset({"AccessDenied", "InvalidRequest", "MethodNotAllowed"})  # the second: MinIO, of a locked version

_sleep = time.sleep

Batch = Mapping[str, list[str]]
"""Keys with the ids of their versions."""


def purge(calls: Calls, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
    """As `Storage.purge`."""
    for chunk in chunks(keys):
        with BoundedPool[Batch, dict[str, SecuredataError]]("delete", _STREAMS, _STREAMS) as pool:
            batches = ((batch, partial(_delete, calls, batch)) for batch in _batches(calls, chunk))
            for batch, future in pool.results(batches):
                errors = future.result()
                deleted = [key for key, ids in batch.items() if ids]
                left = {key for key, ids in versions_of(calls, deleted, _CHECKED) if ids}
                for key, ids in batch.items():
                    if error := errors.get(key):
                        yield key, error
                    else:
                        yield key, still_there(key, calls.url) if key in left else Purged(len(ids))


def _batches(calls: Calls, keys: list[str]) -> Iterator[Batch]:
    """What there is of sorted keys, in batches that one call can delete, or of one key that has more versions."""
    batch: dict[str, list[str]] = {}
    size = 0
    for key, ids in versions_of(calls, keys):
        if batch and (size + len(ids) > BATCH or len(batch) == BATCH):
            yield batch
            batch, size = {}, 0
        batch[key] = ids
        size += len(ids)
    if batch:
        yield batch


def _delete(calls: Calls, batch: Batch) -> dict[str, SecuredataError]:
    """Delete versions. Returns the errors of keys of which not every version was confirmed.

    Raises:
        DeleteRefused: the call as a whole was refused.
        StorageUnreachable
    """
    pairs = [(key, id) for key, ids in batch.items() for id in ids]
    errors: dict[str, SecuredataError] = {}
    for at in range(0, len(pairs), BATCH):
        todo = pairs[at : at + BATCH]
        for left in reversed(range(_TRIES)):
            codes = _answers(calls, todo)
            again = [pair for pair in todo if codes[pair] in _BRIEF]
            for pair in todo:
                if codes[pair] and (not left or pair not in again):
                    errors.setdefault(pair[0], _error(calls, *pair, str(codes[pair])))
            if not again or not left:
                break
            todo = again
            _sleep(random.uniform(0.1, 0.5) * 2 ** (_TRIES - left))  # noqa: S311 - jitter, not a secret
    return errors


def _answers(calls: Calls, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """One DeleteObjects: '' for each version that is said to be deleted, or a code; 'no answer' if it says nothing."""
    objects = [{"Key": calls.prefix + key, "VersionId": id} for key, id in pairs]
    try:
        answer = calls.call("delete_objects", None, Delete={"Objects": objects, "Quiet": False})
    except AccessDenied as error:
        raise _refused(calls, calls.url, _code(error)) from error
    said: dict[tuple[str, str], str] = {}
    for one in answer.get("Deleted", ()):
        for id in (one.get("VersionId") or "null", one.get("DeleteMarkerVersionId")):
            said[one.get("Key"), id] = ""
    for one in answer.get("Errors", ()):
        code = code_text(one.get("Code") or "") or "no code"
        said[one.get("Key"), one.get("VersionId") or "null"] = "" if code in _GONE else code
    return {(key, id): said.get((calls.prefix + key, id), "no answer") for key, id in pairs}


def _error(calls: Calls, key: str, id: str, code: str) -> SecuredataError:
    where = f"{key} of {calls.url}"
    if code in _DENIED:
        return _refused(calls, where, code)
    text = f"{where}: deleting version {id} was not confirmed ({code})"
    return StorageUnreachable(f"{text}: run it again; if that does not help, check the server", root=calls.url)


def _refused(calls: Calls, where: str, code: str) -> DeleteRefused:
    return DeleteRefused(
        f"{where}: deleting a version was refused ({code}): allow s3:DeleteObjectVersion, and check whether MFA delete "
        f"or Object Lock forbids it; or {PARTIAL}",
        root=calls.url,
    )


def _code(error: SecuredataError) -> str:
    return str(response(error).get("Error", {}).get("Code", "")) or "AccessDenied"


# ------------------------------------------------------------------------------------------------- versions of the head


def purge_older(calls: Calls, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
    """As `Storage.purge_older`."""
    listed = below(calls, key, "")
    contents = [one for one in listed if "Size" in one]
    at = _first_older(calls, key, contents, is_older, limit)
    if at == len(contents):
        return 0
    if contents[at]["IsLatest"]:  # a version, so the key is not deleted
        raise PreconditionFailed(
            f"{key} of {calls.url}: what it holds now is among what should be deleted; nothing was deleted",
            root=calls.url,
        )
    kept = {one["VersionId"] for one in contents[:at]}
    # boto3 separates delete markers from versions, so which of them are older is asked of the server
    older = {one["VersionId"] for one in [*contents[at:], *below(calls, key, contents[at]["VersionId"])]}
    if older & kept:
        raise odd(calls, "versions before its VersionIdMarker")
    for error in _delete(calls, {key: sorted(older)}).values():
        raise error
    for one in reversed(below(calls, key, "")):  # contents above the lowest one that was kept are newer commits
        if one["VersionId"] in kept:
            break
        if one["VersionId"] in older or ("Size" in one and kept):
            raise still_there(f"an earlier {key}", calls.url)
    return len(older)


def _first_older(
    calls: Calls, key: str, contents: list[Version], is_older: Callable[[Buffer], bool], limit: int
) -> int:
    """The position of the first version that is older; their number if none is."""
    for at, one in enumerate(contents):
        name = f"version {one['VersionId']} of {key}"
        if one["Size"] > limit:
            text = f"{name} of {calls.url} has {one['Size']} bytes, above the limit of {limit}"
            raise LimitExceeded(f"{text}: delete it, if it is not yours", root=calls.url)
        try:
            content = calls.read(key, limit, VersionId=one["VersionId"])
        except NotFound:  # deleted meanwhile
            continue
        except AccessDenied as error:
            text = f"{name} of {calls.url}: reading a version was refused ({_code(error)}): allow s3:GetObjectVersion"
            raise DeleteRefused(f"{text}, or {PARTIAL}", root=calls.url) from error
        if is_older(content):
            return at
    return len(contents)


# ------------------------------------------------------------------------------------------------------------ the probe


def check_deletable(calls: Calls) -> None:
    """As `Storage.check_deletable`."""
    _refuse_locked(calls)
    key = probe_key()
    ids = {_put(calls, key) for _ in range(2)}
    try:
        if len(below(calls, key, "")) < len(ids):
            raise DeleteRefused(f"{calls.url}: {NO_VERSIONS}", root=calls.url)
        for _, outcome in purge(calls, [key]):
            if isinstance(outcome, SecuredataError):
                raise outcome
    except SecuredataError as error:
        stays = "" if _remove(calls, key, ids) else f". The probe {key} had to stay"
        why = _why(calls) if isinstance(error, DeleteRefused) else ""
        raise type(error)(f"{error}{why}{stays}", root=calls.url) from error


def _put(calls: Calls, key: str) -> str:
    """Put a version of the probe; returns its id, '' without versions."""
    return str(calls.call("put_object", key, Body=b"1").get("VersionId") or "")


def _remove(calls: Calls, key: str, ids: Iterable[str]) -> bool:
    """Try to delete the probe by the ids that its puts were given."""
    gone = True
    for id in ids:
        version: dict[str, Any] = {"VersionId": id} if id else {}
        try:
            calls.call("delete_object", key, **version)
        except NotFound:
            continue
        except SecuredataError:  # the first error matters more, and says that the probe stays
            gone = False
    return gone


def _refuse_locked(calls: Calls) -> None:
    """Refuse a bucket that locks whatever is put: a probe would have to stay.

    Raises:
        DeleteRefused
    """
    rule = _setting(calls, "get_object_lock_configuration").get("ObjectLockConfiguration", {}).get("Rule") or {}
    if retention := rule.get("DefaultRetention"):
        mode = code_text(str(retention.get("Mode", "")))
        raise DeleteRefused(
            f"{calls.url}: deleting a version will be refused: the bucket's Object Lock ({mode}) keeps each a while; "
            f"delete them once that is over, or {PARTIAL}",
            root=calls.url,
        )


def _why(calls: Calls) -> str:
    """What the bucket's settings say about a refusal, if they can be read."""
    return "; MFA delete is on" if _setting(calls, "get_bucket_versioning").get("MFADelete") == "Enabled" else ""


def _setting(calls: Calls, operation: str) -> Any:
    """A setting of the bucket; empty if there is none or if we may not read it: deleting the probe then decides."""
    try:
        return calls.call(operation, None)
    except SecuredataError:
        return {}
