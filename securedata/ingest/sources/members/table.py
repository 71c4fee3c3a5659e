"""Arrow and Parquet with recordings in a column, as Hugging Face datasets writes its Audio: struct<bytes, path>.

The bytes are read by row group (Parquet) or record batch (Arrow), at most two in memory at a time; listing the rows
reads only the other columns. The size of a recording in Parquet is unknown (`UNKNOWN`) until its row group is read, so
the time of the shard and the row number tell whether it is still the same.
"""

from __future__ import annotations

import io
import json
import math
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from securedata.errors import InvalidArgument
from securedata.foreign.describe import describe
from securedata.ingest.sources.members.shard import Shard
from securedata.ingest.sources.origin import SourceProblem

MAX_GROUP = 2**30
"""The most bytes of memory that a row group may take."""

_KEPT = 2  # row groups in memory
_LISTED = 1000  # rows per batch of the other columns


class TableShard(ABC):
    """One Parquet or Arrow file.

    Attributes:
        shard: the file.
        schema: its columns.
    """

    def __init__(self, shard: Shard, schema: pa.Schema) -> None:
        self.shard, self.schema = shard, schema

    @abstractmethod
    def others(self, audio: str) -> Iterator[tuple[int, pa.RecordBatch, pa.Array | None, pa.Array | None]]:
        """All rows without their recordings: row group, the other columns, the paths in the rows, the sizes if known.

        Raises:
            SourceProblem: it cannot be read, or a row group is too large.
        """

    @abstractmethod
    def recordings(self, audio: str, group: int) -> pa.ChunkedArray:
        """The bytes of each row of a row group, null where there are none. Raises SourceProblem."""


class ParquetShard(TableShard):
    """A Parquet file, whose columns are read separately."""

    def __init__(self, shard: Shard) -> None:
        with _reading(shard), shard.open() as file:
            self._metadata = pq.read_metadata(file)
        super().__init__(shard, self._metadata.schema.to_arrow_schema())

    def others(self, audio: str) -> Iterator[tuple[int, pa.RecordBatch, pa.Array | None, pa.Array | None]]:
        is_struct = pa.types.is_struct(self.schema.field(audio).type)
        leaf, names = self._leaf(audio), [name for name in _readable(self.schema) if name != audio]
        wanted = [*names, f"{audio}.path"] if is_struct else names
        for group in range(self._metadata.num_row_groups):
            columns = self._metadata.row_group(group)
            size = next(
                columns.column(i).total_uncompressed_size
                for i in range(columns.num_columns)
                if columns.column(i).path_in_schema == leaf
            )
            _check_size(size, self.shard)
            if not wanted:
                yield group, _blank(columns.num_rows), None, None
                continue
            with _reading(self.shard), self.shard.open() as file:
                parquet = pq.ParquetFile(file, metadata=self._metadata, pre_buffer=False)
                for batch in parquet.iter_batches(_LISTED, row_groups=[group], columns=wanted):
                    paths = batch.column(audio).field("path") if is_struct else None
                    yield group, batch.select(names) if names else _blank(batch.num_rows), paths, None

    def recordings(self, audio: str, group: int) -> pa.ChunkedArray:
        with _reading(self.shard), self.shard.open() as file:
            parquet = pq.ParquetFile(file, metadata=self._metadata, pre_buffer=False)
            column = parquet.read_row_group(group, columns=[self._leaf(audio)], use_threads=False).column(audio)
        return _bytes_of(column)

    def _leaf(self, audio: str) -> str:
        return f"{audio}.bytes" if pa.types.is_struct(self.schema.field(audio).type) else audio


class ArrowShard(TableShard):
    """Record batches, as a stream (as the datasets library writes them) or a file."""

    def __init__(self, shard: Shard) -> None:
        self._places: list[tuple[int, int]] = []  # offset and length of the batches in a stream
        self._sizes: list[int] = []
        self._head = b""
        with _reading(shard), shard.open() as file:
            self._is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            if self._is_file:
                schema = pa.ipc.open_file(file).schema
            else:
                with pa.PythonFile(file, "r") as stream:
                    schema = pa.ipc.open_stream(stream).schema
                    self._head = shard.read_at(0, stream.tell())
        super().__init__(shard, schema)

    def others(self, audio: str) -> Iterator[tuple[int, pa.RecordBatch, pa.Array | None, pa.Array | None]]:
        names = [name for name in _readable(self.schema) if name != audio]
        for group, batch in enumerate(self._batches()):
            column = batch.column(audio)
            is_struct = pa.types.is_struct(column.type)
            data = column.field("bytes") if is_struct else column
            _check_size(data.nbytes, self.shard)
            sizes = pc.binary_length(data).cast(pa.int64())
            others = batch.select(names) if names else _blank(batch.num_rows)
            yield group, others, column.field("path") if is_struct else None, sizes

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """All batches; records where those of a stream are."""
        self._places = []
        with _reading(self.shard), self.shard.open() as file:
            if self._is_file:
                reader = pa.ipc.open_file(file)
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
                return
            with pa.PythonFile(file, "r") as stream:
                batches = pa.ipc.open_stream(stream)
                begin = stream.tell()
                for batch in batches:
                    self._places.append((begin, stream.tell() - begin))
                    begin = stream.tell()
                    yield batch

    def recordings(self, audio: str, group: int) -> pa.ChunkedArray:
        with _reading(self.shard):
            if self._is_file:
                with self.shard.open() as file:
                    batch = pa.ipc.open_file(file).get_batch(group)
            else:
                data = self._head + self.shard.read_at(*self._places[group])
                batch = pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()
        return _bytes_of(pa.chunked_array([batch.column(audio)]))


