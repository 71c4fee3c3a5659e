"""Small corpora of made-up bytes, on a storage whose clock the test sets, or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.storage.base import Storage
from securedata.testing.memory import MemoryStorage

DAY = 24 * 3600.0


def in_memory() -> tuple[Reference, MemoryStorage, Writer]:
    storage = MemoryStorage()
    reference = create_corpus(storage.url, name="small", storage=storage).reference
    return reference, storage, Writer(reference, storage=storage)


def in_folder(root: Path) -> tuple[Reference, Writer]:
    reference = create_corpus(str(root)).reference
    return reference, Writer(reference)


def row(writer: Writer, path: str, data: bytes, **more: Any) -> dict[str, Any]:
    """A row for data that is put on storage now."""
    put = writer.put_object([data])
    speaker = path.split("/", 1)[0]
    return {
        "path": path,
        **put.columns(),
        "format": "wav",
        "subtype": "PCM_16",
        "sample_rate": 8000,
        "channels": 1,
        "frames": 16000,
        "subjects": [speaker],
        "speaker": speaker,
        "utterance": Path(path).stem,
        "source_mtime_ns": 1_700_000_000_123_456_789,
        **more,
    }


def add(writer: Writer, files: dict[str, bytes], **more: Any) -> list[dict[str, Any]]:
    """Rows for these files, committed together."""
    rows = [row(writer, path, data, **more) for path, data in files.items()]
    commit(writer, *rows)
    return rows


def commit(writer: Writer, *rows: dict[str, Any], **options: Any) -> Outcome:
    outcome = writer.commit(rows_table(rows), **options)
    assert not outcome.conflicts
    assert not outcome.stale
    return outcome


def keys(storage: Storage, prefix: str = "") -> set[str]:
    return {entry.key for entry in storage.list(prefix)}
