"""securedata as a contender: the format layer alone, and the public reader of a corpus over sealed bytes in memory."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pyarrow as pa

from benchmarks.data.rows import synthetic
from benchmarks.peers.contenders import check
from benchmarks.tools.timing import Call, Work
from securedata.corpus.create import create_corpus
from securedata.corpus.objects.put import Put
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_into, open_whole, seal, seal_into, sealed_size
from securedata.testing.memory import MemoryStorage

ROOT = "memory://benchmark"


class Format:
    """`seal_into` and `open_into` into reused buffers, including header checks and key derivation."""

    name = "securedata format"

    def prepare(self, size: int, count: int) -> Work:
        corpus = os.urandom(16)
        plain, sealed = bytearray(size), memoryview(bytearray(sealed_size(size)))

        def seal_object(key: bytes, object_id: bytes, text: bytes) -> int:
            return seal_into(Header(Kind.DATA, corpus, object_id).encode(), key, memoryview(text), sealed)

        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            key, object_id, text = os.urandom(32), os.urandom(16), os.urandom(size)
            seals.append(partial(seal_object, key, object_id, text))
            cut = bytes(sealed[: seal_object(key, object_id, text)])
            expect = Expect(Kind.DATA, corpus, object_id, ROOT, len(cut), size)
            opens.append(partial(open_into, key, cut, plain, expect))
            check(opens[-1], lambda: plain, text)
        return Work(opens, seals)


class NewBuffer:
    """`seal` and `open_whole`: the same into a new buffer each time, including page faults."""

    name = "securedata format, new buffers"

    def prepare(self, size: int, count: int) -> Work:
        corpus = os.urandom(16)
        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            key, object_id, text = os.urandom(32), os.urandom(16), os.urandom(size)
            header = Header(Kind.DATA, corpus, object_id)
            cut = bytes(seal(header, key, text))
            seals.append(partial(seal, header, key, text))
            opens.append(partial(open_whole, key, cut, Expect(Kind.DATA, corpus, object_id, ROOT, len(cut), size)))
            check(opens[-1], opens[-1], text)
        return Work(opens, seals)


class Reader:
    """The public reader of an open corpus, from storage in memory to the caller's buffer.

    What is timed is the lookup of the row, the lease of the keys, header checks, key derivation, commitment and chunks.
    The storage returns its bytes without a copy.
    """

    name = "securedata reader"

    def __init__(self, work: Path, rows: int = 1_000) -> None:
        self._work = work
        self._rows = rows

    def prepare(self, size: int, count: int) -> Work:
        storage = MemoryStorage(f"{ROOT}/{size}")
        made = create_corpus(storage.url, kms=[f"local://{self._work}/benchmark.kek"], storage=storage).reference
        writer = Writer(made, storage=storage)
        texts = [os.urandom(size) for _ in range(count)]
        puts = [writer.put_object([text]) for text in texts]
        real = rows_table(_row(number, put) for number, put in enumerate(puts))
        writer.commit(pa.concat_tables([*synthetic(self._rows - count), real]))
        corpus = open_corpus(made, storage=storage)
        plain = bytearray(size)
        opens: list[Call] = []
        for number, text in enumerate(texts):
            opens.append(partial(corpus.read_into, corpus.find(_path(number)), plain))
            check(opens[-1], lambda: plain, text)
        return Work(opens, [])


def _path(number: int) -> str:
    return f"object/{number:06d}"


def _row(number: int, put: Put) -> dict[str, object]:
    return {
        "path": _path(number),
        **put.columns(),
        "subjects": ["nobody"],
    }
