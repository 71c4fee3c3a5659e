"""Listing and deleting on S3, with all versions where the bucket keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from securedata.errors import AccessDenied, LimitExceeded, NotFound, StorageUnreachable
from securedata.storage.base import Buffer, Entry
from securedata.storage.s3calls import Calls, response

VERSIONS = 64
"""Older versions of one key that are looked at."""


def entries(calls: Calls, prefix: str) -> Iterator[Entry]:
    """As `Storage.list`."""
    for page in _pages(calls, "list_objects_v2", prefix, "NextContinuationToken", "ContinuationToken"):
        for one in page.get("Contents", ()):
            time, version = one["LastModified"].timestamp(), bare(one.get("ETag", ""))
            yield Entry(one["Key"][len(calls.prefix) :], one["Size"], time, version)


def hidden(calls: Calls) -> Iterator[str]:
    """As `Storage.hidden`; none are found by whoever may not list versions."""
    for one in _versions(calls, ""):
        if one["IsLatest"] and "Size" not in one:
            yield one["Key"][len(calls.prefix) :]


def delete(calls: Calls, key: str) -> None:
    """As `Storage.delete`; what a role's session deletes is hidden by a marker, since it may not list versions."""
    deleted = False
    for one in _versions(calls, key):
        if one["Key"] == calls.prefix + key:
            calls.call("delete_object", key, VersionId=one["VersionId"])
            deleted = True
    if not deleted:
        calls.call("delete_object", key)


def older(calls: Calls, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
    """The last versions of a key before the current one, as `Storage.older` gives them.

    None are found by whoever may not list or read them.
    """
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
        except NotFound:  # deleted while we looked
            continue


def bare(etag: str) -> str:
    """An ETag without quotes, and without the mark of a weak one."""
    return etag.removeprefix("W/").strip('"')


def _versions(calls: Calls, prefix: str) -> Iterator[Any]:
    """Versions and delete markers; none where storage has none, or does not show them."""
    try:
        for page in _pages(calls, "list_object_versions", prefix, "NextKeyMarker", "KeyMarker"):
            yield from [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
    except AccessDenied:
        return
    except StorageUnreachable as error:
        if response(error).get("Error", {}).get("Code", "") not in ("NotImplemented", "MethodNotAllowed"):
            raise


def _pages(calls: Calls, operation: str, prefix: str, told: str, asked: str) -> Iterator[Any]:
    token: dict[str, Any] = {}
    while True:
        page = calls.call(operation, None, Prefix=calls.prefix + prefix, **token)
        yield page
        if not page.get("IsTruncated"):
            return
        token = {asked: page[told]}
        if page.get("NextVersionIdMarker"):
            token["VersionIdMarker"] = page["NextVersionIdMarker"]
