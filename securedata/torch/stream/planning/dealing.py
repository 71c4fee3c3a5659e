"""How rows are dealt to ranks and to the workers of each: in runs, as equal as whole numbers allow."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Range = tuple[int, int]


class Share(NamedTuple):
    """Runs of items: those to deliver, then those that only fill up, which another rank delivers as well."""

    own: tuple[Range, ...]
    pads: tuple[Range, ...] = ()


def size_of(share: Share) -> int:
    """How many items a share has."""
    return sum(b - a for a, b in (*share.own, *share.pads))


def rank_share(items: int, ranks: int, rank: int, uneven: str | None) -> Share:
    """The share of one rank; see `EncryptedStream` for `uneven`."""
    if uneven is None:
        return Share(((items * rank // ranks, items * (rank + 1) // ranks),))
    each = items // ranks if uneven == "drop" else -(-items // ranks)
    a, b = rank * each, (rank + 1) * each
    own = ((min(a, items), min(b, items)),)
    pads: list[Range] = []
    at = max(a, items)
    while at < b:  # from the beginning again, several times if there are more ranks than items
        start = at % items
        take = min(b - at, items - start)
        pads.append((start, start + take))
        at += take
    return Share(own, tuple(pads))


def undealt(items: int, ranks: int, uneven: str | None) -> Range:
    """The items that no rank gets."""
    return (items // ranks * ranks, items) if uneven == "drop" else (items, items)


def worker_share(share: Share, workers: int, worker: int) -> Share:
    """The share of one worker of a rank: the first workers have one item more, as the loader asks them first."""
    each, more = divmod(size_of(share), workers)
    a = worker * each + min(worker, more)
    b = a + each + (worker < more)
    at = 0
    kept: list[list[Range]] = [[], []]
    for which, ranges in enumerate((share.own, share.pads)):
        for lo, hi in ranges:
            first, last = max(a, at), min(b, at + hi - lo)
            if first < last:
                kept[which].append((lo + first - at, lo + last - at))
            at += hi - lo
    return Share(tuple(kept[0]), tuple(kept[1]))


def cut(sizes: Sequence[int], at: int) -> list[int]:
    """How many items of each list are among the first `at`, if all lists are spread evenly over the whole.

    It grows with `at` in every list, and the sum is `at`.
    """
    if len(sizes) == 1:
        return [at]
    total = sum(sizes)
    if at >= total:
        return list(sizes)
    # item i of a list of n stands at (2i + 1) / 2n of the whole; this start is at most the answer, then one by one
    taken = [max(0, size * at // total - len(sizes) // 2 - 2) for size in sizes]
    for _ in range(at - sum(taken)):
        left = [which for which, size in enumerate(sizes) if taken[which] < size]
        least = min(left, key=lambda which: (Fraction(2 * taken[which] + 1, sizes[which]), which))
        taken[least] += 1
    return taken


def delivered(share: int, workers: int, worker: int, batch: int, steps: int) -> int:
    """How many items a worker with `share` of them has delivered after `steps` batches of its rank.

    A loader takes a batch of each worker in turn, also from the worker that has one batch more than the others.
    """
    batches = (steps - worker + workers - 1) // workers if steps > worker else 0
    return min(share, batch * batches)
