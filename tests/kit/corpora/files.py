"""A corpus of files that are no recordings, for libraries that read tables and shards by URL."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, some_clips


def make_files(folder: Path, files: Mapping[str, bytes], name: str = "files") -> Root:
    """FOLDER/NAME with these files, by their paths, as objects of one person; its config entry too."""
    nothing = {"subtype": "", "sample_rate": 0, "channels": 0, "frames": 0}
    clips = [
        Clip(path, data, "ann", columns={"format": path.rpartition(".")[2], **nothing}) for path, data in files.items()
    ]
    return make_corpus(folder, clips, name)


def some_files() -> dict[str, bytes]:
    """A table in four formats, a text, two shards and an array: `files` of docs/ecosystem.md."""
    import zarr  # in .venv-eco only

    rows = [{"name": "ann", "age": 31}, {"name": "bob", "age": 44}]
    table = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), table)
    store = zarr.storage.MemoryStore()
    zarr.create_array(store, shape=(100,), chunks=(10,), dtype="f4")[:] = np.arange(100)
    wavs = [one for one in some_clips() if one.path.endswith(".wav")]
    return {
        "tables/people.csv": b"name,age\nann,31\nbob,44\n",
        "tables/people.json": b"".join(json.dumps(row).encode() + b"\n" for row in rows),
        "tables/people.parquet": table.getvalue(),
        "tables/notes.txt": b"first line\nsecond line\n",
        "shards/000.tar": shard(wavs[:2]),
        "shards/001.tar": shard(wavs[2:]),
        **{f"array.zarr/{key}": value.to_bytes() for key, value in store._store_dict.items()},
    }


def shard(clips: list[Clip] | None = None) -> bytes:
    """A WebDataset shard of these recordings (None: `some_clips`), each with a `json`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number, one in enumerate(some_clips() if clips is None else clips):
            about = {"text": one.columns.get("transcript", ""), "speaker": one.speaker}
            for suffix, data in ((one.path.rpartition(".")[2], one.data), ("json", json.dumps(about).encode())):
                member = tarfile.TarInfo(f"{number:03}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()
