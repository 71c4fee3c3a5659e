"""What a corpus holds: its head and rows, read with full rights, and what lies on its storage."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.opening import UnpinnedWarning, open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.state.head import MAX_SEALED, Head, OpenedHead, open_head
from securedata.corpus.state.layout import HEAD, object_key, pack_key
from securedata.corpus.state.tables import read_table
from securedata.keys.kms import KMS, open_all
from securedata.keys.pin import Pin
from securedata.storage.base import Storage
from securedata.storage.registry import open_storage
from tests.kit.corpora.rows import content


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


def whole(reference: Reference, storage: Storage, *paths: str) -> None:
    """The head names these paths, which `fill` made; all that it names is there and opens."""
    assert sorted(current(reference, storage)) == sorted(paths)
    assert named_keys(look(reference, storage).head, storage) <= keys_of(storage)
    opened = open_quietly(reference, storage)
    for path in paths:
        assert opened.read(path) == content(path)


def named_keys(head: Head, storage: Storage) -> set[str]:
    """The storage keys that a head needs."""
    return (
        {"head"}
        | {part.storage_key for part in head.parts}
        | {one.table.storage_key for one in head.retired}
        | {key_of(one) for one in rows_of(head, storage).values()}
    )


def key_of(row: dict[str, Any]) -> str:
    """The storage key that a row's object is under: its own, or its pack's."""
    return object_key(row["object_id"]) if row["pack"] is None else pack_key(row["pack"])


def keys_of(storage: Storage) -> set[str]:
    return {entry.key for entry in storage.list()}


def files_of(root: str | Path) -> list[Path]:
    return sorted(path for path in Path(root).rglob("*") if path.is_file() and path.name != ".lock")


def manifest_of(root: str | Path | Reference, *columns: str) -> list[dict[str, Any]]:
    """Columns of all rows, by path."""
    with open_corpus(root) as corpus:
        return sorted(corpus.table.select(columns).to_pylist(), key=lambda row: str(row["path"]))


def recordings_of(root: str | Path | Reference) -> dict[str, bytes]:
    """All recordings, by path."""
    with open_corpus(root) as corpus:
        return {path: bytes(corpus.read(path)) for path in corpus.table.column("path").to_pylist()}
