"""Some columns of many parts: what storage gives for them is counted, and they are those of a whole read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import ipc

from securedata.corpus.parts.reader import open_parts
from securedata.corpus.rows import arrow_file
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state import part_columns
from securedata.corpus.state.head import TableRef
from securedata.corpus.state.part_columns import read_columns, together
from securedata.corpus.state.tables import read_table, seal_table
from securedata.errors import AuthenticationFailed, MalformedManifest, NotFound, SecuredataError
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal
from securedata.storage.base import Buffer, Wanted
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.harmed import TwoCorpora

CORPUS = b"C" * 16
ROWS = 6000
DECIDING = ("split", "purposes", "expires", "sealed_size", "pack", "format")


class Counting(MemoryStorage):
    """Counts the bytes of parts that it returns, the requests, and the rounds of requests side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = self.requests = self.rounds = 0

    def get(self, key: str, limit: int | None = None) -> bytes:
        data = super().get(key, limit)
        self._count(key, [data])
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        data = super().get(key)
        found = [data[offset : offset + length] for offset, length in ranges]
        self._count(key, found)
        return found

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        self.rounds += 1
        yield from reversed([*super().get_many(wanted, in_flight)])  # they may arrive in any order

    def _count(self, key: str, found: Sequence[bytes]) -> None:
        if key.startswith("manifest/"):
            self.fetched += sum(map(len, found))
            self.requests += len(found)


def rows(seed: int, count: int = ROWS) -> pa.Table:
    """Rows whose ids, keys and digests do not compress, as in any manifest."""
    chosen = np.random.default_rng(seed)
    made = {
        "path": [f"{seed}/{number}.wav" for number in range(count)],
        "subjects": [[f"person {number % 7}"] for number in range(count)],
        "speaker": [f"person {number % 7}" for number in range(count)],
        "split": chosen.choice(["train", "test"], count).tolist(),
        "sealed_size": chosen.integers(1000, 2000, count),
        "purposes": [["asr"] if number % 5 else None for number in range(count)],
    }
    columns = []
    for field in SCHEMA:
        if field.name in made:
            columns.append(pa.array(made[field.name], field.type))
        elif pa.types.is_fixed_size_binary(field.type) and not field.nullable:
            values = pa.py_buffer(chosen.bytes(field.type.byte_width * count))
            columns.append(pa.Array.from_buffers(field.type, count, [None, values]))
        elif field.nullable:
            columns.append(pa.nulls(count, field.type))
        else:
            columns.append(pa.array([("" if pa.types.is_large_string(field.type) else 0)] * count, field.type))
    return pa.table(columns, schema=SCHEMA)


def put(place: MemoryStorage, plain: bytes, count: int, tlvs: tuple[tuple[int, bytes], ...] = ()) -> TableRef:
    id, key = os.urandom(16), os.urandom(32)
    sealed = seal(Header(Kind.TABLE, CORPUS, id, tlvs=tlvs), key, plain)
    ref = TableRef(id, key, count, len(sealed))
    place.put_new(ref.storage_key, [sealed])
    return ref


def written(table: pa.Table, codec: str | None = "zstd") -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.fixture(scope="module")
def parts() -> tuple[Counting, list[TableRef]]:
    """Compressed ones, one that is not, one with another column, one with another header, and a small one."""
    place = Counting()
    refs = []
    for seed in range(2):
        ref, sealed = seal_table(rows(seed), CORPUS)
        place.put_new(ref.storage_key, [sealed])
        refs.append(ref)
    more = rows(2).add_column(3, pa.field("mine", pa.list_(pa.int8())), pa.array([[1, 2]] * ROWS, pa.list_(pa.int8())))
    more = more.add_column(0, "nothing", pa.nulls(ROWS))
    refs.append(put(place, written(rows(3), None), ROWS))
    refs.append(put(place, written(more), ROWS))
    refs.append(put(place, written(rows(4)), ROWS, ((1, b"of a later version"),)))
    refs.append(put(place, written(rows(5, 9)), 9))
    return place, refs


