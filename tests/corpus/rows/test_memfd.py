"""Shared memory holds all that was written to it."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from securedata.corpus.rows.memfd import SharedBytes


@pytest.mark.usefixtures("short")
def test_shared_memory_holds_all_that_was_written() -> None:
    pieces = [b"x" * 5000, bytearray(b"y" * 1001), memoryview(b"z" * 999), pa.py_buffer(b"w" * 4000), b""]

    def fill(file: io.RawIOBase) -> None:
        assert [file.write(one) for one in pieces] == [5000, 1001, 999, 4000, 0]  # type: ignore[arg-type]  # Arrow's too
        sink = pa.PythonFile(file, "w")
        sink.write(b"v" * 3000)

    held = SharedBytes.build("test", fill)
    assert bytes(held.view) == b"x" * 5000 + b"y" * 1001 + b"z" * 999 + b"w" * 4000 + b"v" * 3000


@pytest.mark.full
def test_more_than_two_gib_in_one_call() -> None:
    piece = bytearray(2**31 + 12_345)
    piece[-1] = 7

    def fill(file: io.RawIOBase) -> None:
        assert file.write(piece) == len(piece)

    held = SharedBytes.build("test", fill)
    assert held.size == len(piece)
    assert held.view[-1] == 7
