"""Ranges of one pack that lie beside each other are fetched by one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from securedata.errors import NotFound, SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.storage.base import Storage, Wanted

MOST = 8 * 1024 * 1024
"""Bytes of one request for several ranges."""
GAP = 64 * 1024
"""Bytes between two ranges that are fetched for nothing rather than by another request: a millisecond or less."""

PER_REQUEST = 32
"""Objects in packs that work is divided as if one request fetched them: their batches are limited by bytes."""

Member = tuple[int, int, int]
"""The position of a range, where it begins in what is fetched, and its length."""


def joined(wanted: Sequence[Wanted], packed: Sequence[bool]) -> tuple[list[Wanted], list[list[Member]]]:
    """Join ranges of packs that are at most `GAP` bytes apart, up to `MOST` bytes; all others stay as they are.

    Args:
        packed: for each range, whether its object lies in a pack.

    Returns:
        What to fetch, in the order of the first range of each, and the ranges that each holds.
    """
    order = sorted((at for at, one in enumerate(packed) if one), key=lambda at: wanted[at][:2])
    groups: dict[int, list[int]] = {at: [at] for at, one in enumerate(packed) if not one}
    key, begin, end, group = "", 0, 0, list[int]()
    for at in order:
        one = wanted[at]
        stop = max(end, one.offset + one.length)
        if group and one.key == key and one.offset <= end + GAP and stop - begin <= MOST:
            group.append(at)
            end = stop
            continue
        key, begin, end, group = one.key, one.offset, one.offset + one.length, [at]
        groups[at] = group
    fetched, members = [], []
    for group in sorted(groups.values(), key=min):
        if len(group) == 1:
            one = wanted[group[0]]
            fetched.append(one)
            members.append([(group[0], 0, one.length)])
            continue
        begin = wanted[group[0]].offset
        end = max(wanted[at].offset + wanted[at].length for at in group)
        fetched.append(Wanted(wanted[group[0]].key, begin, end - begin, end - begin))
        members.append([(at, wanted[at].offset - begin, wanted[at].length) for at in group])
    return fetched, members


def fetch_joined(
    storage: Storage, wanted: Sequence[Wanted], packed: Sequence[bool], in_flight: int
) -> Iterator[tuple[int, Buffer | SecuredataError]]:
    """As `Storage.get_many`, by the requests of `joined`.

    If one of them fails, each of its ranges is fetched alone, so that a sector that cannot be read costs one object. A
    pack that is missing costs one request.
    """
    fetched, members = joined(wanted, packed)
    for number, got in storage.get_many(fetched, in_flight):
        mine = members[number]
        if len(mine) == 1:
            yield mine[0][0], got
        elif isinstance(got, NotFound):
            for at, _, _ in mine:
                yield at, got
        elif isinstance(got, SecuredataError):
            places = [at for at, _, _ in mine]
            for position, one in storage.get_many([wanted[at] for at in places], in_flight):
                yield places[position], one
        else:
            view = memoryview(got)
            for at, begin, length in mine:
                yield at, view[begin : begin + length]
