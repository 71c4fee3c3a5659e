"""One object as a seekable binary file, for decoders that need only part of a large recording."""

from __future__ import annotations

import copy
import io
import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn, Self

from securedata.errors import InvalidArgument, SecuredataError
from securedata.media.audio.encodings import hides_errors

READ_AHEAD = 256 * 1024
READ_WHOLE = 32 * 1024 * 1024
"""Largest recording, in bytes, that is fetched whole because decoders of its encoding hide read errors."""

_log = logging.getLogger(__name__)


def is_read_whole(format: str, subtype: str, size: int) -> bool:
    """Whether a file of this format, encoding and size is fetched, and so checked, whole at its first read."""
    return size <= READ_WHOLE and hides_errors(format, subtype)


class FailsForGood:
    """A file object that fails for good: after the first error, every later call raises that error again.

    C libraries call file objects from code that an exception cannot cross: libsndfile takes one for the end of the
    file and goes on. An error lost that way is raised again at the next call, at the latest in `close`.
    """

    _failure: BaseException | None = None

    def _fails(self, error: BaseException) -> None:
        if self._failure is None:
            # a copy: the traceback of the error itself keeps this file and every frame it passed alive
            self._failure = copy.copy(error) if isinstance(error, SecuredataError) else error
            text = str(error) if isinstance(error, SecuredataError) else type(error).__name__
            _log.error("reading a file failed, and the file stays failed: %s", text)

    def _raise_failure(self) -> NoReturn:
        assert self._failure is not None
        raise copy.copy(self._failure) if isinstance(self._failure, SecuredataError) else self._failure

    def close(self) -> None:
        """Close the file; safe to call again.

        Raises:
            the first error that reading raised, every time
        """
        super().close()  # type: ignore[misc]  # of the file class that follows in the MRO
        if self._failure is not None:
            self._raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        failure, self._failure = self._failure, None
        try:
            self.close()  # without raising: the error under way is kept, with a note about this one
        finally:
            self._failure = failure
        if failure is not None and type(error) is not type(failure):
            error.add_note(f"the file being read had failed before: {type(failure).__name__}: {failure}")

    def __del__(self) -> None:
        self._failure = None  # nobody is left to catch it
        super().__del__()  # type: ignore[misc]  # of the file class that follows in the MRO

    def _dealloc_warn(self, _: object) -> None:
        """Called by io's text and buffered files that wrap this one, when they are collected and about to close it."""
        self._failure = None


class ObjectFile(FailsForGood, io.RawIOBase):
    """One object as a seekable, read-only binary file; decrypts windows of 256 kB as they are read."""

    def __init__(self, read_range: Callable[[int, int], bytearray], size: int, whole: bool = False) -> None:
        """`read_range` takes an offset and a length within the plaintext, which has `size` bytes.

        With `whole`, the first read fetches all of it.
        """
        super().__init__()
        self._read_range = read_range
        self.size = size
        self.seconds = 0.0  # spent in read_range
        self._at = 0
        self._whole = whole
        self._window, self._start = bytearray(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        if self._failure is not None:
            self._raise_failure()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._failure is not None:
            self._raise_failure()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise InvalidArgument(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._failure is not None:
            self._raise_failure()
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target) and self._at < self.size:
            skip = self._at - self._start
            if not 0 <= skip < len(self._window):
                self._fetch(max(READ_AHEAD, len(target) - done))
                skip = self._at - self._start
            piece = memoryview(self._window)[skip : skip + len(target) - done]
            target[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def _fetch(self, length: int) -> None:
        start, length = (0, self.size) if self._whole else (self._at, length)
        begun = time.perf_counter()
        try:
            self._window = self._read_range(start, length)
        except BaseException as error:
            self._fails(error)
            raise
        self.seconds += time.perf_counter() - begun
        self._start = start
