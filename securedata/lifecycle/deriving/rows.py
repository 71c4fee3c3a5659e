"""Rows that were made from rows of another corpus: what decides that they may enter, and what a later run compares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.checks import CHECKED
from securedata.corpus.rows.inherit import CLEARABLE
from securedata.corpus.schema import OPTIONAL, optional
from securedata.corpus.writer import Writer

WORDS = CLEARABLE
"""Columns of words and consent, which change in the source without another recording."""

COPIED = "copied"
"""The member of a corpus's settings that says which corpus its recordings were exported from."""

Row = dict[str, Any]


def first_object(corpus: Corpus, row: int) -> bytes:
    """The id of the recording's first object, which stays when it is sealed again."""
    origin, object_id = corpus.index.values(("origin", "object_id"), row)
    found: bytes = object_id if origin is None else origin
    return found


def of_source(corpus: Corpus, rows: Iterable[int]) -> pa.Table:
    """What decides whether something made from these rows can be committed: people, consent, digests, places."""
    return corpus.table.select(CHECKED).take(pa.array(list(rows), pa.int64()))


def rows_there(writer: Writer, columns: tuple[str, ...]) -> Iterator[Row]:
    """These columns of the rows of a derived corpus, part by part; null where parts lack them."""
    for part in writer.head.parts:
        yield from columns_of(writer.read_table(part, None), columns).to_pylist()


def columns_of(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    """These columns of some rows; null where they lack one that parts may lack."""
    return pa.table({name: _column(table, name) for name in columns})


def fingerprint(values: Iterable[Any]) -> bytes:
    """A digest of some cells, with lists in any order; it stands for them in memory."""
    alike = [sorted(one) if isinstance(one, list) else one for one in values]
    return hashlib.blake2b(repr(alike).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    return optional(table, name) if name in OPTIONAL.names else table.column(name)
