"""One file that holds recordings, read by range wherever it is, and the split in its name."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterable
from typing import Any

from securedata.ingest.sources.origin import Origin, SourceProblem, Stamp

_BLOCK = 64 * 1024  # bytes per read of headers in a tar, and of texts between two recordings

_OF = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>[-.].*)")
# as in Hugging Face datasets
_KEYWORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


class Shard:
    """A file under the root of a source.

    Attributes:
        name: relative to the root.
        file: its full name, as the origin takes it.
        stamp: its stamp in the listing.
    """

    def __init__(self, origin: Origin, name: str, stamp: Stamp) -> None:
        self.name, self.file, self.stamp = name, origin.file(name), stamp
        self._origin = origin

    def stamp_of(self, at: int, size: int) -> Stamp:
        """How one sees that the recording at this place in it is still the same.

        Its time is that of the file and, in the digits below a second, what tells this file and this place from others:
        files that were unpacked together may all have one time.
        """
        if not self.stamp.mtime_ns:
            return Stamp(size, 0)
        this = zlib.crc32(f"{self.name}:{self.stamp.size}".encode("utf-8", "surrogateescape")) % 10**9
        return Stamp(size, self.stamp.mtime_ns + this + at)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises SourceProblem."""
        data = self._origin.peek(self.file, self.stamp, offset, length)
        if len(data) != length:
            raise SourceProblem(f"{self.name} changed during the run, or is cut off; run it again")
        return data

    def check(self) -> None:
        """Raises SourceProblem if it changed since it was listed."""
        self._origin.check(self.file, self.stamp)

    def open(self) -> io.BufferedReader:
        """A file object that reads it by range."""
        return io.BufferedReader(_Ranges(self), _BLOCK)

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name[: self.name.rfind(".")]


class _Ranges(io.RawIOBase):
    def __init__(self, shard: Shard) -> None:
        self._shard, self._at = shard, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._shard.stamp.size)[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, out: Any) -> int:
        length = max(0, min(len(out), self._shard.stamp.size - self._at))
        if length:
            out[:length] = self._shard.read_at(self._at, length)
            self._at += length
        return length


def split_of(name: str) -> str:
    """The split in the names of a file and its folders, by the rules of Hugging Face datasets; '' if none."""
    *folders, last = name.split("/")
    numbered = _OF.fullmatch(last)
    if numbered and numbered["name"] != "data":
        return _KEYWORDS.get(numbered["name"], numbered["name"])
    for part in (*folders, last.partition(".")[0]):
        for word in re.split(r"[^A-Za-z]+", part):
            if split := _KEYWORDS.get(word.lower()):
                return split
    return ""


def missing_of(names: Iterable[str]) -> list[str]:
    """Names of missing shards, according to numbers such as those in train-00000-of-00003.parquet."""
    there: dict[tuple[str, str, str], set[int]] = {}
    example: dict[tuple[str, str, str], str] = {}
    for name in names:
        if found := _OF.fullmatch(name):
            # a hash may follow the count, different for each shard
            rest = found["rest"] if found["rest"].startswith(".") else "*" + found["rest"][found["rest"].rfind(".") :]
            key = found["name"], found["count"], rest
            there.setdefault(key, set()).add(int(found["number"]))
            example[key] = name
    return [
        f"{name}-{number:05d}-of-{count}{rest}"
        for (name, count, rest), numbers in sorted(there.items())
        for number in range(min(int(count), 100_000))
        if number not in numbers
    ]