class Groups:
    """The recordings of the last row groups that were read. Thread-safe: each group is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], _Group] = OrderedDict()

    def recording(self, table: TableShard, audio: str, group: int, row: int) -> pa.Buffer:
        """The bytes of one row of a group. Raises SourceProblem."""
        key = table.shard.name, group
        with self._lock:
            kept = self._kept.setdefault(key, _Group())
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.rows is None:
                read = table.recordings(audio, group)
                table.shard.check()  # before a row is used
                kept.rows = read
            rows = kept.rows
        value = rows[row]
        if not value.is_valid:
            raise SourceProblem(
                "its row holds no bytes, only a path at most: save the data set with the recordings embedded, or put "
                "the table beside the recordings and name it with --manifest"
            )
        return value.as_buffer()


class _Group:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: pa.ChunkedArray | None = None


@contextmanager
def _reading(shard: Shard) -> Iterator[None]:
    """Turn errors of reading a file into a SourceProblem of its shard."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise SourceProblem(f"{shard.name} cannot be read as Arrow or Parquet: {describe(error)}") from None


def audio_column(schema: pa.Schema, chosen: str | None) -> str | None:
    """The column that holds recordings; None if there is none.

    Args:
        chosen: the column that the caller chose, if any.

    Raises:
        InvalidArgument: the chosen column holds no recordings, or there are several and none was chosen.
    """
    features = _features(schema)
    found = [
        field.name
        for field in schema
        if is_audio_type(field.type) and features.get(field.name, {}).get("_type", "Audio") == "Audio"
    ]
    if chosen:
        if chosen in schema.names:
            kind = schema.field(chosen).type
            if is_audio_type(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return chosen
        raise InvalidArgument(
            f"--columns path={chosen}: not a column of recordings; the columns are {', '.join(map(str, schema.names))}"
        )
    if len(found) > 1:
        raise InvalidArgument(
            f"columns {', '.join(map(repr, found))} all hold recordings: choose one, such as --columns path={found[0]}"
        )
    return found[0] if found else None


def perhaps_audio(schema: pa.Schema, names: Collection[str]) -> str:
    """A column that may hold recordings in another form than `audio_column` knows; '' for none.

    Args:
        names: what such columns are called in other tables.
    """
    features = _features(schema)
    pictures = {name for name, feature in features.items() if feature.get("_type") in ("Image", "Video", "Pdf")}
    there = (field for field in schema if field.name not in pictures)
    return next((field.name for field in there if field.name in names or _holds_bytes(field.type)), "")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(of(kind) for of in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def is_audio_type(kind: pa.DataType) -> bool:
    """Is it struct<bytes: binary, path: string>, with its fields in either order?"""
    if not pa.types.is_struct(kind) or {field.name for field in kind} != {"bytes", "path"}:
        return False
    data, path = kind.field("bytes").type, kind.field("path").type
    is_text = pa.types.is_string(path) or pa.types.is_large_string(path)
    return bool(is_text and (pa.types.is_binary(data) or pa.types.is_large_binary(data)))


def values_of(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """The rows of a batch as JSON values: times in ISO 8601, class labels by name."""
    features = _features(schema)
    labels = {
        name: feature["names"]
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
    for row in batch.to_pylist():
        for name, names in labels.items():
            value = row.get(name)
            if isinstance(value, int) and 0 <= value < len(names):
                row[name] = names[value]
        yield {name: _json(value) for name, value in row.items()}


def rows_of(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, from 1, and values of each row of a Parquet file. Raises pa.ArrowException or OSError if it is not."""
    table = pq.read_table(io.BytesIO(content))
    batches = table.combine_chunks().to_batches()
    yield from enumerate((row for batch in batches for row in values_of(batch, table.schema)), 1)


def _json(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    if isinstance(value, bytes):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The features of the columns that the datasets library keeps in the schema's metadata."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = found["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: one for name, one in features.items() if isinstance(one, dict)} if isinstance(features, dict) else {}


def _readable(schema: pa.Schema) -> list[str]:
    """All columns except those of bytes, such as other recordings or images."""
    return [
        field.name
        for field in schema
        if not is_audio_type(field.type)
        and not pa.types.is_binary(field.type)
        and not pa.types.is_large_binary(field.type)
    ]


def _blank(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"": pa.nulls(rows)})


def _check_size(size: int, shard: Shard) -> None:
    if size > MAX_GROUP:
        raise SourceProblem(
            f"a row group takes {size / 2**30:.1f} GiB of memory, which is too much: write the file with fewer rows "
            "per group, such as row_group_size=100"
        )


def _bytes_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_struct(column.type):
        return column
    chunks = [pc.if_else(pc.is_valid(chunk), chunk.field("bytes"), None) for chunk in column.chunks]
    return pa.chunked_array(chunks, chunks[0].type if chunks else pa.binary())
