"""Tink for Python: one-shot AES-256-GCM, and streaming AES-256-GCM-HKDF."""

from __future__ import annotations

import io
import os
from functools import partial

import tink
from tink import aead, streaming_aead

from benchmarks.peers.contenders import CONTEXT, check
from benchmarks.tools.timing import Call, Work

aead.register()
streaming_aead.register()


class Aead:
    """One keyset and one call per object. Tink returns bytes; it has no buffer API."""

    name = "Tink AES256_GCM"

    def prepare(self, size: int, count: int) -> Work:
        primitive = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            text = os.urandom(size)
            opens.append(partial(primitive.decrypt, primitive.encrypt(text, CONTEXT), CONTEXT))
            seals.append(partial(primitive.encrypt, text, CONTEXT))
            check(opens[-1], opens[-1], text)
        return Work(opens, seals)


class Sink(io.BytesIO):
    """A buffer that stays open: Tink closes it before its bytes are read."""

    def close(self) -> None:
        pass


class Streaming:
    """One stream per object, in segments of 4 KiB or 1 MiB, read whole or with readinto into a reused buffer."""

    def __init__(self, template: str, into: bool) -> None:
        self.name = f"Tink {template} {'readinto' if into else 'read'}"
        self._template = getattr(streaming_aead.streaming_aead_key_templates, template)
        self._into = into

    def prepare(self, size: int, count: int) -> Work:
        primitive = tink.new_keyset_handle(self._template).primitive(streaming_aead.StreamingAead)
        out = memoryview(bytearray(size))

        def read_whole(sealed: bytes) -> bytes:
            with primitive.new_decrypting_stream(io.BytesIO(sealed), CONTEXT) as stream:
                return stream.read()  # type: ignore[no-any-return]  # tink has no stubs

        def read_into(sealed: bytes) -> memoryview:
            with primitive.new_decrypting_stream(io.BytesIO(sealed), CONTEXT) as stream:
                done = 0
                while done < size and (got := stream.readinto(out[done:])):
                    done += got
            return out[:done]

        def seal(text: bytes) -> bytes:
            sink = Sink()
            stream = primitive.new_encrypting_stream(sink, CONTEXT)
            stream.write(text)
            stream.close()
            return sink.getvalue()

        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            text = os.urandom(size)
            opens.append(partial(read_into if self._into else read_whole, seal(text)))
            seals.append(partial(seal, text))
            check(opens[-1], opens[-1], text)
        return Work(opens, seals)
