"""Some columns of many manifest parts: only the bytes that hold them are fetched and opened, of several parts at once.

A row has 32 bytes of key, as many of digest and 16 of id, which do not compress: a filter's columns are a few percent
of a part. Two rounds of requests find them: the file's two ends say where the columns are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import pyarrow as pa

from securedata.corpus.rows.arrow_file import Lacking, Layout, Refused, layout_of
from securedata.corpus.state.head import TableRef
from securedata.corpus.state.tables import expected, read_table, refuse_table, table_of
from securedata.errors import FormatError, SecuredataError
from securedata.format.cobblestone import CHUNK
from securedata.format.sparse import OtherHeader, SparseObject
from securedata.storage.base import Buffer, Storage, Wanted

IN_FLIGHT = 64 * 2**20
"""Bytes that are under way at once."""
TOGETHER = 256 * 2**20
"""Bytes of the parts that are read together, if all their columns were needed."""
SMALL = 16 * CHUNK
"""A part up to this size is fetched whole: a second request costs more."""


def together(parts: Sequence[TableRef]) -> Iterator[range]:
    """The numbers of parts to read by one `read_columns`, one range after the other."""
    start = size = 0
    for number, part in enumerate(parts):
        if size and size + part.size > TOGETHER:
            yield range(start, number)
            start, size = number, 0
        size += part.size
    if start < len(parts):
        yield range(start, len(parts))


def read_columns(
    storage: Storage, corpus_id: bytes, refs: Sequence[TableRef], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The tables of parts, in order, with the rows of all and these columns.

    Raises:
        NotFound, FormatError, MalformedManifest: of the part whose turn it is.
    """
    reads = deque(_Read(storage, corpus_id, ref, columns) for ref in refs)
    while asked := [(one, place) for one in reads for place in one.ask()]:
        wanted = [Wanted(one.ref.storage_key, *place, least=place[1]) for one, place in asked]
        for at, got in storage.get_many(wanted, IN_FLIGHT):
            one, place = asked[at]
            one.take(place, got)
    while reads:
        yield reads.popleft().table()


class _Read:
    """One part on its way. An error is kept until its table is wanted."""

    def __init__(self, storage: Storage, corpus_id: bytes, ref: TableRef, columns: Sequence[str]) -> None:
        self.ref = ref
        self._storage, self._corpus_id, self._columns = storage, corpus_id, columns
        self._expect = expected(corpus_id, ref, storage.url)
        self._object: SparseObject | None = None
        self._error: SecuredataError | None = None
        self._problem = ""
        self._asked: list[tuple[int, int]] = []
        self._got: dict[tuple[int, int], Buffer] = {}
        self._layout: Layout | None = None
        self._begun = False

    def ask(self) -> list[tuple[int, int]]:
        """What to fetch next: offsets and lengths; nothing if it is complete, or cannot be read so."""
        self._asked, self._got = self._next(), {}
        return self._asked

    def _next(self) -> list[tuple[int, int]]:
        if not self._begun:
            self._begun = True
            try:
                self._object = SparseObject(self.ref.key, self._expect)
            except OtherHeader:
                return []
            size = self._object.size
            return self._object.ranges([(0, size)] if size <= SMALL else [(0, CHUNK), (size - CHUNK, size)])
        if self._object is None or self._error is not None or self._layout is not None:
            return []
        try:
            self._layout = layout_of(self._object.plain, self.ref.rows, self._columns, self._object.has)
            return self._object.ranges(self._layout.buffers)
        except Lacking as more:
            return self._object.ranges([more.range])
        except Refused as error:
            self._problem = str(error)
            return []

    def take(self, place: tuple[int, int], got: Buffer | SecuredataError) -> None:
        """Take one of the ranges that were asked for; the last one opens them all."""
        if isinstance(got, SecuredataError):
            self._error = self._error or got
            return
        self._got[place] = got
        if self._object is None or len(self._got) < len(self._asked):
            return
        try:
            self._object.open([self._got[one] for one in self._asked], self._asked)
        except OtherHeader:
            self._object = None
        except FormatError as error:
            self._error = error
        self._got = {}

    def table(self) -> pa.Table:
        """Decode it. Raises as `read_columns`."""
        if self._error is not None:
            raise self._error
        if self._problem:
            refuse_table(self._problem, self._expect)
        if self._object is None:
            return read_table(self._storage, self._corpus_id, self.ref, self._columns)
        return table_of(self._object.plain, self.ref, self._columns, self._expect, layout=self._layout)
