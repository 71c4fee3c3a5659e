"""Check from an Arrow IPC file's metadata what it would take in memory, before Arrow builds anything from it.

Although a part is authentic, its writer may be broken or a former reader: a buffer of a few bytes can declare gigabytes
after decompression, and the tables of a flatbuffer can refer to one text a million times. So the footer and the record
batch's metadata are walked here, with a limit on everything that is counted. Arrow reads what passes; its `validate`
checks offsets and texts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

MAX_DECLARED = 2**30
"""Bytes of all buffers of a part in memory."""
MAX_FIELDS = 4096
MAX_TEXT = 2**20
"""Bytes of all names, time zones and custom metadata."""

_U16, _U32, _I32 = (struct.Struct(form).unpack_from for form in ("<H", "<I", "<i"))
_MAGIC, _TAIL = b"ARROW1", 10
_MAX_METADATA = 2**24
_CONTINUATION = b"\xff\xff\xff\xff"
_RECORD_BATCH = 3  # in the union of message headers
# In the union of types: scalars whose memory is in their buffers. Not accepted are structs, unions, maps, fixed-size
# lists, run-end encodings and views, in which few bytes can represent very many values.
_NULL, _TIMESTAMP, _FIXED_SIZE_BINARY = 1, 10, 15
_SCALARS = frozenset({_NULL, 2, 3, 4, 5, 6, 7, 8, 9, _TIMESTAMP, 11, _FIXED_SIZE_BINARY, 18, 19, 20})
_LISTS = frozenset({12, 21})
_BUFFERS = {_NULL: 0, 4: 3, 5: 3, 19: 3, 20: 3}
"""Buffers of a column by its type, if not 2; a list has those of its items besides."""
_EXTENSION = b"ARROW:extension:name"


class Refused(ValueError):
    """Describes what is wrong with a file."""


Has = Callable[[int, int], bool]
"""Tells whether the bytes of a file from one offset to another are there."""


class Layout(NamedTuple):
    """Where the columns of a file are.

    Attributes:
        buffers: offsets of the start and the end of each buffer.
        declared: bytes in memory of values that have no buffer.
    """

    buffers: list[tuple[int, int]]
    compressed: bool
    declared: int


class Lacking(Exception):
    """Bytes of a file are needed next that are not there; `range` is the offset of their start and their end."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.range = start, end


def check_file(data: memoryview, rows: int) -> None:
    """Check that a file holds one record batch of `rows` rows, has plain types only and fits into memory.

    Raises:
        Refused
    """
    check_declared(data, layout_of(data, rows, None))


def layout_of(data: memoryview, rows: int, columns: Sequence[str] | None, has: Has | None = None) -> Layout:
    """What `check_file` checks, without the content of buffers.

    Args:
        data: as long as the file.
        columns: the names of those that Arrow will read; None: all.
        has: what of `data` is there; the rest may be anything. None: all.

    Returns:
        The layout of these columns.

    Raises:
        Refused
        Lacking
    """
    try:
        return _check(data, rows, columns, has)
    except (struct.error, IndexError, OverflowError):
        raise Refused("it is not an Arrow file (its metadata points outside it)") from None


def check_declared(data: memoryview, layout: Layout) -> None:
    """Check that what these buffers would take in memory is within the limit.

    Raises:
        Refused
    """
    declared = layout.declared
    for start, end in layout.buffers:
        length = end - start
        if layout.compressed and length:
            if length < 8:
                raise Refused("a buffer is too short to be compressed")
            uncompressed = int.from_bytes(data[start : start + 8], "little", signed=True)
            length = length - 8 if uncompressed == -1 else uncompressed
            if length < 0:
                raise Refused("a buffer has a negative length")
        declared += length
    if declared > MAX_DECLARED:
        raise Refused(f"its buffers declare {declared} bytes, above the limit of {MAX_DECLARED}")


def _require(has: Has | None, start: int, end: int) -> None:
    if has is not None and not has(start, end):
        raise Lacking(start, end)


