"""Where recordings are read from: a folder of this machine, or, in `remote`, a URL.

What is read is what was listed: a recording that changes while it is ingested is a problem, never a mixture of both.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from securedata.files import read_small
from securedata.format.cobblestone import Buffer
from securedata.media.audio.probe import AudioInfo, probe

PIECE = 4 * 1024 * 1024
"""Bytes that are read at once. What is no larger is read as a whole, and once."""

MAX_CONTENT = 2**30
"""Bytes of a list, transcript or manifest, at most: it is read whole."""


class Stamp(NamedTuple):
    """What a listing says of a recording: how one sees that it is still the same.

    Attributes:
        size: bytes.
        mtime_ns: when it was written, by the clock of the place; 0 where that is not told.
        version: the place's own name for this content, such as an ETag; '' where it has none.
    """

    size: int
    mtime_ns: int
    version: str = ""


class SourceProblem(Exception):
    """A source that cannot be taken; the text says why, in one clause, and names nobody."""


CHANGED = "the file changed while it was ingested; run it again"


class Origin(ABC):
    """The place of the recordings. Safe for many threads; nothing is written, there or here.

    Attributes:
        root: how its owner spells it: an absolute path, or a URL.
    """

    root: str

    def file(self, name: str) -> str:
        """The whole name of a file under the root, as the methods below take it."""
        return f"{self.root}/{name}"

    @abstractmethod
    def whole(self, file: str, stamp: Stamp) -> bytes:
        """All of a recording of at most `PIECE` bytes.

        Raises:
            SourceProblem: it cannot be read, or is not what was listed.
            StorageError: the place as a whole cannot be read.
        """

    @abstractmethod
    def pieces(self, file: str, stamp: Stamp) -> Iterator[Buffer]:
        """All of a recording of any size, in pieces of at most `PIECE` bytes. Raises as `whole`."""

    @abstractmethod
    def probe(self, file: str, stamp: Stamp) -> AudioInfo:
        """What the header of a recording says; little else is read of a large one.

        Raises:
            Undecodable, and as `whole`.
        """

    @abstractmethod
    def peek(self, file: str, stamp: Stamp, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends. Raises as `whole`."""

    def check(self, file: str, stamp: Stamp) -> None:  # noqa: B027 - no more to do where every read tells
        """Raises SourceProblem if a file is not what was listed, where reading it does not tell."""

    def stamp(self, name: str) -> Stamp | None:
        """What a listing says of a table under the root; None if there is none."""
        return None

    @abstractmethod
    def content(self, name: str) -> bytes:
        """All of a text file under the root, such as a list of transcripts. Raises as `whole`."""


class LocalOrigin(Origin):
    """A folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._prefix = os.path.join(root, "")  # '/' is the root that ends in one already

    def file(self, name: str) -> str:
        return self._prefix + name

    def whole(self, file: str, stamp: Stamp) -> bytes:
        return b"".join(self.pieces(file, stamp))

    def pieces(self, file: str, stamp: Stamp) -> Iterator[bytes]:
        try:
            with open(file, "rb", buffering=0, opener=_open) as source:
                _check(os.fstat(source.fileno()), stamp)
                left = stamp.size + 1  # no more room than it needs; one that grows as fast as it is read has no end
                while left and (piece := source.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece
            _check(os.stat(file), stamp)  # by its name: another file may stand there now
        except OSError as error:
            raise SourceProblem(f"the file cannot be read: {error.strerror}") from None

    def probe(self, file: str, stamp: Stamp) -> AudioInfo:
        return probe(file)

    def peek(self, file: str, stamp: Stamp, offset: int, length: int) -> bytes:
        try:
            with open(file, "rb", buffering=0, opener=_open) as source:
                return os.pread(source.fileno(), length, offset)
        except OSError as error:
            raise SourceProblem(f"the file cannot be read: {error.strerror}") from None

    def check(self, file: str, stamp: Stamp) -> None:
        try:
            _check(os.stat(file), stamp)
        except OSError as error:
            raise SourceProblem(f"the file cannot be looked at: {error.strerror}") from None

    def stamp(self, name: str) -> Stamp | None:
        try:
            status = os.stat(self.file(name))
        except OSError:  # a link that leads nowhere
            return None
        return Stamp(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def content(self, name: str) -> bytes:
        try:
            return read_small(self.file(name), MAX_CONTENT)
        except OSError as error:
            raise SourceProblem(f"cannot be read: {error.strerror}") from None


def _open(file: str, flags: int) -> int:
    # O_NONBLOCK: a named pipe that took a recording's place must not stop the whole ingest
    return os.open(file, flags | os.O_NONBLOCK)


def _check(status: os.stat_result, stamp: Stamp) -> None:
    if (status.st_size, status.st_mtime_ns) != (stamp.size, stamp.mtime_ns):
        raise SourceProblem(CHANGED)
