"""Files that C libraries read from.

They call back from C, where an exception would be printed and lost, and the library would see the end of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

ReadInto = Callable[[int, Any], int]
"""Fills a buffer from a position on, and returns how many bytes there were."""


class KeptError:
    """A seekable binary file that keeps what reading it raises, for its owner to raise once C has returned.

    Attributes:
        error: the first thing that was raised; from then on the file looks empty.
    """

    def __init__(self, read_into: ReadInto, size: int) -> None:
        self._read_into = read_into
        self._size = size
        self._at = 0
        self.error: BaseException | None = None

    @classmethod
    def over(cls, data: memoryview) -> KeptError:
        """Bytes as a file, without the copy that io.BytesIO makes."""

        def read_into(at: int, buffer: Any) -> int:
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

        return cls(read_into, len(data))

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends; what reading raises is raised."""
        buffer = bytearray(max(0, min(length, self._size - offset)))
        done = 0
        while done < len(buffer):
            count = self._read_into(offset + done, memoryview(buffer)[done:])
            if not count:
                break
            done += count
        return bytes(buffer[:done])

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # a damaged file sends decoders before its beginning
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        done = 0
        if self.error is None:
            try:
                done = self._read_into(self._at, buffer)
            except BaseException as error:  # noqa: BLE001 - raised by the owner, once C has returned
                self.error = error
        self._at += done
        return done
