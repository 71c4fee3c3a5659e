"""Contenders that need only `cryptography`: the limit, memcpy, pyca's own Cobblestone class, Fernet."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.tools.timing import Call, Work

NONCE = bytes(12)
CONTEXT = b"securedata benchmark" + bytes(44)
"""64 bytes, the length of a securedata header."""


class Memcpy:
    """Copy the bytes into the caller's buffer: no decryption can be faster."""

    name = "memcpy"

    def prepare(self, size: int, count: int) -> Work:
        out = memoryview(bytearray(size))

        def copy(source: bytes) -> None:
            out[:] = source

        calls = [partial(copy, os.urandom(size)) for _ in range(count)]
        return Work(calls, calls)


class OneShot:
    """AES-256-GCM over the whole object in one call, with cipher objects made beforehand: the limit of this host."""

    name = "one-shot AES-GCM"

    def prepare(self, size: int, count: int) -> Work:
        plain, sealed = bytearray(size), bytearray(size + 16)
        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            cipher, text = AESGCM(AESGCM.generate_key(256)), os.urandom(size)
            cut = cipher.encrypt(NONCE, text, CONTEXT)
            opens.append(partial(cipher.decrypt_into, NONCE, cut, CONTEXT, plain))
            seals.append(partial(cipher.encrypt_into, NONCE, text, CONTEXT, sealed))
            check(opens[-1], lambda: plain, text)
        return Work(opens, seals)


class PycaCobblestone:
    """`cryptography.cobblestone`: the same construction in Rust, whole objects only, one key per object."""

    name = "pyca Cobblestone"

    def prepare(self, size: int, count: int) -> Work:
        plain = memoryview(bytearray(size))
        sealed = memoryview(bytearray(56 + size + 16 * (size // 16384 + 1)))

        def open_object(key: bytes, cut: bytes) -> None:
            decryptor = Cobblestone256Decryptor(key, CONTEXT)
            done = decryptor.update_into(cut, plain)
            last = decryptor.finalize()
            plain[done : done + len(last)] = last

        def seal_object(key: bytes, text: bytes) -> int:
            encryptor = Cobblestone256Encryptor(key, CONTEXT)
            done = encryptor.update_into(text, sealed)
            last = encryptor.finalize()
            sealed[done : done + len(last)] = last
            return done + len(last)

        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            key, text = Cobblestone256Encryptor.generate_key(), os.urandom(size)
            seals.append(partial(seal_object, key, text))
            cut = bytes(sealed[: seal_object(key, text)])
            opens.append(partial(open_object, key, cut))
            check(opens[-1], lambda: plain[:size], text)
        return Work(opens, seals)


class FernetToken:
    """Fernet (AES-128-CBC, HMAC-SHA-256, base64), as LitData and most tutorials use it. It has no buffer API."""

    name = "Fernet"

    def prepare(self, size: int, count: int) -> Work:
        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            cipher, text = Fernet(Fernet.generate_key()), os.urandom(size)
            opens.append(partial(cipher.decrypt, cipher.encrypt(text)))
            seals.append(partial(cipher.encrypt, text))
            check(opens[-1], opens[-1], text)
        return Work(opens, seals)


def check(call: Call, result: Callable[[], object], text: bytes) -> None:
    """Check that a call gives back the plaintext."""
    call()
    if result() != text:
        raise AssertionError(f"{call!r} did not give back what was sealed")
