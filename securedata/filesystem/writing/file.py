"""One file that is written: sealed as it is written, in bounded memory, and a row only once it was closed."""

from __future__ import annotations

import io
import logging
import opcode
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from fsspec.core import OpenFile

from securedata.corpus.objects.put import Put
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.filesystem.writing.batch import SMALL

_log = logging.getLogger("securedata")

_PIECE = 1024 * 1024
_AHEAD = 2
_TICK = 0.2

_EXIT: CodeType = OpenFile.__exit__.__code__
_WITH_RAISED = opcode.opmap["WITH_EXCEPT_START"]


class _Discarded(Exception):
    """Ends the put of a file that is not wanted any more."""


class _Upload(threading.Thread):
    """Seals and stores what is written, a few pieces behind the writer.

    Attributes:
        put: the object, once the thread has ended without an error.
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__(name="securedata-write", daemon=True)  # a file that was never closed must not hold the exit
        self.put: Put | None = None
        self._writer = writer
        self._pieces: queue.Queue[bytes | _Discarded | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self.put = self._writer.put_object(self._taken())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that writes
            self._error = error

    def _taken(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _Discarded):
                raise piece
            yield piece

    def send(self, piece: bytes | _Discarded | None) -> None:
        """Pass on the next piece; None: that was all. Raises what storing it raised."""
        while True:
            if not self.is_alive():
                raise self._error or AssertionError("the object ended before its content")
            try:
                return self._pieces.put(piece, timeout=_TICK)
            except queue.Full:
                continue

    def finish(self) -> Put:
        """Wait for the object. Raises what storing it raised."""
        self.send(None)
        self.join()
        if self._error is not None:
            raise self._error
        assert self.put is not None
        return self.put

    def discard(self) -> None:
        """End without an object, unless it has all of it already; otherwise what was sent of it is deleted."""
        if self.is_alive() and self._error is None:
            self.send(_Discarded())
        self.join()


class WrittenFile(io.RawIOBase):
    """A file opened with mode "wb" or "xb": not seekable, and in the corpus once `close` has returned.

    A `with` block that raises commits nothing.
    """

    def __init__(
        self,
        path: str,
        mode: str,
        writer: Writer,
        take: Callable[[bytes | Put], None],
        autocommit: bool,
        close: Callable[[], None],
        delete: Callable[[list[bytes]], None],
    ) -> None:
        """
        Args:
            take: called in `close` with all bytes of a small file, or with the object of a large one.
            delete: called with the id of an object that was stored, if the file is not wanted after all.
            close: called after it, to commit, unless a transaction does.
        """
        super().__init__()
        self.path, self.mode, self.autocommit = path, mode, autocommit
        self.loc = 0
        self._writer, self._take, self._commit, self._delete = writer, take, close, delete
        self._buffer = bytearray()
        self._upload: _Upload | None = None
        self._process = os.getpid()
        self._dropping = False

    def __repr__(self) -> str:
        # without the path, which is often a person's name
        return f"<WrittenFile{', closed' if self.closed else ''}>"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise InvalidArgument("a file that is being written cannot be pickled")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.loc

    def write(self, data: Any) -> int:
        """Take bytes; returns how many: all of them. Raises what sealing and storing the file raised."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(data).cast("B")
        if self._dropping:
            return len(view)
        if os.getpid() != self._process:
            raise InvalidArgument("a file cannot be written after a fork: open it in the process that writes it")
        self.loc += len(view)
        for at in range(0, len(view), _PIECE):
            self._buffer += view[at : at + _PIECE]
            if self._upload is None and len(self._buffer) > SMALL:
                self._upload = _Upload(self._writer)
                self._upload.start()
            if self._upload is not None and len(self._buffer) >= _PIECE:
                self._send()
        return len(view)

    def _send(self) -> None:
        assert self._upload is not None
        with memoryview(self._buffer) as view:
            for at in range(0, len(view), _PIECE):
                self._upload.send(bytes(view[at : at + _PIECE]))
        self._buffer = bytearray()

    def close(self) -> None:
        """Put the file into the corpus, in a commit of its own or with its transaction. Raises what that raises."""
        if self.closed:
            return
        if os.getpid() != self._process or _left_by_an_error():
            self.discard()
            return
        try:
            if self._upload is None:
                self._take(bytes(self._buffer))
            else:
                self._send()
                self._take(self._upload.finish())
            if self.autocommit:
                self._commit()
        except BaseException:  # raised again
            self.discard()
            raise
        finally:
            self._end()

    def commit(self) -> None:
        """Do nothing: the transaction commits all of its files together."""

    def discard(self) -> None:
        """Close the file without a commit; nothing of it stays."""
        if not self.closed:
            try:
                if self._upload is not None and os.getpid() == self._process:
                    self._upload.discard()
                    if self._upload.put is not None:  # an error, or Ctrl-C, came between it and its row
                        self._delete([self._upload.put.object_id])
            finally:
                self._end()

    def drop(self) -> None:
        """Ignore what is written from now on, by something that still has to end, such as a compression."""
        self._dropping = True

    def _end(self) -> None:
        self._buffer = bytearray()
        super().close()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "closed", True) and hasattr(self, "_dropping"):
            _log.error("a file that was opened for writing was never closed, so it is not in the corpus: close it")
            self.discard()

    def _dealloc_warn(self, _: object) -> None:
        # Python calls this when a text layer or buffer over the file was dropped, and closes the file afterwards
        self.__del__()


def _left_by_an_error() -> bool:
    """Is the file closed because a `with` block raised? Neither fsspec's `OpenFile` nor a layer of `io` over the file,
    such as the text of `fsspec.open(...).open()`, says so to the file."""
    frame = sys._getframe(2)
    if frame.f_code.co_code[frame.f_lasti] == _WITH_RAISED:  # the layer's `__exit__` is in C, and has no frame
        return True
    for _ in range(3):
        if frame.f_code is _EXIT:
            return bool(frame.f_locals["args"][0])
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


class WrittenText(io.TextIOWrapper):
    """The same for text. A `with` block that raises commits nothing."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            discard(self.buffer)
        self.close()


class Compressed(io.RawIOBase):
    """A compression over a written file; closing it closes both, and a `with` block that raises commits nothing."""

    def __init__(self, outer: Any, inner: WrittenFile) -> None:
        super().__init__()
        self._outer, self._inner = outer, inner

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return int(self._outer.write(data))

    def flush(self) -> None:
        if not self._outer.closed:
            self._outer.flush()

    def close(self) -> None:
        if not self.closed:
            try:
                self._outer.close()
                self._inner.close()
            except BaseException:  # raised again
                self.discard()
                raise
            super().close()

    def discard(self) -> None:
        """Close both without a commit."""
        self._inner.drop()
        if not self._outer.closed:
            self._outer.close()
        self._inner.discard()
        super().close()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "closed", True) and hasattr(self, "_inner"):
            self.discard()


def discard(file: Any) -> None:
    """Close a file that this module made, without a commit."""
    file.discard()
