"""Standard streams that are closed, full, without a reader, or in a narrow encoding.

None of this changes what a command does. A closed stream becomes /dev/null; a reader may go away; what
standard error cannot take is dropped; results that did not reach standard output are an error once the work is done.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from securedata.errors import PlaintextRefused


class _Stream(io.RawIOBase):
    """Write to a standard descriptor and never raise: the first error is kept, later output is dropped."""

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
    """As `os.write`, but wait for a non-blocking pipe."""
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


def refuse_plaintext_file(allowed: bool) -> None:
    """Refuse to write plaintext to standard output if that is a file.

    Raises:
        PlaintextRefused
    """
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode) and not allowed:
        raise PlaintextRefused(
            "standard output is a file, so plaintext would reach a disk: pass --allow-plaintext-export to allow that"
        )


class Streams:
    """The streams while the command runs."""

    def __init__(self, output: _Stream) -> None:
        self._output = output

    def lost(self) -> OSError | None:
        """The error that kept output from standard output; None if all was written, or if the reader went away."""
        with suppress(ValueError):  # it was closed
            sys.stdout.flush()
        error = self._output.error
        return None if isinstance(error, BrokenPipeError) else error


@contextmanager
def standard_streams() -> Iterator[Streams]:
    """Prepare the standard streams for a command. Streams that a caller replaced are left alone."""
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
    """Open /dev/null for each closed stream: otherwise the next file opened, such as a key, gets its descriptor.

    What is printed would go into that file.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is fd
            os.set_inheritable(opened, True)  # child processes need it too


def _text(stream: _Stream, python: TextIO | None, at_once: bool = False) -> io.TextIOWrapper:
    encoding = python.encoding if python is not None else "utf-8"
    # letters that the terminal cannot show, in names of people, become escapes
    return io.TextIOWrapper(
        io.BufferedWriter(stream), encoding, "backslashreplace", line_buffering=at_once or stream.isatty()
    )


def takes_all_letters() -> bool:
    """Whether standard output is UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return codecs.lookup(encoding).name == "utf-8"
