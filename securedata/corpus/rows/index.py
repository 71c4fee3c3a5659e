"""The rows of an opened corpus in memory: columns in one memfd, data keys in another, no Python object per row."""

from __future__ import annotations

import io
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from securedata.corpus.rows.arrow_cells import cells, values
from securedata.corpus.rows.memfd import SharedBytes
from securedata.corpus.schema import OPTIONAL, OTHER, SCHEMA, STORAGE_COLUMNS, with_optional
from securedata.corpus.state.consent import Admission, LeftOut
from securedata.corpus.state.layout import object_key, pack_key
from securedata.errors import InvalidArgument, NoSuchPath
from securedata.foreign.describe import describe
from securedata.format.sealed import LEAST, Expect, refuse_length

_KEY = 32
_NO_END = 2**63 - 1


class Location(NamedTuple):
    """Where an object is, and its sizes in bytes."""

    object_id: bytes
    pack: bytes | None
    offset: int | None
    sealed_size: int
    size: int


_ENDS = 2**63  # beyond what any storage can address


def place_of(location: Location, expect: Expect) -> tuple[str, int]:
    """The storage key of an object, alone or in a pack, and its offset under that key.

    Checked here, since storage reads a negative offset as another range, and adds offsets before it compares them.

    Raises:
        Truncated: no object can have the position or the size that the row gives.
    """
    size, pack = location.sealed_size, location.pack
    offset = 0 if pack is None else location.offset or 0
    if offset < 0 or size < LEAST or size + offset >= _ENDS:
        refuse_length(expect, f"{size} from {offset}, as the row says")
    return object_key(location.object_id) if pack is None else pack_key(pack), offset


