"""What became of the rows of an index: search a newer head for their objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.index import Index
from securedata.corpus.schema import optional
from securedata.corpus.state.head import Head
from securedata.corpus.state.retired import removed
from securedata.corpus.state.tables import part_missing, read_table
from securedata.errors import NotFound
from securedata.storage.base import Storage


class Searched(NamedTuple):
    """What a search of a head for the objects of an index found: numbers of rows, in Arrow, for it may be every row.

    Attributes:
        write_id: of the head.
        lacking: rows whose object it does not name, or names elsewhere: in a pack, or in another one.
        moved: those of them whose recording it has, elsewhere or under another object id.
        erased: those of them that an erasure took out, as far as a head can show it.
    """

    write_id: bytes
    of: Index
    lacking: pa.ChunkedArray
    moved: pa.ChunkedArray
    erased: pa.ChunkedArray


def search(storage: Storage, head: Head, index: Index, erasures: bool) -> Searched:
    """Search a head for the objects of an index: one GET for each part, and for each leaving list where that matters.

    If there were erasures, what neither the manifest has nor a leaving list shows as removed was erased. Removed rows
    of which no list is left, after a day or with --now, cannot be told from erased ones: nobody can read either.
    A recording that was sealed again is found by its path and its first object id. If it was sealed again more than
    once, an index has that only with the column `origin`; without it, a recording under that path counts as not erased.

    Args:
        erasures: have there been erasures since the index was made that no tombstone shows?

    Raises:
        PartMissing: storage does not have a part; the head may have been replaced meanwhile.
        FormatError, MalformedManifest, StorageError
    """
    there, packs, again = [], [], []
    for part in head.parts:
        try:
            named = read_table(storage, head.corpus_id, part, ["path", "object_id", "pack", "origin"])
        except NotFound as error:
            raise part_missing(storage.url, part) from error
        there += named.column("object_id").chunks
        packs += named.column("pack").chunks
        again.append(named.filter(pc.is_valid(optional(named, "origin"))))
    left = pa.table([index.table.column("object_id"), pa.array(np.arange(len(index)), pa.int64())], ["id", "row"])
    is_there = among(left.column("id"), pa.chunked_array(there, pa.binary(16)))
    elsewhere = left.filter(_elsewhere(index.table, there, packs)).column("row")
    left = left.filter(pc.invert(is_there))
    names = [name for name in ("object_id", "path", "origin") if name in index.table.schema.names]
    found, might = _sealed_again(index.table.select(names).take(left.column("row")), again)
    erased = left.filter(pc.invert(might)) if erasures else left.slice(0, 0)
    if erased.num_rows:
        waiting = pa.chunked_array([pa.array(removed(storage, head), pa.binary(16))])
        erased = erased.filter(pc.invert(among(erased.column("id"), waiting)))
    rows = left.column("row")
    lacking, moved = (
        pa.chunked_array([*one.chunks, *elsewhere.chunks], pa.int64()) for one in (rows, rows.filter(found))
    )
    return Searched(head.write_id, index, lacking, moved, erased.column("row"))


def _elsewhere(rows: pa.Table, ids: list[pa.Array], packs: list[pa.Array]) -> pa.Array:
    """Which rows of an index have an object that a manifest names in another place: since it was packed, say.

    Args:
        ids, packs: of all rows of the manifest.
    """
    mine = rows.column("pack")
    if mine.null_count == len(mine) and all(one.null_count == len(one) for one in packs):
        return pa.array(np.zeros(len(mine), dtype=bool))
    there = pa.chunked_array(packs, pa.binary(16))
    at = pc.index_in(rows.column("object_id"), value_set=pa.chunked_array(ids, pa.binary(16)).combine_chunks())
    now = there.take(at)
    same = pc.or_(pc.fill_null(pc.equal(mine, now), False), pc.and_(pc.is_null(mine), pc.is_null(now)))
    return pc.and_not(pc.is_valid(at), same)


def _sealed_again(rows: pa.Table, there: list[pa.Table]) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Which rows of an index are recordings that a manifest has under other objects, and which might be.

    By path too: after a split, the rows that were segments of one object have the same origin.

    Args:
        there: the rows of the manifest that have an origin.
    """
    ids = rows.column("object_id")
    firsts = pc.coalesce(optional(rows, "origin"), ids)
    found = might = pa.chunked_array([pa.array(np.zeros(len(ids), dtype=bool))])
    for named in there if len(ids) else ():
        if named.num_rows:
            at = pc.index_in(rows.column("path"), value_set=named.column("path").combine_chunks())
            same = pc.equal(named.column("origin").take(at), firsts)
            found = pc.or_(found, pc.fill_null(same, False))
            might = pc.or_(might, pc.is_valid(at))
    return found, found if "origin" in rows.schema.names else might


def among(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which of some ids are among others."""
    return pc.is_in(ids, value_set=known.combine_chunks())


def has(rows: pa.ChunkedArray, i: int) -> bool:
    """Is a row among some?"""
    return bool(pc.index(rows, pa.scalar(i, pa.int64())).as_py() >= 0)
