"""The name of an entry of the cache: which bytes of which object or pack it holds."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

SHARDS = 256
"""Folders of entries. Each is a random sample of the whole cache, so it can be evicted from by itself."""

_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})-([0-9a-f]{1,16})-([0-9a-f]{1,16})")
_BLOCK = 4096
_SPAN = 20
"""Entries of one object or pack that begin in the same MiB share a folder, so a small object's are in one."""


class Entry(NamedTuple):
    """`length` bytes from `offset` of a stored object or pack, which never change: no id is sealed twice.

    Attributes:
        corpus: the corpus id, in hex.
        stored: the id of the object or pack, in hex.
    """

    corpus: str
    stored: str
    offset: int
    length: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.corpus}-{self.stored}-{self.offset:x}-{self.length:x}"

    @property
    def shard(self) -> int:
        """The number of its folder."""
        return shard_of(self.stored, self.offset)

    @property
    def key(self) -> str:
        """Its path below the folder of the cache."""
        return f"{self.shard:02x}/{self.name}"

    def overlaps(self, offset: int, length: int) -> bool:
        """Does it hold any of these bytes?"""
        return self.offset < offset + length and offset < self.offset + self.length


def shard_of(stored: str, offset: int) -> int:
    """The folder of entries that begin at an offset."""
    return zlib.crc32(f"{stored}{offset >> _SPAN:x}".encode()) % SHARDS


def shards_of(stored: str, length: int) -> set[int]:
    """The folders of all entries of an object that has a file of its own."""
    return (
        {shard_of(stored, at) for at in range(0, length, 1 << _SPAN)} if length >> _SPAN < SHARDS else {*range(SHARDS)}
    )


def parse(name: str) -> Entry | None:
    """The entry of a file's name; None: the file is not ours."""
    found = _NAME.fullmatch(name)
    return Entry(found[1], found[2], int(found[3], 16), int(found[4], 16)) if found else None


def on_disk(size: int) -> int:
    """The bytes that a file of this size takes, in blocks of 4 kB."""
    return -(-size // _BLOCK) * _BLOCK
