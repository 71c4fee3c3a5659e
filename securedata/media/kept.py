"""Files that C libraries read from.

C calls these back: there an exception would be printed and lost, and the library would see the end of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

ReadInto = Callable[[int, Any], int]
"""Fills a buffer from a position in the file, and returns how many bytes it read."""


class KeptError:
    """A seekable binary file that keeps the error that reading raises, for its owner to raise once C has returned.

    Attributes:
        error: the first exception; after it the file looks empty.
    """

    def __init__(self, read_into: ReadInto, size: int) -> None:
        self._read_into = read_into
        self._size = size
        self._at = 0
        self._front = b""
        self.error: BaseException | None = None

    @classmethod
    def over(cls, data: memoryview) -> KeptError:
        """Bytes as a file, without the copy that io.BytesIO makes."""

        def read_into(at: int, buffer: Any) -> int:
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

        return cls(read_into, len(data))

    @classmethod
    def ranges(cls, read_at: Callable[[int, int], bytes], size: int) -> KeptError:
        """A file that is read by (offset, most bytes to return)."""

        def read_into(at: int, buffer: Any) -> int:
            piece = read_at(at, len(buffer))
            buffer[: len(piece)] = piece
            return len(piece)

        return cls(read_into, size)

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer at the end of the file. Raises what reading raises."""
        buffer = bytearray(max(0, min(length, self._size - offset)))
        done = 0
        while done < len(buffer):
            count = self._read_into(offset + done, memoryview(buffer)[done:])
            if not count:
                break
            done += count
        return bytes(buffer[:done])

    def put_in_front(self, data: bytes) -> None:
        """Show C these bytes before the file's own; `read_at` counts from the file's."""
        self._front = data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # a damaged file can make decoders seek before its beginning
        self._at = max(0, offset + (0, self._at, len(self._front) + self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        shown = 0
        if self._at < len(self._front):
            piece = self._front[self._at : self._at + len(buffer)]
            shown = len(piece)
            buffer[:shown] = piece
            buffer = memoryview(buffer)[shown:]
            self._at += shown
        done = 0
        if self.error is None and len(buffer):
            try:
                done = self._read_into(self._at - len(self._front), buffer)
            except BaseException as error:  # noqa: BLE001 - raised by the owner, once C has returned
                self.error = error
        self._at += done
        return shown + done
