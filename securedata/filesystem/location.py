"""A path in an opened corpus, and what `info` says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from securedata.corpus.objects.file import is_read_whole
from securedata.corpus.snapshot import Snapshot
from securedata.filesystem.opened import COLUMNS
from securedata.filesystem.overlay import Overlay, Written
from securedata.filesystem.tree import Rows, cells
from securedata.format.cobblestone import Buffer

_COLUMNS = ("size", *COLUMNS)

BARE_FILE = {"type": "file"}
BARE_FOLDER = {"type": "directory"}


@dataclass(frozen=True, slots=True)
class Location:
    """A path in an opened corpus, and the snapshot that it was found in: `refresh` renumbers rows.

    `prefix` and `inner` make its name in the filesystem; `inner` is its logical path, or a folder of such paths. In a
    transaction `row` may be of another path, which is copied or moved to this one, and `written` is a file that no row
    has yet; `overlay` is all that the transaction has changed.
    """

    snapshot: Snapshot
    prefix: str
    inner: str
    row: int | None
    is_folder: bool
    written: Written | None = None
    overlay: Overlay[Any] | None = None

    @property
    def name(self) -> str:
        return (self.prefix + self.inner).rstrip("/")

    @property
    def is_file(self) -> bool:
        return self.row is not None or self.written is not None

    @property
    def size(self) -> int:
        return self.written.size if self.written else int(self.snapshot.index.value("size", self.row or 0))

    def ranges(self) -> Callable[[int, int], bytearray]:
        """Reads the bytes of the file, by offset and length."""
        return self.written.read if self.written else self.snapshot.ranges(self.row or 0)

    def pieces(self, length: int) -> Iterator[Buffer]:
        """All bytes of the file, in pieces of `length` bytes."""
        read = self.ranges()
        for at in range(0, self.size, length):
            yield read(at, min(length, self.size - at))

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
        if not self.is_file:
            return folder_info(self.name)
        return file_info(self.name, *self._values(_COLUMNS))

    def _values(self, columns: Sequence[str]) -> Sequence[Any]:
        if self.written is None:
            return self.snapshot.index.values(columns, self.row or 0)
        known = {**self.written.columns, "size": self.written.size}
        return [known[name] for name in columns]

    def is_read_whole(self) -> bool:
        format, subtype, size = self._values(("format", "subtype", "size"))
        return is_read_whole(format, subtype, size)

    def ukey(self) -> str:
        """Identifies the bytes, as no two seals share an object id; not a digest of them, which could test a guess."""
        id = self.written.id if self.written else self.snapshot.index.location(self.row or 0).object_id
        return hashlib.sha256(b"securedata ukey" + self.snapshot.corpus_id + id).hexdigest()


def file_info(
    name: str, size: int, format: str, rate: int, channels: int, frames: int, mtime_ns: int
) -> dict[str, Any]:
    about = {"format": format, "sample_rate": rate, "channels": channels, "frames": frames}
    when = {"mtime": mtime_ns / 1e9} if mtime_ns else {}
    return {"name": name, "size": size, "type": "file", **about, **when}


def folder_info(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}
