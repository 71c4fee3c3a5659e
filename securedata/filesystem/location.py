"""A path in an opened corpus, and what `info` says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from securedata.corpus.objects.file import is_read_whole
from securedata.corpus.snapshot import Snapshot
from securedata.filesystem.opened import COLUMNS
from securedata.filesystem.tree import Rows, cells

_COLUMNS = ("size", *COLUMNS)

BARE_FILE = {"type": "file"}
BARE_FOLDER = {"type": "directory"}


@dataclass(frozen=True, slots=True)
class Location:
    """A path in an opened corpus, and the snapshot that it was found in: `refresh` renumbers rows.

    `prefix` and `inner` make its name in the filesystem; `inner` is its logical path, or a folder of such paths.
    """

    snapshot: Snapshot
    prefix: str
    inner: str
    row: int | None
    is_folder: bool

    @property
    def name(self) -> str:
        return (self.prefix + self.inner).rstrip("/")

    def infos(self, paths: Sequence[str], rows: Rows, bare: bool = False) -> dict[str, dict[str, Any]]:
        """What `info` says about files, by name."""
        names = [self.prefix + path for path in paths]
        if bare:
            return dict.fromkeys(names, BARE_FILE)
        return {
            name: file_info(name, *values)
            for name, values in zip(names, cells(self.snapshot.index, rows, _COLUMNS), strict=True)
        }

    def info(self) -> dict[str, Any]:
        if self.row is None:
            return folder_info(self.name)
        return file_info(self.name, *self.snapshot.index.values(_COLUMNS, self.row))

    def is_read_whole(self) -> bool:
        format, subtype, size = self.snapshot.index.values(("format", "subtype", "size"), self.row or 0)
        return is_read_whole(format, subtype, size)

    def ukey(self) -> str:
        """Identifies the bytes, as no two seals share an object id; not a digest of them, which could test a guess."""
        object_id = self.snapshot.index.location(self.row or 0).object_id
        return hashlib.sha256(b"securedata ukey" + self.snapshot.corpus_id + object_id).hexdigest()


def file_info(
    name: str, size: int, format: str, rate: int, channels: int, frames: int, mtime_ns: int
) -> dict[str, Any]:
    about = {"format": format, "sample_rate": rate, "channels": channels, "frames": frames}
    when = {"mtime": mtime_ns / 1e9} if mtime_ns else {}
    return {"name": name, "size": size, "type": "file", **about, **when}


def folder_info(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}
