"""Whole objects are opened by cryptography's Cobblestone-256 where it has it, and by our own code: they must agree."""

from __future__ import annotations

import os

import pytest

from securedata.errors import AuthenticationFailed, SecuredataError
from securedata.format import cobblestone
from securedata.format.cobblestone import CHUNK
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_into, open_whole, seal

CORPUS, OBJECT, KEY = os.urandom(16), os.urandom(16), os.urandom(32)
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17)


def outcome(sealed: bytes, expect: Expect, room: int) -> tuple[object, bytes]:
    """What opening gives, or the error and its text; and what lies in the buffer afterwards."""
    out = bytearray(room)
    try:
        return open_into(KEY, sealed, out, expect), bytes(out)
    except SecuredataError as error:
        return (type(error), str(error)), bytes(out)


@pytest.mark.parametrize("size", SIZES)
def test_both_open_the_same_and_refuse_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.urandom(size)
    sealed = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, plain))
    expect = Expect(Kind.DATA, CORPUS, OBJECT, "root", len(sealed), size)
    places = [0, 9, 20, 50, 64, 90, 100, 120, len(sealed) - 1, len(sealed) - 17]
    cases = [sealed, sealed[:-1], sealed + b"x", sealed[:-16], sealed[: -CHUNK - 16], b""]
    cases += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in places]
    loose = expect._replace(sealed_size=None, size=None)
    fast = [outcome(case, told, size + 40) for case in cases for told in (expect, loose)]
    monkeypatch.setattr(cobblestone, "_Decryptor", None)
    own = [outcome(case, told, size + 40) for case in cases for told in (expect, loose)]
    assert fast == own
    assert fast[0] == (size, plain + bytes(40)), "and nothing is written behind the plaintext"
    assert all(not any(left) for (result, left) in fast[2:] if not isinstance(result, int)), "errors leave nothing"
    assert bytes(open_whole(KEY, sealed, expect)) == plain


def test_the_fast_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare our own code with itself."""
    sealed = seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, b"x" * 100_000)
    expect = Expect(Kind.DATA, CORPUS, OBJECT, "root", len(sealed), 100_000)
    asked = []
    real = cobblestone.open_at_once
    monkeypatch.setattr("securedata.format.sealed.open_at_once", lambda *args: asked.append(real(*args)) or asked[-1])
    open_into(KEY, sealed, bytearray(100_000), expect)
    sealed[5000] ^= 1
    with pytest.raises(AuthenticationFailed, match="chunk 0"):
        open_into(KEY, sealed, bytearray(100_000), expect)
    assert asked == [True, False]
