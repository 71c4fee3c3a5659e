"""All versions of many keys on S3: a walk over the listing, or a listing for each key, whichever is less.

A page of 1,000 entries costs a server about as much as 60 listings of one key (SeaweedFS: 130 and 2 ms). So the listing
is walked while at least one entry in `SPARSE` belongs to a wanted key; where it does not, the walk jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from securedata.errors import SecuredataError
from securedata.storage.s3.calls import Calls
from securedata.storage.s3.listing import check, odd, unlisted
from securedata.threads import BoundedPool

SPARSE = 16
"""The most entries of a walk for one that is wanted."""
PAGE = 1000
"""The most entries of a page."""
_FEW = 4  # keys that are not worth a page
_ALONE, _MOST_ALONE = 32, 512  # keys listed by themselves until a page is tried again
_THREADS = 8

Found = tuple[str, list[str]]
"""A key and the ids of its versions and delete markers."""
Version = Mapping[str, Any]
"""An entry of the listing, as boto3 gives it; a delete marker has no Size."""


class _Page(NamedTuple):
    entries: list[Version]
    """Versions in the order of the listing, and after them the delete markers in the same order."""
    more: tuple[str, str] | None
    """Markers of key and version to go on after; None on the last page."""


def versions_of(calls: Calls, keys: Sequence[str], page: int | None = None) -> Iterator[Found]:
    """All versions of sorted keys; an empty list for a key that is not there.

    Args:
        page: entries of the first page, None for `PAGE`; each next page has twice as many, up to `PAGE`. A listing
            cannot be told where to end, so a large page can bring much that nobody wants behind the last key.

    Raises:
        DeleteRefused: versions are not listed to us.
        StorageUnreachable: no answer, or one that is no listing of S3.
    """
    try:
        for _, of in groupby(keys, key=lambda key: key.partition("/")[0]):
            yield from _of_group(calls, list(of), page or PAGE)
    except SecuredataError as error:
        if refused := unlisted(calls, error):
            raise refused from error
        raise


def below(calls: Calls, key: str, version: str) -> list[Version]:
    """Versions and delete markers of a key that are listed after one of its versions. '': all of them.

    Versions come in the order of the listing, and after them the delete markers in the same order.

    Raises:
        as `versions_of`.
    """
    found: list[Version] = []
    try:
        for page in _pages(calls, key, (calls.prefix + key, version) if version else None, PAGE):
            found += [one for one in page.entries if one["Key"] == calls.prefix + key]
            if page.more is None or page.more[0] > calls.prefix + key:
                break
    except SecuredataError as error:
        if refused := unlisted(calls, error):
            raise refused from error
        raise
    return sorted(found, key=lambda one: "Size" not in one)


def _of_group(calls: Calls, keys: list[str], size: int) -> Iterator[Found]:
    at, alone = 0, _ALONE
    prefix = _shared(keys[0], keys[-1])
    while at < len(keys):
        if len(keys) - at > _FEW:
            for found, listed, useful in _walk(calls, prefix, keys[at:], size):
                yield from found
                at += len(found)
                if useful * SPARSE < listed:  # jump: the next ones are listed by themselves
                    break
                alone, size = _ALONE, PAGE
            if at == len(keys):
                return
        yield from _each(calls, keys[at : at + alone])
        at += alone
        alone = min(2 * alone, _MOST_ALONE)


def _shared(first: str, last: str) -> str:
    """What two keys, and all that sort between them, begin with."""
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _each(calls: Calls, keys: Sequence[str]) -> Iterator[Found]:
    """Each key by a listing of its own, several at once."""
    if len(keys) == 1:
        yield keys[0], _one(calls, keys[0])
        return
    with BoundedPool[str, list[str]]("list", _THREADS, 2 * _THREADS) as pool:
        for key, future in pool.results((key, partial(_one, calls, key)) for key in keys):
            yield key, future.result()


def _one(calls: Calls, key: str) -> list[str]:
    return [id for found, _, _ in _walk(calls, key, [key], PAGE) for _, ids in found for id in ids]


def _walk(calls: Calls, prefix: str, keys: Sequence[str], size: int) -> Iterator[tuple[list[Found], int, int]]:
    """Walk the listing under a prefix, from the first of sorted keys to the last.

    Yields for each page the keys whose versions are all known, how many entries it had, and how many of them, or of the
    keys that are not there, were of use.
    """
    wanted: dict[str, list[str]] = {calls.prefix + key: [] for key in keys}
    todo = list(wanted)
    at = 0
    start = todo[0][:-1]  # sorts before the key, and after all that do not share this much with it
    after = (start, "") if len(start) > len(calls.prefix + prefix) else None
    for page in _pages(calls, prefix, after, size):
        before = at
        useful = 0
        for one in page.entries:
            if (ids := wanted.get(one["Key"])) is not None:
                ids.append(one["VersionId"])
                useful += 1
        while at < len(todo) and (page.more is None or todo[at] < page.more[0] or page.more == (todo[at], "")):
            at += 1
        found = [(key[len(calls.prefix) :], wanted.pop(key)) for key in todo[before:at]]
        yield found, len(page.entries), useful + sum(not ids for _, ids in found)
        if at == len(todo):
            return


def _pages(calls: Calls, prefix: str, after: tuple[str, str] | None, size: int) -> Iterator[_Page]:
    """Pages of ListObjectVersions in the order of keys, which is checked: a key that was passed counts as missing."""
    seen: set[str] = set()
    while True:
        markers: dict[str, Any] = {"MaxKeys": size}
        if after is not None:
            markers |= {"KeyMarker": after[0], "VersionIdMarker": after[1]} if after[1] else {"KeyMarker": after[0]}
        size = min(2 * size, PAGE)
        page = calls.call("list_object_versions", None, Prefix=calls.prefix + prefix, **markers)
        entries: list[Version] = []
        for name in ("Versions", "DeleteMarkers"):
            last = after[0] if after else ""
            for one in page.get(name, ()):
                check(calls, one, "Key", "VersionId", "IsLatest")
                if one["Key"] < last or (after and not after[1] and one["Key"] == after[0]):
                    raise odd(calls, "keys that are not in order")
                last = one["Key"]
                entries.append(one)
        more = _more(calls, page, entries)
        yield _Page(entries, more)
        if more is None:
            return
        if after is None or more[0] > after[0]:
            seen = set()
        new = {one["VersionId"] for one in entries if one["Key"] == more[0]} - seen
        if after is not None and (more[0] < after[0] or (more[0] == after[0] and not new)):
            raise odd(calls, "no end")
        seen |= new
        after = more


def _more(calls: Calls, page: Mapping[str, Any], entries: Sequence[Version]) -> tuple[str, str] | None:
    """Where the next page begins; None if this is the last one."""
    if page.get("IsTruncated") is None:  # also if the answer is not a listing at all, such as an empty page
        raise odd(calls, "no field IsTruncated")
    if not page["IsTruncated"]:
        return None
    if not page.get("NextKeyMarker"):
        raise odd(calls, "more pages, but no field NextKeyMarker")
    more = (str(page["NextKeyMarker"]), str(page.get("NextVersionIdMarker") or ""))
    if any(one["Key"] > more[0] for one in entries):
        raise odd(calls, "keys that are not in order")
    return more
