"""Which objects to pack, and in which order.

The order is a hash of the object id under the seed: any run draws the same order, however often it was interrupted.
Objects are drawn from a window of the manifest's rows, since a commit rewrites every part that it takes rows from: an
order over all of 10 million rows would have each commit rewrite the whole manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import MAX_ROWS
from securedata.corpus.state.head import Head, TableRef

SIZE = 256_000_000
"""Bytes of a pack, unless it is given."""
MOST = 8_000_000
"""Sealed bytes of an object above which it stays alone, unless it is given."""
WINDOW_ROWS = 1_000_000
COLUMNS = ("path", "object_id", "data_key", "pack", "offset", "sealed_size", "size", "subjects")
GROUPS = ("subject",)

_U64 = np.uint64

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to pack, and how.

    Attributes:
        size: bytes of a pack.
        least, most: sealed bytes of an object that has a storage key of its own.
        group: 'subject': objects of the same people lie together; '': all in one random order.
        packs: the members of these packs are chosen; None: the objects with storage keys of their own are.
    """

    size: int = SIZE
    least: int = 0
    most: int = MOST
    seed: int = 0
    group: str = ""
    packs: frozenset[bytes] | None = None


def hits(choice: Choice, table: pa.Table, left: Collection[bytes]) -> pa.ChunkedArray:
    """Which rows name an object that is chosen; `left`: ids of objects that are not."""
    pack, size = table.column("pack"), table.column("sealed_size")
    if choice.packs is not None:
        mask = pc.is_in(pack, value_set=pa.array(sorted(choice.packs), pa.binary(16)))
    else:
        mask = pc.and_(
            pc.is_null(pack), pc.and_(pc.greater_equal(size, choice.least), pc.less_equal(size, choice.most))
        )
    if left:
        mask = pc.and_not(mask, pc.is_in(table.column("object_id"), value_set=pa.array(list(left), pa.binary(16))))
    return mask


def window(
    head: Head,
    read: Callable[[TableRef, tuple[str, ...]], pa.Table],
    choice: Choice,
    left: Collection[bytes],
    most: float = WINDOW_ROWS,
) -> tuple[pa.Table, bool]:
    """The chosen objects of the first rows, each as its first row with the column `rows`; and whether these are all."""
    found: list[pa.Table] = []
    rows = 0
    for part in head.parts:
        if rows >= most:
            return pa.concat_tables(found), False
        table = read(part, COLUMNS).select(COLUMNS)
        table = _first_rows(table.filter(hits(choice, table, left)))
        found += [table] if table.num_rows else []
        rows += table.num_rows
    return (pa.concat_tables(found) if found else pa.table({})), True


def _first_rows(table: pa.Table) -> pa.Table:
    """One row of each object, and how many it has; all of them are in one part."""
    if not table.num_rows:
        return table
    codes = table.column("object_id").combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    return table.take(pa.array(first)).append_column("rows", pa.array(counts))


def order(table: pa.Table, choice: Choice) -> Numbers:
    """The objects of a window in the order of their packs."""
    ids = table.column("object_id").combine_chunks()
    halves = np.frombuffer(ids.buffers()[1], dtype=_U64, count=2 * len(ids), offset=16 * ids.offset)
    drawn = _mixed(halves[::2] ^ _mixed(halves[1::2] ^ _U64(choice.seed % 2**64)))
    if not choice.group:
        return np.argsort(drawn, kind="stable")
    codes, hashes = people(table, choice)
    return np.lexsort((drawn, codes, hashes[codes]))


def people(table: pa.Table, choice: Choice) -> tuple[Numbers, np.ndarray[Any, np.dtype[_U64]]]:
    """For each object the number of its people, and for each such number a hash under the seed."""
    key = choice.seed.to_bytes(16, "little", signed=True)
    numbers: dict[tuple[str, ...], int] = {}
    codes = [numbers.setdefault(tuple(sorted(names)), len(numbers)) for names in table.column("subjects").to_pylist()]
    texts = ("\0".join(names).encode(errors="surrogatepass") for names in numbers)
    hashes = [int.from_bytes(hashlib.blake2b(text, digest_size=8, key=key).digest(), "little") for text in texts]
    return np.array(codes, np.int64), np.array(hashes, _U64)


def _mixed(values: np.ndarray[Any, np.dtype[_U64]]) -> np.ndarray[Any, np.dtype[_U64]]:
    """The finalizer of splitmix64; the ids are random already, so this only has to depend on the seed."""
    values = (values ^ (values >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> _U64(27))) * _U64(0x94D049BB133111EB)
    return values ^ (values >> _U64(31))


def packs_of(table: pa.Table, choice: Choice, whole: bool) -> Iterator[Numbers]:
    """Cut the ordered objects into packs.

    Args:
        whole: the window has all that is chosen; otherwise its last pack, which is not full, waits for the next window.
    """
    wanted = order(table, choice)
    sizes, rows = table.column("sealed_size").to_numpy(), table.column("rows").to_numpy()
    ends = _room_for_people(table, choice, wanted, sizes)
    begin = size = count = 0
    for at, i in enumerate(wanted.tolist()):
        full = size + int(sizes[i]) > choice.size or count + int(rows[i]) > MAX_ROWS
        if at > begin and (full or (2 * size >= choice.size and size + int(ends[at]) > choice.size)):
            yield wanted[begin:at]
            begin, size, count = at, 0, 0
        size, count = size + int(sizes[i]), count + int(rows[i])
    if whole and len(wanted) > begin:
        yield wanted[begin:]


def _room_for_people(table: pa.Table, choice: Choice, wanted: Numbers, sizes: Numbers) -> Numbers:
    """At the first object of each group of people that fits into a pack, the group's size; elsewhere 0."""
    found = np.zeros(len(wanted), np.int64)
    if choice.group and len(wanted):
        codes = people(table, choice)[0][wanted]
        first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        groups = np.add.reduceat(sizes[wanted], first)
        found[first] = np.where(groups <= choice.size, groups, 0)
    return found
