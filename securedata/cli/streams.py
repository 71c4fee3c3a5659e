"""The standard streams as a command may find them: closed, full, without a reader, or in a narrow encoding.

What the command does never depends on them. A closed stream is /dev/null; a reader that went away has seen enough; what
standard error cannot take is dropped; an answer that did not reach standard output is an error when the work is done.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Stream(io.RawIOBase):
    """Writes to a standard descriptor, and never raises for it: the first failure is kept, and the rest is dropped."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self.error is None:
            try:
                return _write_some(self._fd, data)
            except OSError as error:
                self.error = error
        return size


def _write_some(fd: int, data: Any) -> int:
    """As `os.write`, and waits for a pipe that somebody made not to wait."""
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            select.select([], [fd], [])


def write_raw(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it to a standard stream.

    Raises:
        OSError
    """
    view = memoryview(data).cast("B")
    while len(view):
        view = view[_write_some(fd, view) :]


class Streams:
    """The streams while the command runs."""

    def __init__(self, output: _Stream) -> None:
        self._output = output

    def lost(self) -> OSError | None:
        """What kept the answer from standard output; None if it is there, or if nobody wants it any more."""
        with suppress(ValueError):  # it was closed
            sys.stdout.flush()
        error = self._output.error
        return None if isinstance(error, BrokenPipeError) else error


@contextmanager
def standard_streams() -> Iterator[Streams]:
    """Make the standard streams ready for a command. What a caller has put in place of Python's is left alone."""
    _open_closed()
    output, errors = _Stream(1), _Stream(2)
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(output, sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(errors, sys.__stderr__, at_once=True)
    try:
        yield Streams(output)
    finally:
        for file, python in ((sys.stdout, before[0]), (sys.stderr, before[1])):
            if file is not python:
                file.flush()
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Put /dev/null in the place of what is closed: else the next file that is opened, a sealed one or a key, has its
    number, and gets what is printed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
            os.set_inheritable(opened, True)  # as those of every process that we start


def _text(stream: _Stream, python: TextIO | None, at_once: bool = False) -> io.TextIOWrapper:
    encoding = python.encoding if python is not None else "utf-8"
    # names of people on a terminal of another alphabet: their letters as escapes
    return io.TextIOWrapper(
        io.BufferedWriter(stream), encoding, "backslashreplace", line_buffering=at_once or stream.isatty()
    )


def takes_all_letters() -> bool:
    """Is standard output in UTF-8?"""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return codecs.lookup(encoding).name == "utf-8"
