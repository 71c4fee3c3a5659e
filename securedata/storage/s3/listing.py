"""List and delete on S3, with all versions if the bucket keeps them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from securedata.errors import AccessDenied, DeleteRefused, LimitExceeded, NotFound, SecuredataError, StorageUnreachable
from securedata.storage.base import NO_VERSIONS, PARTIAL, Buffer, Entry
from securedata.storage.s3.calls import Calls, response

VERSIONS = 64
"""The most older versions of one key that are read."""

_LISTED = ("Contents", "Versions", "DeleteMarkers")
_IDLE = 100  # the most pages in a row without anything new


def entries(calls: Calls, prefix: str) -> Iterator[Entry]:
    """As `Storage.list`."""
    for page in _pages(calls, "list_objects_v2", prefix, "NextContinuationToken", "ContinuationToken"):
        for one in page.get("Contents", ()):
            check(calls, one, "Key", "Size", "LastModified")
            time, version = one["LastModified"].timestamp(), bare(one.get("ETag", ""))
            yield Entry(one["Key"][len(calls.prefix) :], one["Size"], time, version)


def deleted_keys(calls: Calls, prefix: str, strict: bool) -> Iterator[str]:
    """As `Storage.deleted_keys`."""
    for one in _versions(calls, prefix, strict):
        if one["IsLatest"] and "Size" not in one:
            yield one["Key"][len(calls.prefix) :]


def delete(calls: Calls, key: str) -> None:
    """As `Storage.delete`. A role's session may not list versions, so its deletes only add a delete marker."""
    deleted = False
    for one in _versions(calls, key):
        if one["Key"] == calls.prefix + key:
            _delete(calls, key, VersionId=one["VersionId"])
            deleted = True
    if not deleted:
        _delete(calls, key)


def hide(calls: Calls, key: str) -> None:
    """As `Storage.hide`."""
    newest = next((one for one in _versions(calls, key) if one["Key"] == calls.prefix + key and one["IsLatest"]), None)
    if newest is not None and "Size" in newest:
        _delete(calls, key)


def _delete(calls: Calls, key: str, **version: Any) -> None:
    with contextlib.suppress(NotFound):  # from some servers, and from any if an intermediary sent it twice
        calls.call("delete_object", key, **version)


def older(calls: Calls, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
    """The last versions of a key before the current one, as `Storage.older`; none without the right to read them."""
    found = 0
    for one in _versions(calls, key):
        if one["Key"] != calls.prefix + key or one["IsLatest"] or "Size" not in one:
            continue
        found += 1
        if found > VERSIONS:
            return
        name = f"version {one['VersionId']} of {key}"
        if one["Size"] > limit:
            raise LimitExceeded(
                f"{name} of {calls.url} has {one['Size']} bytes, above the limit of {limit}", root=calls.url
            )
        try:
            yield name, calls.read(key, limit, VersionId=one["VersionId"])
        except AccessDenied:
            return
        except NotFound:  # deleted meanwhile
            continue


def bare(etag: str) -> str:
    """An ETag without quotes and without the prefix of a weak one."""
    return etag.removeprefix("W/").strip('"')


def _versions(calls: Calls, prefix: str, strict: bool = False) -> Iterator[Any]:
    """Versions and delete markers. If storage does not list them to us: none, or DeleteRefused if `strict`."""
    try:
        for page in _pages(calls, "list_object_versions", prefix, "NextKeyMarker", "KeyMarker"):
            for one in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                check(calls, one, "Key", "VersionId", "IsLatest")
                yield one
    except SecuredataError as error:
        if (refused := unlisted(calls, error)) is None:
            raise
        if strict:
            raise refused from error


def unlisted(calls: Calls, error: SecuredataError) -> DeleteRefused | None:
    """The refusal that an error means of a call that lists versions; None if it failed otherwise."""
    code = response(error).get("Error", {}).get("Code", "")
    if isinstance(error, AccessDenied):
        text = (
            f"{calls.url}: listing versions was refused ({code or 'AccessDenied'}), so nothing proves that older ones "
        )
        return DeleteRefused(f"{text}are gone: allow s3:ListBucketVersions, or {PARTIAL}", root=calls.url)
    if code in ("NotImplemented", "MethodNotAllowed"):
        return DeleteRefused(f"{calls.url} ({code}): {NO_VERSIONS}", root=calls.url)
    return None


def check(calls: Calls, one: Mapping[str, Any], *needed: str) -> None:
    """Check that an entry has the fields that S3 always gives, and is under the root."""
    for name in needed:
        if one.get(name) is None:
            raise odd(calls, f"an entry without {name}")
    if not one["Key"].startswith(calls.prefix) or ("Size" in one and one["Size"] < 0):
        raise odd(calls, "a key that is not under the root, or has a negative size")


def odd(calls: Calls, what: str) -> StorageUnreachable:
    """The error for a listing that is not one of S3."""
    text = f"{calls.url}: its listing has {what}; this is not how S3 lists: check the endpoint"
    return StorageUnreachable(text, root=calls.url)


def _pages(calls: Calls, operation: str, prefix: str, received: str, sent: str) -> Iterator[Any]:
    """All pages of a listing. `received`, `sent`: names of the token in an answer and in the next request."""
    token: dict[str, Any] = {}
    tokens: set[tuple[str, ...]] = set()
    before, idle = None, 0
    while True:
        page = calls.call(operation, None, Prefix=calls.prefix + prefix, **token)
        if page.get("IsTruncated") is None:  # also if the answer is not a listing at all, such as an empty page
            raise odd(calls, "no field IsTruncated")
        yield page
        if not page["IsTruncated"]:
            return
        if not page.get(received):
            raise odd(calls, f"more pages, but no field {received}")
        token = {sent: page[received]}
        if page.get("NextVersionIdMarker"):
            token["VersionIdMarker"] = page["NextVersionIdMarker"]
        # the same token again, or new tokens for the same page: the listing would never end
        first = [(one.get("Key"), one.get("VersionId")) for name in _LISTED for one in page.get(name, ())[:1]]
        idle = idle + 1 if first == before or not first else 0
        before, known = first, tuple(token.values())
        if known in tokens or idle > _IDLE:
            raise odd(calls, "no end")
        tokens.add(known)