@pytest.mark.parametrize("columns", [DECIDING, ("subjects",), ("path", "extra", "mine"), (), SCHEMA.names], ids=len)
def test_the_columns_are_those_of_a_whole_read(parts: tuple[Counting, list[TableRef]], columns: Sequence[str]) -> None:
    place, refs = parts
    found = list(read_columns(place, CORPUS, refs, columns))
    for ref, table in zip(refs, found, strict=True):
        table.validate(full=True)
        assert table.equals(read_table(place, CORPUS, ref, columns))


def test_a_filter_fetches_its_columns_in_two_rounds(parts: tuple[Counting, list[TableRef]]) -> None:
    place, refs = parts
    place.fetched = place.requests = place.rounds = 0
    assert [table.num_rows for table in read_columns(place, CORPUS, refs[:2], DECIDING)] == [ROWS, ROWS]
    assert place.rounds == 2
    assert place.requests <= 2 * 4
    assert place.fetched < 0.4 * sum(ref.size for ref in refs[:2])


def test_an_error_is_of_the_part_whose_turn_it_is(parts: tuple[Counting, list[TableRef]]) -> None:
    place, refs = Counting(), parts[1]
    place.objects = dict(parts[0].objects)
    place.delete(refs[1].storage_key)
    reading = read_columns(place, CORPUS, refs[:2], DECIDING)
    assert next(reading).num_rows == ROWS
    with pytest.raises(NotFound):
        next(reading)
    flipped = bytearray(place.objects[refs[0].storage_key][0])
    flipped[200] ^= 1
    place.objects[refs[0].storage_key] = bytes(flipped), 0.0
    with pytest.raises(AuthenticationFailed):
        next(read_columns(place, CORPUS, refs[:1], DECIDING))


def test_what_breaks_the_format_is_told_as_by_a_whole_read(monkeypatch: pytest.MonkeyPatch) -> None:
    place = MemoryStorage()
    monkeypatch.setattr(arrow_file, "MAX_DECLARED", 4_000_000)
    bomb = rows(0).append_column("x", pa.array([bytes(1000)] * ROWS, pa.large_binary()))
    for plain, wanted in (
        (written(rows(0).drop_columns("split")), DECIDING),
        (written(rows(0).append_column("split", rows(0)["split"])), DECIDING),
        (written(rows(0, ROWS - 1)), DECIDING),
        (written(rows(0))[:-7], DECIDING),
        (written(bomb), ("x", *DECIDING)),
    ):
        ref = put(place, plain, ROWS)
        texts = []
        for act in (
            lambda ref=ref, wanted=wanted: next(read_columns(place, CORPUS, [ref], wanted)),
            lambda ref=ref, wanted=wanted: read_table(place, CORPUS, ref, wanted),
        ):
            with pytest.raises(MalformedManifest) as caught:
                act()
            texts.append(re.sub(r"declare \d+", "declare so many", str(caught.value)))
        assert texts[0] == texts[1]
    assert "above the limit" in texts[0]
    assert next(read_columns(place, CORPUS, [ref], DECIDING)).num_rows == ROWS  # that column is not built


def test_parts_are_read_together_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_columns, "TOGETHER", 10)
    refs = [TableRef(bytes(16), bytes(32), 1, size) for size in (4, 5, 3, 20, 1, 2)]
    assert [list(one) for one in together(refs)] == [[0, 1], [2], [3], [4, 5]]
    assert list(together([])) == []


def test_a_plan_reads_what_its_filter_needs(made: TwoCorpora) -> None:
    place, opened = Counting(), made.opened
    place.objects = dict(made.place.objects)
    ref, sealed = seal_table(rows(0), opened.head.corpus_id)
    place.put_new(ref.storage_key, [sealed])
    made.place = place
    made.put_head(parts=(ref,))
    split = rows(0)["split"]
    for options, wanted in (
        ({"filter": pc.field("split") == "test"}, pc.sum(pc.equal(split, "test")).as_py()),
        ({"speakers": ["person 3"], "filter": pc.field("split") == "test"}, None),
        ({}, ROWS),
    ):
        place.fetched = 0
        counts = open_parts(made.reference, storage=place, **options).count()
        wanted = wanted or sum(one == "test" and number % 7 == 3 for number, one in enumerate(split.to_pylist()))
        assert int(counts.rows.sum()) == wanted
        assert 0 < place.fetched < 0.5 * ref.size
