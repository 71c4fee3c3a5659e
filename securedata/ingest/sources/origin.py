"""Where recordings are read from: a folder on this machine, or a URL (`remote`).

A recording that changed since it was listed is a problem; old and new content are never mixed.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from securedata.files import read_small
from securedata.format.cobblestone import Buffer
from securedata.media.audio.probe import AudioInfo, probe

PIECE = 4 * 1024 * 1024
"""Bytes per read. A recording of at most this size is read once, as a whole."""

MAX_CONTENT = 2**30
"""The most bytes of a list, transcript or manifest, which is read as a whole."""


class Stamp(NamedTuple):
    """What a listing gives for a recording, to tell later whether it is still the same.

    Attributes:
        size: bytes.
        mtime_ns: when it was written, by the clock of its origin; 0 if unknown.
        version: the origin's identifier for this content, such as an ETag; '' if it has none.
    """

    size: int
    mtime_ns: int
    version: str = ""


class SourceProblem(Exception):
    """A source that cannot be taken; the text says why, in one clause, and names no person."""


CHANGED = "the file changed during the run; run it again"


class Origin(ABC):
    """Where the recordings are. Thread-safe; writes nothing, neither there nor on this machine.

    Attributes:
        root: an absolute path, or a URL, as its owner spells it.
    """

    root: str

    def file(self, name: str) -> str:
        """The full name of a file under the root, which the methods below take."""
        return f"{self.root}/{name}"

    @abstractmethod
    def whole(self, file: str, stamp: Stamp) -> bytes:
        """All of a recording of at most `PIECE` bytes.

        Raises:
            SourceProblem: it cannot be read, or changed since it was listed.
            StorageError: the origin as a whole cannot be read.
        """

    @abstractmethod
    def pieces(self, file: str, stamp: Stamp) -> Iterator[Buffer]:
        """All of a recording of any size, in pieces of at most `PIECE` bytes. Raises like `whole`."""

    @abstractmethod
    def probe(self, file: str, stamp: Stamp) -> AudioInfo:
        """What the header of a recording says; of a large one, little else is read.

        Raises:
            Undecodable, or like `whole`.
        """

    @abstractmethod
    def peek(self, file: str, stamp: Stamp, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends. Raises like `whole`."""

    def check(self, file: str, stamp: Stamp) -> None:  # noqa: B027 - nothing to do where every read checks
        """Raises SourceProblem if a file changed since it was listed and reading it would not tell."""

    def stamp(self, name: str) -> Stamp | None:
        """The stamp of a table under the root; None if there is no such table."""
        return None

    @abstractmethod
    def elsewhere(self) -> tuple[Any, ...]:
        """How another process finds this origin, for `from_elsewhere`; no credentials."""

    @abstractmethod
    def content(self, name: str) -> bytes:
        """All of a text file under the root, such as a list of transcripts. Raises like `whole`."""


class LocalOrigin(Origin):
    """A folder on this machine."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._prefix = os.path.join(root, "")  # '/' already ends in a slash

    def file(self, name: str) -> str:
        return self._prefix + name

    def whole(self, file: str, stamp: Stamp) -> bytes:
        return b"".join(self.pieces(file, stamp))

    def pieces(self, file: str, stamp: Stamp) -> Iterator[bytes]:
        try:
            with open(file, "rb", buffering=0, opener=_open) as source:
                _check(os.fstat(source.fileno()), stamp)
                left = stamp.size + 1  # one byte more shows that it grew; a file that keeps growing would never end
                while left and (piece := source.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece
            _check(os.stat(file), stamp)  # by name: another file may have replaced it
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

    def elsewhere(self) -> tuple[Any, ...]:
        return (self.root,)

    def content(self, name: str) -> bytes:
        try:
            return read_small(self.file(name), MAX_CONTENT)
        except OSError as error:
            raise SourceProblem(f"cannot be read: {error.strerror}") from None


def _open(file: str, flags: int) -> int:
    # O_NONBLOCK: a named pipe that replaced a recording must not block the run
    return os.open(file, flags | os.O_NONBLOCK)


def _check(status: os.stat_result, stamp: Stamp) -> None:
    if (status.st_size, status.st_mtime_ns) != (stamp.size, stamp.mtime_ns):
        raise SourceProblem(CHANGED)
