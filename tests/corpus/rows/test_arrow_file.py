"""What a part would become in memory is known before Arrow builds it: bombs from a writer who holds the keys."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from securedata.corpus.rows.arrow_file import MAX_DECLARED, Refused, check_file
from securedata.corpus.schema import SCHEMA, rows_table
from securedata.corpus.state.tables import seal_table
from securedata.errors import InvalidArgument, MalformedManifest
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.process import output_of
from tests.kit.corpora.contents import look
from tests.kit.corpora.rows import content, fill, make, row, table, writer_of
from tests.kit.docs.tree import ROOT

MiB = 1024 * 1024


def written(table_: pa.Table, codec: str | None = "zstd", batches: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table_.schema, options=ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table_, max_chunksize=batches)
    return bytes(sink.getvalue())


def rows(count: int = 2) -> pa.Table:
    return rows_table(
        {"path": str(n), "object_id": bytes([n]) * 16, "data_key": bytes(32), "source_sha256": bytes(32)}
        for n in range(count)
    )


def with_column(array: pa.Array) -> pa.Table:
    return rows(len(array)).append_column("x", array)


# ----------------------------------------------------------------------------------------------- what Arrow writes

PLAIN = [
    pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(9, 2), pa.date32(),
    pa.time64("us"), pa.timestamp("ns", tz="Europe/Paris"), pa.duration("s"), pa.month_day_nano_interval(),
    pa.binary(3), pa.binary(), pa.large_binary(), pa.string(), pa.large_string(),
]  # fmt: skip
TYPES = [*PLAIN, *(pa.list_(kind) for kind in PLAIN), *(pa.large_list(kind) for kind in PLAIN)]
WEIRD = [
    pa.struct([("a", pa.int8())]), pa.list_(pa.list_(pa.int8())), pa.list_(pa.int8(), 2),
    pa.map_(pa.string(), pa.int8()), pa.dictionary(pa.int8(), pa.string()),
    pa.string_view(), pa.binary_view(), pa.list_view(pa.int8()),
    pa.large_list_view(pa.int8()), pa.run_end_encoded(pa.int32(), pa.int8()), pa.uuid(), pa.binary(0),
    pa.list_(pa.struct([])), pa.list_(pa.binary(0)),
]  # fmt: skip


@pytest.mark.parametrize("codec", [None, "zstd", "lz4"])
def test_plain_columns_pass(codec: str | None) -> None:
    for kind in TYPES:
        for count in (0, 1, 9):
            data = written(with_column(pa.nulls(count, kind)), codec)
            check_file(memoryview(data), count)
    check_file(memoryview(written(rows(0).schema.empty_table())), 0)


@pytest.mark.parametrize("kind", WEIRD, ids=str)
def test_other_columns_are_refused_by_reader_and_writer(kind: pa.DataType) -> None:
    values = pa.nulls(2, kind)
    data = written(with_column(values))
    with pytest.raises(Refused, match=r"type|list of lists|zero bytes|dictionaries|fields"):
        check_file(memoryview(data), len(values))
    place = MemoryStorage()
    writer = writer_of(make(place), place)
    added = table(row(writer, "a", content("a")), row(writer, "b", content("b")))
    with pytest.raises(InvalidArgument, match="put anything else into extra as JSON"):
        writer.commit(added.append_column("x", values))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40),
    st.lists(st.sampled_from(["text", "numbers", "bytes", "lists", "nulls"]), max_size=6),
    st.sampled_from([None, "zstd", "lz4"]),
    st.dictionaries(st.binary(max_size=9), st.binary(max_size=99), max_size=3),
)
def test_whatever_arrow_writes_is_read_as_it_is(
    count: int, kinds: list[str], codec: str | None, about: dict[bytes, bytes]
) -> None:
    made = {
        "text": lambda: pa.array([f"ü{n}" * n for n in range(count)]),
        "numbers": lambda: pa.array([n if n % 3 else None for n in range(count)], pa.int64()),
        "bytes": lambda: pa.array([bytes(n) for n in range(count)], pa.large_binary()),
        "lists": lambda: pa.array([["a"] * n for n in range(count)], pa.list_(pa.string())),
        "nulls": lambda: pa.nulls(count),
    }
    table_ = rows(count)
    for number, kind in enumerate(kinds):
        table_ = table_.append_column(pa.field(f"c{number}", made[kind]().type, metadata=about), made[kind]())
    data = written(table_.replace_schema_metadata(about), codec)
    if table_.num_rows:
        check_file(memoryview(data), table_.num_rows)
    with pytest.raises(Refused):
        check_file(memoryview(data), table_.num_rows + 1)


def test_no_flipped_byte_is_another_error() -> None:
    data = bytearray(written(with_column(pa.array(["a", "b"]))))
    chosen = np.random.default_rng(5)
    for _ in range(2000):
        bent = bytearray(data)
        at = int(chosen.integers(len(bent)))
        bent[at : at + 4] = chosen.bytes(4) if chosen.integers(2) else b"\xff\xff\xff\xff"
        try:
            check_file(memoryview(bent)[: len(data)], 2)
        except Refused:
            continue
    for end in range(len(data)):
        with pytest.raises(Refused):
            check_file(memoryview(data)[:end], 2)


# ----------------------------------------------------------------------------------------------------------- bombs


def decompressed(count: int) -> bytes:
    """So many columns of 64 MiB of zeros."""
    zeros = pa.array([bytes(32 * MiB)] * 2, pa.large_binary())
    table_ = rows()
    for number in range(count):
        table_ = table_.append_column(f"x{number}", zeros)
    return written(table_)


def declared(size: int) -> bytes:
    """A compressed buffer that says it has so many bytes."""
    data = bytearray(written(with_column(pa.array([bytes(5 * MiB)] * 2, pa.large_binary()))))
    at = data.index(struct.pack("<q", 10 * MiB))
    data[at : at + 8] = struct.pack("<q", size)
    return bytes(data)


def one_text_many_times(count: int) -> bytes:
    """A file whose footer names one long text so many times."""
    about = {f"k{n:05}".encode(): b"v" * (60_000 if n == 0 else 1) for n in range(count)}
    data = bytearray(written(rows().replace_schema_metadata(about)))
    end = len(data) - 10 - int.from_bytes(data[-10:-6], "little")
    long = data.index(struct.pack("<I", 60_000) + b"v", end)
    at = end
    while (at := data.find(struct.pack("<I", 1) + b"v\0", at)) >= 0:
        for offset in range(end, len(data) - 10, 4):  # whoever points to it points to the long one
            if offset + int.from_bytes(data[offset : offset + 4], "little") == at:
                if long > offset:
                    data[offset : offset + 4] = struct.pack("<I", long - offset)
                break
        at += 4
    return bytes(data)


BOMBS: list[tuple[str, Callable[[], bytes], str]] = [
    ("40 columns of zeros", lambda: decompressed(40), "buffers declare 26"),
    ("one buffer that says 3 GB", lambda: declared(3 * 10**9), "buffers declare 30"),
    ("one that says 2**62", lambda: declared(2**62), "buffers declare"),
    ("one that says less than nothing", lambda: declared(-2), "negative length"),
    ("one text, 100 times", lambda: one_text_many_times(100), "names and metadata have more than"),
]

OPENED = """
import resource, sys
from tests.corpus.rows.test_arrow_file import open_bomb
resource.setrlimit(resource.RLIMIT_AS, (1_600_000_000, 1_600_000_000))
print(open_bomb(open(sys.argv[1], "rb").read()))
"""


def open_bomb(plain: bytes) -> str:
    """What is said when an authentic part with this content is opened."""
    from securedata.corpus.state.head import TableRef
    from securedata.corpus.state.tables import open_table

    sealed = seal(Header(Kind.TABLE, bytes(16), b"P" * 16), b"k" * 32, plain)
    try:
        open_table(sealed, bytes(16), TableRef(b"P" * 16, b"k" * 32, 2, len(sealed)), None, "root")
    except MalformedManifest as error:
        return str(error)
    return "opened"


@pytest.mark.parametrize(("make_bomb", "says"), [one[1:] for one in BOMBS], ids=[one[0] for one in BOMBS])
def test_a_bomb_is_refused_before_it_takes_memory(make_bomb: Callable[[], bytes], says: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make_bomb())
    assert path.stat().st_size < MiB
    said = output_of([sys.executable, "-c", OPENED, str(path)], ROOT)
    assert "is authentic but breaks the format" in said
    assert says in said


def test_what_is_within_the_limit_is_read() -> None:
    assert 10 * 64 * MiB < MAX_DECLARED
    check_file(memoryview(decompressed(10)), 2)
    assert open_bomb(decompressed(2)) == "opened"


def test_several_batches_and_dictionaries_are_refused() -> None:
    with pytest.raises(Refused, match="3 record batches"):
        check_file(memoryview(written(rows(3), batches=1)), 3)
    encoded = pa.array(["a", "b"]).dictionary_encode()
    with pytest.raises(Refused, match="dictionaries"):
        check_file(memoryview(written(with_column(encoded))), 2)


def test_rows_that_no_part_holds_are_refused_before_they_are_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.corpus.state.tables.MAX_DECLARED", 1000)
    with pytest.raises(InvalidArgument, match="commit fewer at once"):
        seal_table(rows(9), bytes(16))


def test_large_parts_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    place = MemoryStorage()
    reference = make(place)
    counts = []
    for limit in (1, 64 * MiB):
        monkeypatch.setattr("securedata.corpus.rows.plan.MERGED_BYTES", limit)
        for number in range(9):
            fill(writer_of(reference, place), f"{limit}/{number}")
        counts.append(len(look(reference, place).head.parts))
    assert counts[0] == 9
    assert counts[1] < 9


def test_schema_is_plain() -> None:
    check_file(memoryview(written(SCHEMA.empty_table())), 0)