def _check(data: memoryview, rows: int, columns: Sequence[str] | None, has: Has | None) -> Layout:
    size = len(data)
    if size >= 8 + _TAIL:
        _require(has, 0, 6)
        _require(has, size - _TAIL, size)
    if size < 8 + _TAIL or data[:6] != _MAGIC or data[-6:] != _MAGIC:
        raise Refused("it is not an Arrow file")
    length = int.from_bytes(data[-_TAIL:-6], "little", signed=True)
    end = size - _TAIL - length
    if not 0 < length <= _MAX_METADATA or end < 8:
        raise Refused("it is not an Arrow file (its footer points outside it)")
    _require(has, end, end + length)
    footer = _Flat(bytes(data[end : end + length]))
    root = footer.root()
    walk = _Walk(footer)
    schema = footer.table(root, 1)
    if schema is None:
        raise Refused("it has no schema")
    walk.schema(schema)
    walk.metadata(root, 4)
    if footer.vector(root, 2, 24)[1]:
        raise Refused("it has dictionaries")
    at, batches = footer.vector(root, 3, 24)
    if batches == 0 and rows == 0:
        return Layout([], False, 0)
    if batches != 1:
        raise Refused(f"it has {batches} record batches, not one")
    block = struct.unpack_from("<qi4xq", footer.data, at)
    return _check_batch(data, end, block, walk, rows, columns, has)


def _check_batch(
    data: memoryview,
    end: int,
    block: tuple[int, int, int],
    walk: _Walk,
    rows: int,
    columns: Sequence[str] | None,
    has: Has | None,
) -> Layout:
    offset, head, body = block
    if offset < 8 or not 8 <= head <= _MAX_METADATA or body < 0 or offset + head + body > end:
        raise Refused("its record batch extends outside it")
    _require(has, offset, offset + head)
    if data[offset : offset + 4] != _CONTINUATION:
        raise Refused("its record batch is in an old Arrow format")
    length = int.from_bytes(data[offset + 4 : offset + 8], "little", signed=True)
    if not 0 < length <= head - 8:
        raise Refused("its record batch extends outside it")
    message = _Flat(bytes(data[offset + 8 : offset + 8 + length]))
    root = message.root()
    _Walk(message).metadata(root, 4)
    batch = message.table(root, 2)
    if message.number(root, 1, "B") != _RECORD_BATCH or batch is None or message.number(root, 3, "q") != body:
        raise Refused("its record batch is something else")
    if (found := message.number(batch, 0, "q")) != rows:
        raise Refused(f"it has {found} rows, but the head says {rows}")
    if message.vector(batch, 4, 8)[1]:
        raise Refused("it has view buffers")
    declared = _check_nodes(message, batch, walk.kinds, rows)
    buffers = [(offset + head + at, offset + head + at + length) for at, length in _buffers(message, batch, body)]
    wanted = walk.buffers_of(columns, len(buffers))
    if wanted is not None:
        buffers = [buffers[number] for number in wanted]
    return Layout(buffers, message.table(batch, 3) is not None, declared)


def _check_nodes(message: _Flat, batch: int, kinds: list[int], rows: int) -> int:
    """Check the lengths of columns and list items; returns the bytes that values without a buffer may take."""
    at, count = message.vector(batch, 1, 16)
    if count != len(kinds):
        raise Refused(f"its record batch has {count} columns, but its schema has {len(kinds)}")
    numbers = struct.unpack_from(f"<{2 * count}q", message.data, at)
    declared, child = 0, False
    for kind, length, nulls in zip(kinds, numbers[::2], numbers[1::2], strict=True):
        if not 0 <= nulls <= length or (not child and length != rows):
            raise Refused("a column and its batch have different lengths")
        declared += 8 * length if child and kind == _NULL else 0
        child = kind in _LISTS
    return declared


