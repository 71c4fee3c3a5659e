"""Manifest parts and leaving lists: sealed Arrow IPC files of one record batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from securedata.corpus.rows.arrow_file import MAX_DECLARED, Layout, Refused, check_declared, check_file
from securedata.corpus.schema import MAX_ROWS, SCHEMA
from securedata.corpus.state.head import TableRef
from securedata.errors import InvalidArgument, MalformedManifest, PartMissing
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from securedata.storage.base import Storage

RETIRED_SCHEMA = pa.schema(
    [pa.field("id", pa.binary(16), nullable=False), pa.field("what", pa.large_string(), nullable=False)]
)


def seal_table(table: pa.Table, corpus_id: bytes) -> tuple[TableRef, bytearray]:
    """Seal a table under a new id and key.

    Raises:
        InvalidArgument: it is too large for one part.
    """
    if table.nbytes > MAX_DECLARED:
        raise InvalidArgument(
            f"{table.num_rows} rows committed together take {table.nbytes} bytes, but a part can hold only "
            f"{MAX_DECLARED}: commit fewer at once, or shorten their texts"
        )
    sink = pa.BufferOutputStream()
    # no threads: a fork while Arrow's thread pool is alive can hang
    options = ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with ipc.new_file(sink, table.schema, options=options) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)
    object_id, key = os.urandom(16), os.urandom(32)
    sealed = seal(Header(Kind.TABLE, corpus_id, object_id), key, memoryview(sink.getvalue()))
    return TableRef(object_id, key, table.num_rows, len(sealed), count_others(table)), sealed


def count_others(table: pa.Table) -> int:
    """How many rows are of files that are neither recordings nor features; 0 of a leaving list."""
    if "format" not in table.column_names:
        return 0
    return int(pc.sum(pc.equal(table.column("format"), "")).as_py() or 0)


def part_missing(root: str, part: TableRef) -> PartMissing:
    """The error for a part that a head names but storage does not have."""
    return PartMissing(
        f"the head of {root} names manifest part {part.id.hex()}, which storage does not have: "
        "its rows cannot be read; restore the part from a backup or an older version of the storage",
        root=root,
        object_id=part.id,
    )


def read_table(
    storage: Storage, corpus_id: bytes, ref: TableRef, columns: Sequence[str] | None, schema: pa.Schema = SCHEMA
) -> pa.Table:
    """Fetch and open a part; decodes only `columns` (None: all, unknown ones included).

    Raises:
        NotFound, FormatError, MalformedManifest
    """
    return open_table(storage.get(ref.storage_key, ref.size), corpus_id, ref, columns, storage.url, schema)


def open_table(
    sealed: bytes | bytearray | memoryview,
    corpus_id: bytes,
    ref: TableRef,
    columns: Sequence[str] | None,
    root: str,
    schema: pa.Schema = SCHEMA,
) -> pa.Table:
    """Open a fetched part and check it against the head's reference.

    Raises:
        FormatError, MalformedManifest
    """
    expect = expected(corpus_id, ref, root)
    return table_of(open_whole(ref.key, sealed, expect), ref, columns, expect, schema)


def expected(corpus_id: bytes, ref: TableRef, root: str) -> Expect:
    """What must be where the head's reference leads."""
    return Expect(Kind.TABLE, corpus_id, ref.id, root, ref.size)


def table_of(
    plain: bytearray | memoryview,
    ref: TableRef,
    columns: Sequence[str] | None,
    expect: Expect,
    schema: pa.Schema = SCHEMA,
    layout: Layout | None = None,
) -> pa.Table:
    """Decode a part.

    Args:
        layout: of these columns, if the rest of the file was checked, and need not be there.

    Raises:
        MalformedManifest
    """
    try:
        if layout is None:
            check_file(memoryview(plain), ref.rows)
        else:
            check_declared(memoryview(plain), layout)
        table, problem = _parse(pa.py_buffer(plain), columns, schema)
        problem = problem or _problem(table, ref, columns, schema)
    except Refused as error:
        problem = str(error)
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        problem = f"it is not an Arrow file ({type(error).__name__})"
    if problem:
        refuse_table(problem, expect)
    return _fitted(table, schema)


def refuse_table(problem: str, expect: Expect) -> NoReturn:
    """Raise what is raised for a part that breaks the format.

    Raises:
        MalformedManifest
    """
    raise MalformedManifest(
        f"{expect.name} is authentic but breaks the format: {problem}; it was written by a broken writer",
        root=expect.root,
        object_id=expect.object_id,
    )


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same columns with the schema's own fields, so that parts of all writers can be read together."""
    fields = [schema.field(one.name) if one.name in schema.names else one.remove_metadata() for one in table.schema]
    return pa.table(table.columns, schema=pa.schema(fields))


def _parse(buffer: pa.Buffer, columns: Sequence[str] | None, schema: pa.Schema) -> tuple[pa.Table, str | None]:
    """The table, or what is wrong with its columns, in which case nothing of it is built."""
    options = ipc.IpcReadOptions(use_threads=False)
    found = ipc.open_file(buffer, options=options).schema
    names = found.names
    if len(set(names)) != len(names):
        return SCHEMA.empty_table(), "it has a column twice"
    if problem := _wrong_type(found, columns, schema):
        return SCHEMA.empty_table(), problem
    if columns is not None:
        wanted = [names.index(name) for name in columns if name in names]
        options = ipc.IpcReadOptions(use_threads=False, included_fields=wanted)
    table = ipc.open_file(buffer, options=options).read_all()
    # Full validation, 10 ms for 100,000 rows: reading through offsets outside a buffer would crash the process.
    table.validate(full=True)
    return table, None


def _wrong_type(found: pa.Schema, columns: Sequence[str] | None, schema: pa.Schema) -> str | None:
    for field in schema:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in found.names:
            return f"column {field.name} is missing"
        if (kind := found.field(field.name).type) != field.type:
            return f"column {field.name} is {kind}, not {field.type}"
    return None


def _problem(table: pa.Table, ref: TableRef, columns: Sequence[str] | None, schema: pa.Schema) -> str | None:
    if table.num_rows != ref.rows or (table.num_rows > MAX_ROWS and schema is SCHEMA):
        return f"it has {table.num_rows} rows, but the head says {ref.rows}; at most {MAX_ROWS} are allowed"
    if ref.others and "format" in table.column_names and (others := count_others(table)) != ref.others:
        return f"{others} of its rows are of files that are no recordings, but the head says {ref.others}"
    for field in schema:
        if columns is not None and field.name not in columns:
            continue
        if table.column(field.name).null_count and not field.nullable:
            return f"column {field.name} has nulls"
    return None
