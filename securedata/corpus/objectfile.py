"""One object as a seekable binary file, for decoders that want a part of a large recording."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from securedata.errors import InvalidArgument

READ_AHEAD = 256 * 1024


class ObjectFile(io.RawIOBase):
    """One object as a seekable, read-only binary file; decrypts windows of 256 kB as they are read."""

    def __init__(self, read_range: Callable[[int, int], bytearray], size: int) -> None:
        """`read_range` takes an offset and a length of the plaintext, whose size is `size` bytes."""
        super().__init__()
        self._read_range = read_range
        self.size = size
        self.seconds = 0.0  # spent in read_range
        self._at = 0
        self._window, self._start = bytearray(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise InvalidArgument(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target) and self._at < self.size:
            skip = self._at - self._start
            if not 0 <= skip < len(self._window):
                begun = time.perf_counter()
                self._window = self._read_range(self._at, max(READ_AHEAD, len(target) - done))
                self.seconds += time.perf_counter() - begun
                self._start, skip = self._at, 0
            piece = memoryview(self._window)[skip : skip + len(target) - done]
            target[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done