def _buffers(message: _Flat, batch: int, body: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each buffer; they must be in order and must not overlap."""
    at, count = message.vector(batch, 2, 16)
    numbers = struct.unpack_from(f"<{2 * count}q", message.data, at)
    end = 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        if length < 0 or offset < 0 or offset + length > body or (length and offset < end):
            raise Refused("a buffer extends outside its record batch or overlaps another")
        end = max(end, offset + length)
        yield offset, length


class _Walk:
    """Walks a schema field by field; `kinds` are the types of its columns, each list followed by its item type."""

    def __init__(self, flat: _Flat) -> None:
        self.flat = flat
        self.kinds: list[int] = []
        self._columns: list[tuple[bytes, int, int]] = []  # name, and the numbers of its first kind and of the next one
        self._text = 0

    def schema(self, schema: int) -> None:
        if self.flat.number(schema, 0, "h"):
            raise Refused("it is big-endian")
        self.metadata(schema, 2)
        for field in self.flat.tables(schema, 1, MAX_FIELDS):
            first = len(self.kinds)
            kind = self._field(field)
            children = self.flat.tables(field, 5, 1) if kind in _LISTS else []
            if len(children) != (kind in _LISTS) or self.flat.vector(field, 5, 4)[1] != len(children):
                raise Refused("a column has fields that its type does not have")
            for child in children:
                if self._field(child) in _LISTS or self.flat.vector(child, 5, 4)[1]:
                    raise Refused("a column is a list of lists")
            start, length = self.flat.text(field, 0)
            self._columns.append((self.flat.data[start : start + length], first, len(self.kinds)))
        if len(self.kinds) > MAX_FIELDS:
            raise Refused(f"it has more than {MAX_FIELDS} columns")

    def buffers_of(self, columns: Sequence[str] | None, count: int) -> list[int] | None:
        """The numbers of these columns' buffers, of `count` in the record batch.

        None: all, also if the file has none of them, since Arrow then reads all, or if it has other buffers.
        """
        ends = [0]
        for kind in self.kinds:
            ends.append(ends[-1] + _BUFFERS.get(kind, 2))
        if columns is None or ends[-1] != count:
            return None
        names = {name.encode(errors="surrogatepass") for name in columns}
        mine = [range(ends[first], ends[last]) for name, first, last in self._columns if name in names]
        return [number for one in mine for number in one] if mine else None

    def _field(self, field: int) -> int:
        flat = self.flat
        self._count(flat.text(field, 0))
        self.metadata(field, 6)
        kind = flat.number(field, 2, "B")
        if kind not in _SCALARS and kind not in _LISTS:
            raise Refused(f"a column has Arrow type {kind}, which a manifest does not allow")
        if flat.table(field, 4) is not None:
            raise Refused("it has dictionaries")
        about = flat.table(field, 3)
        if kind == _TIMESTAMP and about is not None:
            self._count(flat.text(about, 1))
        if kind == _FIXED_SIZE_BINARY and (about is None or flat.number(about, 0, "i") < 1):
            raise Refused("a column has values of zero bytes")
        self.kinds.append(kind)
        return kind

    def metadata(self, table: int, slot: int) -> None:
        """Check custom metadata: its size, and that it declares no extension type, which Arrow would convert."""
        for pair in self.flat.tables(table, slot, MAX_FIELDS):
            start, length = self.flat.text(pair, 0)
            self._count((start, length))
            self._count(self.flat.text(pair, 1))
            if self.flat.data[start : start + length] == _EXTENSION:
                raise Refused("a column has an extension type")

    def _count(self, text: tuple[int, int]) -> None:
        self._text += text[1]
        if self._text > MAX_TEXT:
            raise Refused(f"its names and metadata have more than {MAX_TEXT} bytes")


class _Flat:
    """A flatbuffer, read within its bounds; a position outside them raises struct.error."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def root(self) -> int:
        return self._follow(0)

    def table(self, table: int, slot: int) -> int | None:
        at = self._place(table, slot)
        return self._follow(at) if at else None

    def number(self, table: int, slot: int, form: str) -> int:
        at = self._place(table, slot)
        found: int = struct.unpack_from("<" + form, self.data, at)[0] if at else 0
        return found

    def text(self, table: int, slot: int) -> tuple[int, int]:
        """The start of a text, and its length in bytes."""
        return self.vector(table, slot, 1)

    def tables(self, table: int, slot: int, most: int) -> list[int]:
        """The positions of the tables of a vector."""
        at, count = self.vector(table, slot, 4)
        if not count:
            return []
        if count > most:
            raise Refused(f"it has more than {most} fields in one place")
        return [self._follow(at + 4 * number) for number in range(count)]

    def vector(self, table: int, slot: int, width: int) -> tuple[int, int]:
        """The start of a vector's elements, `width` bytes each, and their number; (0, 0) if it is absent."""
        at = self._place(table, slot)
        if not at:
            return 0, 0
        start = self._follow(at)
        count: int = _U32(self.data, start)[0]
        if start + 4 + count * width > len(self.data):
            raise struct.error
        return start + 4, count

    def _place(self, table: int, slot: int) -> int:
        """The position of a field of a table; 0 if it is absent."""
        names: int = table - _I32(self.data, table)[0]
        if names < 0:  # Python would count from the end
            raise struct.error
        if 6 + 2 * slot > _U16(self.data, names)[0]:
            return 0
        offset: int = _U16(self.data, names + 4 + 2 * slot)[0]
        return table + offset if offset else 0

    def _follow(self, at: int) -> int:
        found: int = at + _U32(self.data, at)[0]
        return found
