"""Corpora of any number of rows to stream: all of them readable, though only one pack of objects exists."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from benchmarks.data.corpora import Made
from benchmarks.data.rows import synthetic
from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.create import create_corpus
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.head import TableRef, seal_head
from securedata.corpus.state.layout import HEAD, pack_key
from securedata.corpus.state.lease import HeadLease
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal
from securedata.storage.base import Storage

PART = 98_000
MEMBERS = 512
"""Objects in the pack; the rows of a part point to them in turn, so that a run of rows is a run of bytes."""


def corpus(root: Path | str, kek: Path, rows: int, size: int, storage: Storage | None = None) -> Made:
    """A new corpus whose rows have objects of `size` random bytes; the parts hold the same rows under other ids."""
    reference: Reference = create_corpus(str(root), kms=[f"local://{kek.resolve()}"], storage=storage).reference
    connection = connect(reference, storage=storage)
    lease = HeadLease(reference, connection, 3600.0, 600.0)
    opened = lease.open()
    corpus_id = opened.head.corpus_id
    pack, body = os.urandom(16), io.BytesIO()
    ids, keys, offsets, sizes = [], [], [], []
    for _ in range(MEMBERS):
        ids.append(os.urandom(16))
        keys.append(os.urandom(32))
        sealed = seal(Header(Kind.DATA, corpus_id, ids[-1]), keys[-1], os.urandom(size))
        offsets.append(body.tell())
        sizes.append(len(sealed))
        body.write(sealed)
    connection.storage.put_new(pack_key(pack), [body.getbuffer()])
    table = next(synthetic(PART))
    turn = np.arange(PART) % MEMBERS
    replaced = {
        "object_id": pa.array([ids[at] for at in turn], pa.binary(16)),
        "data_key": pa.array([keys[at] for at in turn], pa.binary(32)),
        "pack": pa.array([pack] * PART, pa.binary(16)),
        "offset": pa.array(np.array(offsets)[turn]),
        "sealed_size": pa.array(np.array(sizes)[turn]),
        "size": pa.array(np.full(PART, size)),
    }
    for name, column in replaced.items():
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), column)
    refs = []
    for count in [PART] * (rows // PART) + ([rows % PART] if rows % PART else []):
        if not refs or count != PART:
            plain = _file(table.slice(0, count))
        id, key = os.urandom(16), os.urandom(32)
        sealed = seal(Header(Kind.TABLE, corpus_id, id), key, plain)
        refs.append(TableRef(id, key, count, len(sealed)))
        connection.storage.put_new(refs[-1].storage_key, [sealed])
    head = opened.head.next(os.urandom(16), parts=tuple(refs))
    connection.storage.replace(HEAD, seal_head(head, opened.key), opened.version)
    return Made(reference.root, " ".join(reference.kms), " ".join(str(pin) for pin in reference.pins), rows)


def _file(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with ipc.new_file(sink, table.schema, options=options) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)
    return memoryview(sink.getvalue())
