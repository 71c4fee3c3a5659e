"""Read single cells of Arrow columns from their buffers: a third of the cost of Arrow's scalars when caches are cold.

A sample needs a dozen cells, just after a decoder has emptied the caches. Parts were validated when they were opened,
so offsets stay inside their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

Cells = Callable[[int], Any]
"""Returns the Python value of a row's cell."""


def cells(array: pa.Array) -> Cells:
    """A reader of one column of a batch."""
    read: Cells
    if array.null_count == len(array):
        return _nothing
    if array.type == pa.int64():
        read = values(array, 8).cast("q").__getitem__
    elif array.type == pa.int32():
        read = values(array, 4).cast("i").__getitem__
    elif pa.types.is_large_string(array.type):
        read = _texts(array)
    else:
        return lambda j: array[j].as_py()
    return read if array.null_count == 0 else _nullable(array, read)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; a column without rows may have no chunk."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def values(array: pa.Array, width: int) -> memoryview:
    """The values of a fixed-size column, `width` bytes each; nulls have arbitrary values."""
    data = array.buffers()[1]
    view = memoryview(data if data is not None else b"").cast("B")
    return view[array.offset * width : (array.offset + len(array)) * width]


def _texts(array: pa.Array) -> Cells:
    _, offsets, data = array.buffers()
    at = memoryview(offsets).cast("B").cast("q")[array.offset :]
    text = memoryview(data if data is not None else b"")
    return lambda j: str(text[at[j] : at[j + 1]], "utf-8")


def _nullable(array: pa.Array, read: Cells) -> Cells:
    bits, offset = memoryview(array.buffers()[0]).cast("B"), array.offset

    def value(j: int) -> Any:
        at = j + offset
        return read(j) if bits[at >> 3] >> (at & 7) & 1 else None

    return value


def _nothing(j: int) -> None:
    return None
