"""Tars, Parquet and Arrow with recordings in them, as webdataset and Hugging Face datasets write them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.kit.sources.recordings import encode

AUDIO = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def flac(number: int, seconds: float = 0.2, rate: int = 8000) -> bytes:
    """A recording that no other number gives; those of one length have about one size, for none can be compressed."""
    samples = np.random.default_rng(number).integers(-20000, 20000, int(seconds * rate), dtype=np.int16)
    return encode(samples, rate, "FLAC")


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def as_json(**values: Any) -> bytes:
    return json.dumps(values).encode()


def table_of(
    audio: Sequence[tuple[bytes | None, str | None] | None],
    features: Mapping[str, Mapping[str, Any]] | None = None,
    **columns: Sequence[Any],
) -> pa.Table:
    """A table as datasets makes it, with what it writes into the schema's metadata."""
    cells = pa.array([None if one is None else {"bytes": one[0], "path": one[1]} for one in audio], AUDIO)
    table = pa.table({"audio": cells, **{name: pa.array(values) for name, values in columns.items()}})
    known = {"audio": {"sampling_rate": 8000, "_type": "Audio"}, **(features or {})}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": known}})})


def write_parquet(path: Path, table: pa.Table, rows: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


def write_arrow(path: Path, table: pa.Table, rows: int = 2) -> Path:
    """A stream, as datasets writes it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=rows)
    return path
