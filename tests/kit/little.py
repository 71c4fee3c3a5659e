"""Corpora of a few rows with objects of made-up bytes: in memory, with a clock that moves, or in a folder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.opening import UnpinnedWarning, open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, open_head
from securedata.corpus.state.layout import HEAD, object_key
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.keys.kms import KMS, open_all
from securedata.keys.pin import Pin
from securedata.storage.base import Storage
from securedata.storage.registry import open_storage

ROOT = "memory://corpus"


def make(storage: Storage | None = None, root: str = ROOT, name: str = "corpus", **options: Any) -> Reference:
    """A new, empty corpus; in a folder if `root` is a path."""
    return create_corpus(root, name=name, storage=storage, **options).reference


def writer_of(reference: Reference, storage: Storage | None = None, **options: Any) -> Writer:
    return Writer(reference, storage=storage, **options)


def content(path: str, version: int = 0, size: int = 200) -> bytes:
    """What a source file holds: never the same for two paths or two versions."""
    seed = hashlib.sha512(f"{path}/{version}".encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def row(writer: Writer, path: str, data: bytes, subjects: Iterable[str] = ("ann",), **columns: Any) -> dict[str, Any]:
    """A row whose object this puts."""
    put = writer.put_object([data])
    return {
        "path": path,
        **put.columns(),
        "subjects": list(subjects),
        "format": "WAV",
        "source_mtime_ns": 1,
        **columns,
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return rows_table(rows)


def fill(writer: Writer, *paths: str, subjects: Iterable[str] = ("ann",), commits: int = 1) -> None:
    """Commit rows, spread over that many commits."""
    for number in range(commits):
        rows = [row(writer, path, content(path), subjects) for path in paths[number::commits]]
        if rows:
            writer.commit(table(*rows))


def open_quietly(reference: Reference, storage: Storage | None = None, **options: Any) -> Corpus:
    """Open for reading, whether there is a pin or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnpinnedWarning)
        return open_corpus(reference, storage=storage, **options)


def look(reference: Reference, storage: Storage | None = None) -> OpenedHead:
    """The current head, read with full rights and without any memory of earlier ones."""
    return read_head(storage or open_storage(reference.root), open_all(reference.kms))


def read_head(storage: Storage, trusted: Sequence[KMS], pins: tuple[Pin, ...] = ()) -> OpenedHead:
    data, version = storage.get_versioned(HEAD, MAX_SEALED)
    return open_head(data, version, storage.url, trusted, pins)


def rows_of(head: Head, storage: Storage) -> dict[str, dict[str, Any]]:
    """All rows that a head names, by path."""
    found: dict[str, dict[str, Any]] = {}
    for part in head.parts:
        for one in read_table(storage, head.corpus_id, part, None).to_pylist():
            assert one["path"] not in found, "a path stands in two rows"
            found[one["path"]] = one
    return found


def current(reference: Reference, storage: Storage | None = None) -> dict[str, dict[str, Any]]:
    """All rows of the current head, by path."""
    place = storage or open_storage(reference.root)
    return rows_of(look(reference, place).head, place)


def named_keys(head: Head, storage: Storage) -> set[str]:
    """The storage keys that a head needs."""
    return (
        {"head"}
        | {part.storage_key for part in head.parts}
        | {one.table.storage_key for one in head.retired}
        | {object_key(one["object_id"]) for one in rows_of(head, storage).values()}
    )


def keys_of(storage: Storage) -> set[str]:
    return {entry.key for entry in storage.list()}


def files_of(root: str | Path) -> list[Path]:
    return sorted(path for path in Path(root).rglob("*") if path.is_file() and path.name != ".lock")
