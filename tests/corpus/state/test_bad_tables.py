"""Manifest parts that are missing, swapped or changed, and authentic ones that break the format."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

from securedata.corpus.state.head import TableRef
from securedata.corpus.state.tables import read_table
from securedata.errors import (
    AuthenticationFailed,
    LimitExceeded,
    MalformedManifest,
    NotSealed,
    PartMissing,
    SecuredataError,
    Truncated,
    WrongCorpus,
    WrongKind,
    WrongObject,
)
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from tests.conftest import FULL
from tests.kit.corpora.contents import look, open_quietly, rows_of
from tests.kit.corpora.harmed import (
    PATHS,
    ROOT,
    Harm,
    TwoCorpora,
    an_object,
    change_part,
    check_text,
    part,
)
from tests.kit.corpora.rows import content, fill, writer_of


def flip_part(made: TwoCorpora) -> None:
    key = part(made).storage_key
    data = bytearray(made.data(key))
    data[200] ^= 4
    made.put(key, data)


def swap_parts(made: TwoCorpora) -> None:
    one, two = made.opened.head.parts
    data = made.data(one.storage_key), made.data(two.storage_key)
    made.put(one.storage_key, data[1])
    made.put(two.storage_key, data[0])


def part_of_another_corpus(made: TwoCorpora) -> None:
    theirs = look(made.other, made.other_place).head.parts[0]
    made.put(part(made).storage_key, made.other_place.objects[theirs.storage_key][0])


# --------------------------------------------------------------------------------------------------- manifest parts

PARTS: list[tuple[str, Harm, type[SecuredataError]]] = [
    ("missing", lambda made: made.place.delete(part(made).storage_key), PartMissing),
    ("empty", lambda made: made.put(part(made).storage_key, b""), NotSealed),
    ("flipped", flip_part, AuthenticationFailed),
    ("cut", lambda made: change_part(made, lambda data: data[:-1]), Truncated),
    (
        "extended",
        lambda made: made.put(part(made).storage_key, made.data(part(made).storage_key) + b"x"),
        LimitExceeded,
    ),
    ("swapped", swap_parts, WrongObject),
    ("of another corpus", part_of_another_corpus, WrongCorpus),
    ("an object", lambda made: made.put(part(made).storage_key, made.data(an_object(made))), WrongKind),
    ("a head", lambda made: made.put(part(made).storage_key, made.data("head")), WrongKind),
]


@pytest.mark.parametrize(("harm", "error"), [one[1:] for one in PARTS], ids=[one[0] for one in PARTS])
def test_a_part_that_is_not_the_one(harm: Harm, error: type[SecuredataError], made: TwoCorpora) -> None:
    ids = {ref.id.hex() for ref in made.opened.head.parts}
    key_hex = part(made).key.hex()
    harm(made)
    before = dict(made.place.objects)
    for act in (
        lambda: open_quietly(made.reference, made.place),
        lambda: writer_of(made.reference, made.place).commit(remove=PATHS),
    ):
        with pytest.raises(SecuredataError) as caught:
            act()
        # what is longer than the head says may never be read; what is as long or shorter tells what it is
        assert type(caught.value) in (
            {error, LimitExceeded} if harm in (swap_parts,) or error is WrongKind else {error}
        )
        check_text(caught.value, made)
        text = str(caught.value)
        assert any(one in text for one in ids), "which part"
        assert key_hex not in text
    assert made.place.objects["head"] == before["head"]


def good_part(made: TwoCorpora) -> pa.Table:
    return read_table(made.place, made.opened.head.corpus_id, part(made), None)


def plant(made: TwoCorpora, plain: bytes | bytearray | memoryview, rows: int = 2) -> None:
    """An authentic part with this content, in the place of the first one."""
    opened = made.opened
    object_id, key = b"P" * 16, b"k" * 32
    sealed = seal(Header(Kind.TABLE, opened.head.corpus_id, object_id), key, plain)
    ref = TableRef(object_id, key, rows, len(sealed))
    made.put(ref.storage_key, sealed)
    made.put_head(parts=(ref, *opened.head.parts[1:]))


def arrow(table_: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table_.schema) as writer:
        writer.write_table(table_)
    return bytes(sink.getvalue())


def with_column(name: str, array: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(rows.schema.get_field_index(name), pa.field(name, array.type), array)


def bad_utf8() -> pa.Array:
    offsets, data = np.array([0, 2, 4], np.int64), b"\xff\xfe\xff\xff"
    return pa.Array.from_buffers(pa.large_string(), 2, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)])


BROKEN: list[tuple[str, Callable[[pa.Table], bytes]]] = [
    ("nothing", lambda rows: b""),
    ("no Arrow file", lambda rows: b"PAR1" * 100),
    ("only its magic", lambda rows: b"ARROW1\0\0" + b"ARROW1"),
    ("a stream, not a file", lambda rows: _stream(rows)),
    ("cut", lambda rows: arrow(rows)[:-10]),
    ("a footer from the future", lambda rows: arrow(rows)[:-10] + struct.pack("<i", 2**31 - 1) + b"ARROW1"),
    ("a negative footer", lambda rows: arrow(rows)[:-10] + struct.pack("<i", -5) + b"ARROW1"),
    ("too few rows", lambda rows: arrow(rows.slice(1))),
    ("too many rows", lambda rows: arrow(pa.concat_tables([rows, rows]))),
    ("a column is missing", lambda rows: arrow(rows.drop_columns("object_id"))),
    ("no columns", lambda rows: arrow(rows.select([]))),
    ("a column twice", lambda rows: arrow(rows.append_column("path", rows.column("path")))),
    ("another type", lambda rows: arrow(with_column("size", pa.array(["a", "b"]))(rows))),
    ("short keys", lambda rows: arrow(with_column("data_key", pa.array([b"k", b"k"]))(rows))),
    ("nulls", lambda rows: arrow(with_column("path", pa.array([None, "b"], pa.large_string()))(rows))),
    ("no UTF-8", lambda rows: arrow(with_column("path", bad_utf8())(rows))),
]


def _stream(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def test_a_part_with_other_files_than_the_head_says(made: TwoCorpora) -> None:
    first, *others = made.opened.head.parts
    made.put_head(parts=(replace(first, others=1), *others))
    with pytest.raises(
        MalformedManifest, match="0 of its rows are of files that are no recordings, but the head says 1"
    ):
        open_quietly(made.reference, made.place)


@pytest.mark.parametrize("content_", [one[1] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_an_authentic_part_that_breaks_the_format(content_: Callable[[pa.Table], bytes], made: TwoCorpora) -> None:
    plant(made, content_(good_part(made)))
    for act in (
        lambda: open_quietly(made.reference, made.place),
        lambda: open_quietly(made.reference, made.place, columns=["transcript"]),
        lambda: writer_of(made.reference, made.place).commit(remove=[PATHS[0]]),
    ):
        with pytest.raises(MalformedManifest, match=(b"P" * 16).hex()) as caught:
            act()
        check_text(caught.value, made)


def test_a_part_with_looser_fields_than_the_schema_is_read(made: TwoCorpora) -> None:
    rows = good_part(made)
    plant(made, arrow(pa.table({name: rows.column(name) for name in reversed(rows.schema.names)})))
    opened = open_quietly(made.reference, made.place)
    assert [bytes(opened.read(path)) for path in PATHS] == [content(path) for path in PATHS]
    fill(writer_of(made.reference, made.place), "new")
    writer_of(made.reference, made.place).commit(remove=[PATHS[0]])
    assert sorted(rows_of(made.opened.head, made.place)) == sorted([*PATHS[1:], "new"])


EDGES = [b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"", b"xxxxxx"]


def test_any_authentic_part_is_refused_or_read(made: TwoCorpora) -> None:
    # a process that lives on has not read outside of a buffer
    plain = bytes(
        open_whole(part(made).key, made.data(part(made).storage_key), Expect(Kind.TABLE, None, part(made).id, ROOT))
    )
    chosen = random.Random(11)
    for _ in range(3000 if FULL else 150):
        data = bytearray(plain)
        for _ in range(chosen.choice([1, 1, 2, 4])):
            at = chosen.randrange(len(data))
            data[at : at + 4] = chosen.choice(
                [
                    bytes([data[at] ^ 1 << chosen.randrange(8)]),
                    b"\xff" * 4,
                    bytes(4),
                    b"\xff\xff\xff\x7f",
                    b"",
                    b"xxxxxx",
                ]
            )
        before = made.place.objects["head"]
        plant(made, data)
        with contextlib.suppress(SecuredataError):
            opened = open_quietly(made.reference, made.place)
            for i in range(len(opened)):
                with contextlib.suppress(SecuredataError):
                    opened.read(i)
                opened.value("subjects", i)
        made.place.objects["head"] = before
