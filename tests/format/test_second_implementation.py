"""docs/format.md is complete: tests/kit/second_reader.py, written from it alone, reads and refuses what we do."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from securedata.errors import FormatError
from securedata.format.cobblestone import CHUNK, Message
from securedata.format.header import Header, Kind, context
from securedata.format.sealed import Expect, open_stream, open_whole, seal
from securedata.keys.tags import Tagger
from tests.kit import second_reader
from tests.kit.corpora.contents import look
from tests.kit.corpora.rows import content, fill, make, row, table, writer_of

KEY, CORPUS, OBJECT = bytes(range(32)), b"C" * 16, b"O" * 16


def test_it_reads_a_corpus(tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    corpus = make(root=str(root))
    writer = writer_of(corpus)
    fill(writer, "a/1", "a/2", "b/3", commits=2)
    writer.commit(remove=["a/1"])
    packed = [row(writer, f"p/{number}", os.urandom(CHUNK * number)) for number in range(3)]
    pack, offset = os.urandom(16), 0
    (root / "packs").mkdir()
    with (root / "packs" / pack.hex()).open("wb") as file:
        for one in packed:
            name = one["object_id"].hex()
            offset = file.tell()
            file.write((root / "objects" / name[:2] / name).read_bytes())
            one.update(pack=pack, offset=offset)
    writer.commit(table(*packed))
    key_file = Path(corpus.kms[0].removeprefix("local://")).read_text(encoding="ascii")
    head, rows = second_reader.read_corpus(second_reader.in_folder(root), key_file, str(corpus.pins[0]))
    ours = look(corpus).head
    assert (head["generation"], head["secret"]) == (ours.generation, ours.secret.hex())
    assert sorted(rows) == ["a/2", "b/3", "p/0", "p/1", "p/2"]
    assert rows["a/2"]["content"] == content("a/2")
    assert [len(rows[f"p/{number}"]["content"]) for number in range(3)] == [0, CHUNK, 2 * CHUNK]
    for name in ("ann", "Ann", "Zoe\u0308", "\u5f20"):
        assert second_reader.tag(ours.secret, name) == Tagger(ours.secret).tag(name)


# ----------------------------------------------------------- odd headers, under a commitment that is right

numbers = st.sampled_from([0, 1, 2, 0x7FFF, 0x8000, 0x8001, 0x8002, 0xFFFF])
tlvs = st.lists(
    st.tuples(
        numbers,
        st.binary(max_size=20),
        st.sampled_from([0, 0, 0, 0, 1, -1, 4, 8, 0xFF00]),  # what the length says more than there is
        st.sampled_from([b"", b"", b"", b"\1"]),  # the padding's first byte
    ),
    max_size=3,
)
fixed = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([0, 2, 255]),
        "suite": st.sampled_from([0, 2]),
        "size": st.sampled_from([0, 56, 63, 64, 65, 72, 80, 4096, 4104, 65528, 65535]),
        "kind": st.sampled_from([0, 1, 2, 3, 4, 255]),
        "zero": st.sampled_from([b"\0\0\1", b"\1\0\0"]),
        "corpus": st.just(b"D" * 16),
        "key_id": st.sampled_from([bytes(15) + b"\1", b"K" * 16]),
        "object": st.just(b"P" * 16),
    },
)


def encode(change: dict[str, object], fields: list[tuple[int, bytes, int, bytes]], kind: int) -> bytes:
    tail = b""
    for number, value, more, padding in fields:
        tail += struct.pack(">HH", number, max(0, min(0xFFFF, len(value) + more))) + value
        tail += padding[: -len(tail) % 8].ljust(-len(tail) % 8, b"\0")
    parts = {"version": 1, "suite": 1, "size": 64 + len(tail), "kind": kind, "zero": b"\0\0\0", "corpus": CORPUS}
    parts |= {"key_id": bytes(16), "object": OBJECT} | change
    return struct.pack(">8sBBHB3s16s16s16s", second_reader.MAGIC, *parts.values()) + tail


def sealed_under(header: bytes, plain: bytes) -> bytes:
    """A message that commits to exactly this header, as a reader delimits it."""
    size = int.from_bytes(header[10:12], "big")
    message = Message.new(KEY, context((header + bytes(70_000))[:size]))
    out = bytearray(len(plain) + 16 * (len(plain) // CHUNK + 1))
    message.seal_chunks(0, memoryview(plain), memoryview(out), last=True)
    return (header + bytes(70_000))[: max(size, len(header))] + message.prefix + out


def agree(data: bytes, kind: Kind) -> bytes | None:
    """What both make of an object; None: both refuse it."""
    expect = Expect(kind, CORPUS, OBJECT, "memory://second")
    results: list[bytes | None] = []
    for read in (
        lambda: second_reader.unseal(data, KEY, kind, CORPUS, OBJECT),
        lambda: bytes(open_whole(KEY, data, expect)),
        lambda: b"".join(open_stream(KEY, [data[at : at + 1000] for at in range(0, len(data), 1000)], expect)),
    ):
        try:
            results.append(read())
        except (second_reader.Refused, FormatError):
            results.append(None)
    assert results[1:] == results[:1] * 2
    return results[0]


@given(change=fixed, fields=tlvs, kind=st.sampled_from(Kind), cut=st.sampled_from([0, 0, 0, 1, 16, 17, 80]))
@example(change={}, fields=[], kind=Kind.DATA, cut=0)
@example(change={}, fields=[(0x8001, b"wrap", 0, b"")], kind=Kind.HEAD, cut=0)
@example(change={}, fields=[(0x8001, b"wrap", 0, b"")], kind=Kind.DATA, cut=0)
@example(change={}, fields=[(7, b"ignored", 0, b"")], kind=Kind.TABLE, cut=0)
@example(change={"size": 4096}, fields=[(0, b"", 0, b"")], kind=Kind.DATA, cut=0)
@example(change={"size": 4104}, fields=[(0, b"", 0, b"")], kind=Kind.DATA, cut=0)
@example(change={"size": 65528}, fields=[(0, b"", 0, b"")], kind=Kind.HEAD, cut=0)
def test_both_take_and_refuse_the_same_headers(
    change: dict[str, object], fields: list[tuple[int, bytes, int, bytes]], kind: Kind, cut: int
) -> None:
    data = sealed_under(encode(change, fields, kind), b"plain")
    agree(data[: len(data) - cut], kind)


def test_what_is_right_is_taken_by_both() -> None:
    for kind, fields, size in (
        (Kind.DATA, [], 64),
        (Kind.DATA, [(7, b"x", 0, b"")], 72),
        (Kind.HEAD, [(0x8001, b"wrap", 0, b"")], 72),
        (Kind.DATA, [(0, b"", 0, b"")], 4096),
        (Kind.HEAD, [(0, b"", 0, b"")], 65528),
    ):
        assert agree(sealed_under(encode({"size": size}, fields, kind), b"plain"), kind) == b"plain"


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_both_take_and_refuse_the_same_lengths(size: int) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    data = bytes(seal(Header(Kind.DATA, CORPUS, OBJECT), KEY, plain[:size]))
    assert agree(data, Kind.DATA) == plain[:size]
    borders = {0, 1, 63, 64, 65, 119, 120, 121, 135, 136, *(len(data) - less for less in (1, 15, 16, 17, 31, 32, 33))}
    borders |= {120 + 16400 * n + d for n in (1, 2, 3) for d in (-17, -16, -1, 0, 1, 15, 16, 17)}
    for length in sorted(border for border in borders if 0 <= border < len(data)):
        assert agree(data[:length], Kind.DATA) is None
    for more in (b"\0", bytes(15), bytes(16), bytes(17), data[120:], data[-16:], data):
        assert agree(data + more, Kind.DATA) is None
