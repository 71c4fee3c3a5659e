"""securedata as a contender: the format layer alone, and the public reader of a corpus over sealed bytes in memory."""

from __future__ import annotations

import os
from functools import partial

from contenders import check
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_into, open_whole, seal, seal_into, sealed_size
from timing import Call, Work

ROOT = "memory://benchmark"


class Format:
    """`seal_into` and `open_into`, header checks and key derivation included, into reused buffers."""

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
    """`seal` and `open_whole`: the same into a new buffer each time, page faults included."""

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