class Index:
    """Rows in the order of the head's parts. The columns are fixed when the index is built."""

    first_end: float
    """When the first of its rows may no longer be read, in seconds since the epoch; inf: none has an end.

    -inf: none may be read, because the index was made to list the rows. Once rows were closed it is no later than now.
    """
    erased: frozenset[int] = frozenset()
    restricted: frozenset[int] = frozenset()
    """Rows that were closed since: their person was erased, or their erasure waits for the end of a hold."""
    others: int = 0
    """Rows that were left out because they are no recordings, nor features of one."""

    def __init__(
        self,
        columns: SharedBytes,
        keys: SharedBytes,
        ends: SharedBytes | None = None,
        left_out: LeftOut = LeftOut(),  # noqa: B008 - immutable
    ) -> None:
        """`ends`: int64 [rows], when each may no longer be read, in microseconds; None: none has an end."""
        self._columns = columns
        self._keys = keys
        self._shared_ends = ends
        self.left_out = left_out
        self._ends = None if ends is None else np.frombuffer(ends.view, np.int64)
        reader = ipc.open_file(pa.py_buffer(columns.view), options=ipc.IpcReadOptions(use_threads=False))
        self.table: pa.Table = reader.read_all()
        batches = self.table.to_batches()
        self._starts = [0]
        for batch in batches:
            self._starts.append(self._starts[-1] + batch.num_rows)
        self._cells = [{name: cells(batch.column(name)) for name in batch.schema.names} for batch in batches]
        self._places = [_Places(batch) for batch in batches]
        self._order: np.ndarray[Any, np.dtype[np.int64]] | None = None
        if self._ends is not None and len(self):
            self.first_end = int(self._ends.min()) / 1e6
        else:
            self.first_end = -math.inf if len(self) and not keys.size else math.inf

    @classmethod
    def build(
        cls,
        parts: Iterable[Callable[[], pa.Table]],
        columns: Sequence[str],
        filter: pc.Expression | None,
        admission: Admission | None = None,
        listed: bool = False,
    ) -> Index:
        """Build an index part by part; only one part is decoded at a time.

        Args:
            parts: callables that each return one part's table, with `data_key`; called once, in order.
            columns: columns to keep besides the storage columns.
            filter: the rows to keep, as an expression over the manifest's columns.
            admission: decides which of those may be read; None: all.
            listed: keep all rows that match, and count the others, but keep no keys.

        Raises:
            InvalidArgument: the filter does not fit the columns.
            what `parts` raises
        """
        names = list(dict.fromkeys([*STORAGE_COLUMNS, *columns]))
        keys: list[bytes] = []
        ends: list[pa.Array | pa.ChunkedArray] = []

        def fill_columns(file: io.RawIOBase) -> None:
            writer: ipc.RecordBatchFileWriter | None = None

            def kept_rows() -> Iterator[pa.Table]:
                for part in parts:
                    table, found = _filtered(part(), filter, None if listed else admission)
                    if admission is not None and listed:
                        admission.admit(table)
                    elif admission is not None:
                        ends.append(table.column("expires"))
                    keys.append(b"" if listed else found)
                    yield table.select([name for name in names if name in table.schema.names])

            tables: Iterable[pa.Table] = kept_rows()
            if any(name not in SCHEMA.names for name in names):
                tables = _alike(list(tables), names)
            for table in tables:
                kept = table.combine_chunks()
                if writer is None:
                    writer = ipc.new_file(
                        pa.PythonFile(file, "w"), kept.schema, options=ipc.IpcWriteOptions(use_threads=False)
                    )
                writer.write_table(kept)
            if writer is None:
                raise InvalidArgument("an index needs at least one table, even an empty one, for its schema")
            writer.close()

        def fill_keys(file: io.RawIOBase) -> None:
            for one in keys:
                file.write(one)

        def fill_ends(file: io.RawIOBase) -> None:
            for one in ends:
                file.write(pc.fill_null(one.cast(pa.int64()), _NO_END).to_numpy())

        shared_columns = SharedBytes.build("securedata-index", fill_columns)
        shared_keys = SharedBytes.build("securedata-keys", fill_keys)
        some_end = any(one.null_count < len(one) for one in ends)
        shared_ends = SharedBytes.build("securedata-ends", fill_ends) if some_end else None
        return cls(shared_columns, shared_keys, shared_ends, admission.left_out if admission else LeftOut())

    def __len__(self) -> int:
        return self._starts[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        closed = (self.erased, self.restricted, self.others)
        return _index, (self._columns, self._keys, self._shared_ends, self.left_out, *closed)

    def close_rows(self, erased: frozenset[int], restricted: frozenset[int]) -> None:
        """Set which rows may not be read any more, in this process and those that get the index from it."""
        self.erased, self.restricted = erased, restricted
        if erased or restricted:
            self.first_end = min(self.first_end, 0.0)

    @property
    def shareable(self) -> bool:
        """Can it be passed in memory to a worker that multiprocessing starts?"""
        return all(one.shareable for one in self._shared())

    def populate(self) -> None:
        """Touch all pages; called before workers start."""
        for one in self._shared():
            one.populate()

    def close(self) -> None:
        """Close the descriptors that workers would get."""
        for one in self._shared():
            one.close()

    def _shared(self) -> list[SharedBytes]:
        return [one for one in (self._columns, self._keys, self._shared_ends) if one is not None]

    # ------------------------------------------------------------ rows

    def row(self, i: int) -> int:
        """The row number of a sequence index, which may be negative.

        Raises:
            IndexError
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        return i % len(self)

    def value(self, column: str, i: int) -> Any:
        """The Python value of one cell."""
        chunk = bisect_right(self._starts, i) - 1
        return self._cells[chunk][column](i - self._starts[chunk])

    def values(self, columns: Sequence[str], i: int) -> list[Any]:
        """The Python values of several cells of one row."""
        chunk = bisect_right(self._starts, i) - 1
        batch, at = self._cells[chunk], i - self._starts[chunk]
        return [batch[column](at) for column in columns]

    def location(self, i: int) -> Location:
        """Where the object of a row is."""
        chunk = bisect_right(self._starts, i) - 1
        return self._places[chunk].at(i - self._starts[chunk])

    def key(self, i: int) -> memoryview:
        """The 32-byte data key of a row's object."""
        return self._keys.view[i * _KEY : (i + 1) * _KEY]

    def end(self, i: int) -> float:
        """When a row may no longer be read, in seconds since the epoch; inf: it has no end."""
        end = _NO_END if self._ends is None else int(self._ends[i])
        return math.inf if end == _NO_END else end / 1e6

    # ------------------------------------------------------------ paths

    @property
    def order(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Row numbers sorted by path; sorted at first use (about a second for a million rows)."""
        if self._order is None:
            # Arrow sorts each batch, then merges; UTF-8 sorts like code points
            self._order = pc.sort_indices(self.table.column("path")).to_numpy().astype(np.int64)
        return self._order

    def path(self, i: int) -> str:
        """The logical path of a row."""
        return str(self.value("path", i))

    def lower_bound(self, path: str) -> int:
        """The position in `order` of the first row whose path is not below `path`."""
        wanted = path.encode(errors="surrogatepass")  # no path has surrogates, so this finds none
        return bisect_left(_Sorted(self), wanted)

    def find(self, path: str) -> int:
        """The row of a path.

        Raises:
            NoSuchPath
        """
        at = self.lower_bound(path)
        if at < len(self):
            row = int(self.order[at])
            if self.path(row) == path:
                return row
        folder = path.rstrip("/") + "/"
        at = self.lower_bound(folder)
        if at < len(self) and self.path(int(self.order[at])).startswith(folder):
            raise NoSuchPath("a folder of the corpus, not a recording: 'securedata ls' lists it", path=path)
        raise NoSuchPath("the corpus has no such path, or a filter or missing consent left it out", path=path)


def _alike(tables: Sequence[pa.Table], names: Sequence[str]) -> list[pa.Table]:
    """Give all tables the same columns: a part of another writer may lack an unknown column, or have it narrower."""
    try:
        ours = pa.schema([field for field in OPTIONAL if field.name in names])
        schema = pa.unify_schemas([*(table.schema for table in tables), ours], promote_options="permissive")
        if missing := [name for name in names if name not in schema.names]:
            raise InvalidArgument(f"the manifest has no column {missing[0]}; it has: {', '.join(schema.names)}")
        schema = pa.schema([schema.field(name) for name in names])
        return [pa.concat_tables([schema.empty_table(), one], promote_options="permissive") for one in tables]
    except pa.ArrowException as error:
        raise InvalidArgument(
            f"a column has types in different manifest parts that no common type holds: {describe(error)}"
        ) from None


def _index(
    columns: SharedBytes,
    keys: SharedBytes,
    ends: SharedBytes | None,
    left_out: LeftOut,
    erased: frozenset[int],
    restricted: frozenset[int],
    others: int,
) -> Index:
    index = Index(columns, keys, ends, left_out)
    index.close_rows(erased, restricted)
    index.others = others
    return index


class _Places:
    """Storage columns of one batch, read from their buffers: 1 us per row instead of 4 with Arrow scalars."""

    __slots__ = ("_ids", "_offsets", "_packed", "_packs", "_sealed", "_sizes")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._ids = values(batch.column("object_id"), 16)
        self._sealed = values(batch.column("sealed_size"), 8).cast("q")
        self._sizes = values(batch.column("size"), 8).cast("q")
        packs = batch.column("pack")
        packed = packs.null_count < len(packs)
        self._packs: pa.Array | None = packs if packed else None
        self._offsets: pa.Array | None = batch.column("offset") if packed else None
        whole = packed and not packs.null_count and not batch.column("offset").null_count
        self._packed = (values(packs, 16), values(batch.column("offset"), 8).cast("q")) if whole else None

    def at(self, j: int) -> Location:
        if self._packed is not None:  # every row, as `pack` leaves them
            pack: bytes | None = self._packed[0][16 * j : 16 * j + 16].tobytes()
            offset: int | None = self._packed[1][j]
        else:
            pack = self._packs[j].as_py() if self._packs is not None else None
            offset = self._offsets[j].as_py() if self._offsets is not None else None
        return Location(self._ids[16 * j : 16 * j + 16].tobytes(), pack, offset, self._sealed[j], self._sizes[j])


class _Sorted(Sequence[bytes]):
    """The paths in sorted order, as a sequence that bisect can read."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._order = index.order

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, at: Any) -> Any:
        return self._index.path(int(self._order[at])).encode()


def matching(table: pa.Table, filter: pc.Expression, used: Sequence[str] = (OTHER,)) -> pa.ChunkedArray:
    """The numbers of the rows that a filter keeps; `table` has no keys.

    Args:
        used: what `columns_of` says of the filter: it takes as long as all columns that it is given.

    Raises:
        InvalidArgument: the filter does not fit the columns.
    """
    whole = OTHER in used
    for name in OPTIONAL.names:
        if whole or name in used:
            table = with_optional(table, name)
    try:
        # the filter does not see the keys; they are selected by row number
        numbered = (table if whole else table.select(used)).append_column("\0row", pa.array(np.arange(table.num_rows)))
        return numbered.filter(filter).column("\0row")
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        names = ", ".join(table.schema.names)
        raise InvalidArgument(
            f"filter= does not fit the manifest: {describe(error)}; its columns are: {names}"
        ) from None


def _filtered(table: pa.Table, filter: pc.Expression | None, admission: Admission | None) -> tuple[pa.Table, bytes]:
    """The rows that match the filter and may be read, without their keys, and the keys."""
    keys = table.column("data_key")
    table = table.drop_columns("data_key")
    if filter is not None:
        rows = matching(table, filter)
        table, keys = table.take(rows), keys.take(rows)
    admitted = None if admission is None else admission.admit(table)
    if admitted is not None:
        table, keys = table.filter(admitted), keys.filter(admitted)
    array = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], pa.binary(_KEY))
    data = array.buffers()[1]
    start = array.offset * _KEY
    return table, data.slice(start, len(array) * _KEY).to_pybytes() if data is not None else b""
