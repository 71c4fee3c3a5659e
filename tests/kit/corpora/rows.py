"""Corpora of a few rows with objects of made-up bytes: in memory, with a clock that a test moves, or in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.storage.base import Storage

ROOT = "memory://corpus"
DAY = 24 * 3600.0


def make(storage: Storage | None = None, root: str = ROOT, name: str = "corpus", **options: Any) -> Reference:
    """A new, empty corpus; in a folder if `root` is a path."""
    return create_corpus(root, name=name, storage=storage, **options).reference


def writer_of(reference: Reference, storage: Storage | None = None, **options: Any) -> Writer:
    return Writer(reference, storage=storage, **options)


def in_folder(root: Path) -> tuple[Reference, Writer]:
    """A new, empty corpus in a folder, and its writer."""
    reference = make(root=str(root))
    return reference, writer_of(reference)


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


def packed_rows(writer: Writer, contents: Mapping[str, bytes], **columns: Any) -> list[dict[str, Any]]:
    """Rows whose objects this puts as one new pack; each is of the person whose name its path begins with."""
    sealed = [writer.seal(data) for data in contents.values()]
    pack = writer.put_pack(message for _, message in sealed)
    rows: list[dict[str, Any]] = []
    offset = 0
    for path, (put, _) in zip(contents, sealed, strict=True):
        about = {"path": path, "subjects": [path.partition("/")[0]], "format": "WAV", "source_mtime_ns": 1}
        rows.append({**about, **put.columns(), "pack": pack.pack_id, "offset": offset, **columns})
        offset += put.sealed_size
    return rows


def table(*rows: dict[str, Any]) -> pa.Table:
    return rows_table(rows)


def commit(writer: Writer, *rows: dict[str, Any]) -> Outcome:
    """Commit rows, none of which meets another row or is stale."""
    outcome = writer.commit(table(*rows))
    assert not outcome.conflicts
    assert not outcome.stale
    return outcome


def add(writer: Writer, files: Mapping[str, bytes], **columns: Any) -> list[dict[str, Any]]:
    """Commit files together; each is of the person whose name its path begins with. Returns their rows."""
    rows = []
    for path, data in files.items():
        person = path.partition("/")[0]
        rows.append(row(writer, path, data, [person], **{"speaker": person, **columns}))
    commit(writer, *rows)
    return rows


def fill(writer: Writer, *paths: str, subjects: Iterable[str] = ("ann",), commits: int = 1) -> None:
    """Commit rows, spread over that many commits."""
    for number in range(commits):
        rows = [row(writer, path, content(path), subjects) for path in paths[number::commits]]
        if rows:
            writer.commit(table(*rows))
