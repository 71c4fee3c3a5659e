"""Rules of docs/format.md that nothing else holds: limits, what is drawn once, what a reader never does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.create import create_corpus
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.schema import MAX_ROWS, check_path, rows_table
from securedata.corpus.state import commit
from securedata.corpus.state.head import MAX_GENERATION, TableRef, open_with, seal_head
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import listed
from securedata.corpus.state.tables import open_table, read_table, seal_table
from securedata.errors import (
    AuthenticationFailed,
    CorpusExists,
    FormatError,
    InvalidArgument,
    LimitExceeded,
    MalformedManifest,
    PinMismatch,
    SecuredataError,
    StorageUnreachable,
    Truncated,
)
from securedata.format.cobblestone import CHUNK, MAX_CHUNKS, MAX_PLAIN, PREFIX, SEALED_CHUNK, TAG, Message
from securedata.format.cobblestone import plain_size as message_plain_size
from securedata.format.header import FIXED, MAX_HEADER, Header, Kind
from securedata.format.ranges import Fetch, open_range, ranges_for
from securedata.format.sealed import Expect, open_stream, seal, sealed_size
from securedata.keys.local import LocalKMS
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, open_quietly
from tests.kit.corpora.harmed import TwoCorpora, two_corpora
from tests.kit.corpora.rows import content, fill, make, row, table, writer_of
from tests.kit.hooked import Hooked

KEY = bytes(range(32))
EXPECT = Expect(Kind.DATA, b"C" * 16, b"O" * 16, "memory://rules")


def sealed_of(plain: bytes) -> bytearray:
    return seal(Header(Kind.DATA, b"C" * 16, b"O" * 16), KEY, plain)


# -------------------------------------------------------------------------------------------------------------- limits

LAST = MAX_CHUNKS - 1
"""Index of the last chunk that a message may have."""


def test_a_message_ends_before_its_chunks_run_out() -> None:
    message = Message.new(KEY, b"context")
    out = memoryview(bytearray(3 * SEALED_CHUNK))
    assert message.seal_chunks(LAST, memoryview(b"end"), out, last=True) == 3 + TAG
    assert message.seal_chunks(LAST - 1, memoryview(bytes(CHUNK)), out, last=True) == SEALED_CHUNK + TAG
    for first, size, last in ((LAST, CHUNK, False), (LAST - 1, 2 * CHUNK, True), (LAST + 1, 0, True)):
        with pytest.raises(LimitExceeded, match=str(2**52 - 1)):
            message.seal_chunks(first, memoryview(bytes(size)), out, last=last)


def test_the_largest_message_and_one_more() -> None:
    largest = PREFIX + LAST * SEALED_CHUNK + CHUNK - 1 + TAG
    assert (message_plain_size(largest), MAX_PLAIN) == (2**52 - 1, 2**52 - 1)
    for more in range(1, 3 * TAG):
        assert message_plain_size(largest + more) is None


def fetched_nothing(ranges: object) -> list[bytes]:
    raise AssertionError("storage was asked")


@pytest.mark.parametrize("size", [-1, -TAG, -CHUNK, -(2**62), MAX_PLAIN + 1, 2**62])
@pytest.mark.parametrize("header_length", [FIXED, MAX_HEADER])
def test_a_row_that_no_object_can_be_is_refused_before_storage_is_asked(size: int, header_length: int) -> None:
    expect = EXPECT._replace(sealed_size=sealed_size(size, header_length), size=size)
    for offset, length in ((0, 1), (0, 0), (5, 2**62)):
        with pytest.raises(Truncated):
            ranges_for(offset, length, expect)
        with pytest.raises(Truncated):
            open_range(KEY, fetched_nothing, offset, length, expect)


def test_the_largest_row_is_read_at_both_ends() -> None:
    expect = EXPECT._replace(sealed_size=sealed_size(MAX_PLAIN), size=MAX_PLAIN)
    assert ranges_for(0, 1, expect) == [(0, FIXED + PREFIX + SEALED_CHUNK)]
    (_, (low, length)) = ranges_for(MAX_PLAIN - 1, 10, expect)
    assert (low, length) == (FIXED + PREFIX + LAST * SEALED_CHUNK, CHUNK - 1 + TAG)


@pytest.mark.parametrize("chunk", [2**32 - 1, 2**32, 2**32 + 1, 2**37, LAST - 1])
def test_chunks_far_behind_open_at_their_own_index_alone(chunk: int) -> None:
    """A counter of 32 bits would begin again at 64 TiB. The object is nowhere whole: storage makes what is asked."""
    header = Header(Kind.DATA, b"C" * 16, b"O" * 16).encode()
    message = Message.new(KEY, b"securedata/v1\0" + header)
    made = bytearray(SEALED_CHUNK)
    message.seal_chunks(chunk, memoryview(b"x" * CHUNK), memoryview(made), last=False)
    expect = EXPECT._replace(sealed_size=sealed_size(MAX_PLAIN), size=MAX_PLAIN)

    def read(at: int) -> bytes:
        got = open_range(KEY, lambda ranges: [header + message.prefix, made], at * CHUNK + 1, CHUNK - 1, expect)
        return bytes(got)

    assert read(chunk) == b"x" * (CHUNK - 1)
    for other in {chunk - 1, chunk & (2**32 - 1), (chunk + 2**32) % LAST} - {chunk, 0}:
        with pytest.raises(AuthenticationFailed, match=f"chunk {other} "):
            read(other)


# -------------------------------------------------------------------------------------------------------------- reading


def fetch_from(data: bytes | bytearray) -> Fetch:
    return lambda ranges: [data[low : low + size] for low, size in ranges]


def flipped(data: bytes | bytearray, at: int) -> bytearray:
    new = bytearray(data)
    new[at] ^= 1
    return new


@pytest.mark.parametrize("at", [20, FIXED, FIXED + PREFIX - 1])
@pytest.mark.parametrize(("offset", "length"), [(5, 0), (100, 1), (10**9, 5)])
def test_of_an_empty_range_the_object_is_checked_too(at: int, offset: int, length: int) -> None:
    good = sealed_of(bytes(100))
    expect = EXPECT._replace(sealed_size=len(good), size=100)
    for sizes in (expect, expect._replace(size=None)):
        for data, refused in ((good, False), (flipped(good, at), True)):
            if refused:
                with pytest.raises(FormatError, match=(b"O" * 16).hex()):
                    open_range(KEY, fetch_from(data), offset, length, sizes)
            else:
                assert open_range(KEY, fetch_from(data), offset, length, sizes) == b""


def drain(stream: Iterator[bytearray], into: bytearray) -> None:
    for piece in stream:
        into += piece


def cut(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]


def lost(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]
    raise StorageUnreachable("the network is gone")


def interrupted(data: bytearray) -> Iterator[bytearray]:
    yield data[: FIXED + PREFIX + SEALED_CHUNK]
    raise KeyboardInterrupt


STREAMS: dict[str, tuple[Callable[[bytearray], Iterator[bytearray]], type[BaseException]]] = {
    "flipped in the second chunk": (lambda data: iter([flipped(data, -1)]), AuthenticationFailed),
    "cut": (cut, Truncated),
    "lost on the way": (lost, StorageUnreachable),
    "interrupted": (interrupted, KeyboardInterrupt),
}


@pytest.mark.parametrize(("pieces", "error"), STREAMS.values(), ids=STREAMS)
def test_a_stream_that_failed_never_comes_to_an_end(
    pieces: Callable[[bytearray], Iterator[bytearray]], error: type[BaseException]
) -> None:
    stream = open_stream(KEY, pieces(sealed_of(bytes(CHUNK + 100))), EXPECT)
    got = bytearray()
    first: BaseException | None = None
    for _ in range(5):
        with pytest.raises(error) as caught:
            drain(stream, got)
        first = first or caught.value
        assert caught.value is first
    assert got in (b"", bytes(CHUNK)), "the chunks before it, once"


def test_a_stream_that_is_whole_ends_for_good() -> None:
    stream = open_stream(KEY, [sealed_of(b"all")], EXPECT)
    assert b"".join(stream) == b"all"
    assert [*stream] == []


# ----------------------------------------------------------------------------------------------------------------- head


def test_the_last_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    made = two_corpora()
    key = made.opened.key
    last = replace(made.opened.head, generation=MAX_GENERATION - 1)
    assert open_with(seal_head(last, key), key, "root") == last
    with pytest.raises(LimitExceeded, match=str(2**45 - 1)):
        seal_head(last.next(bytes(16)), key)
    made.put_body(json.dumps({**made.body(), "generation": 2**45}).encode())
    with pytest.raises(MalformedManifest):
        open_quietly(made.reference, made.place)


DOUBLED: dict[str, Callable[[dict[str, Any], str], str]] = {
    "a member": lambda body, text: text[:-1] + f', "generation": {body["generation"] - 1}' + "}",
    "the same value": lambda body, text: text[:-1] + f', "generation": {body["generation"]}' + "}",
    "of a part": lambda body, text: text.replace('"rows":', '"rows": 0, "rows":', 1),
    "of an unknown member": lambda body, text: text[:-1] + ', "x": [{"a": 1, "a": 2}]}',
}


@pytest.mark.parametrize("double", DOUBLED.values(), ids=DOUBLED)
def test_a_member_that_is_there_twice(double: Callable[[dict[str, Any], str], str]) -> None:
    made: TwoCorpora = two_corpora()
    body = made.body()
    made.put_body(double(body, json.dumps(body)).encode())
    with pytest.raises(MalformedManifest):
        open_quietly(made.reference, made.place)


# ---------------------------------------------------------------------------------------------------------- the corpus


class Kept(MemoryStorage):
    """Remembers everything that was ever put."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[bytes] = []

    def replace(self, key: str, data: Any, version: str | None) -> None:
        super().replace(key, data, version)
        self.heads.append(bytes(data))


def test_every_id_and_key_is_drawn_for_one_object() -> None:
    place = Kept()
    corpus = make(place)
    writer = writer_of(corpus, place)
    fill(writer, "a/1", "a/2")
    fill(writer, "b/1")
    writer.commit(table(row(writer, "a/2", b"another recording")), replace=True)
    writer.commit(remove=["a/1"])
    writer.commit(table(row(writer, "b/1", content("b/1"))), reseal=True)
    opened = look(corpus, place)
    tables: dict[bytes, TableRef] = {}
    objects: dict[bytes, tuple[bytes, bytes]] = {}
    writes = []
    for sealed in place.heads:
        head = open_with(sealed, opened.key, "root")
        writes.append(head.write_id)
        for ref in [*head.parts, *(one.table for one in head.retired)]:
            assert tables.setdefault(ref.id, ref) == ref, "one id, one key, one content"
        for part in head.parts:
            for one in read_table(place, head.corpus_id, part, ("object_id", "data_key", "source_sha256")).to_pylist():
                seen = objects.setdefault(one["object_id"], (one["data_key"], one["source_sha256"]))
                assert seen == (one["data_key"], one["source_sha256"])
    assert len(place.heads) == 6
    assert len(set(writes)) == len(writes)
    assert len(tables) >= 6
    assert len(objects) == 5
    keys = [ref.key for ref in tables.values()] + [key for key, _ in objects.values()] + [opened.key]
    assert len(set(keys)) == len(keys)
    assert len({*tables, *objects, *writes, opened.head.corpus_id, opened.head.key_id}) == (
        len(tables) + len(objects) + len(writes) + 2
    )


def test_rows_that_are_removed_leave_with_their_part() -> None:
    place = Kept()
    corpus = make(place)
    writer = writer_of(corpus, place)
    fill(writer, "a/1", "a/2")
    before = look(corpus, place).head
    writer.commit(remove=["a/1"])
    after = look(corpus, place).head
    assert {ref.id for ref in after.parts}.isdisjoint(ref.id for ref in before.parts)
    assert {ref.key for ref in after.parts}.isdisjoint(ref.key for ref in before.parts)
    (retired,) = after.retired
    assert len(listed(place, after, retired)) == 2, "the old part, and the object of the row"
    writer.commit(remove=["a/2"])
    assert look(corpus, place).head.parts == (), "an empty part is not written"


def test_a_reader_lists_and_writes_nothing() -> None:
    place = MemoryStorage()
    corpus = make(place)
    fill(writer_of(corpus, place), "a/1", "a/2")
    hooked = Hooked(place)
    opened = open_quietly(corpus, hooked)
    assert opened.read("a/1")
    opened.refresh()
    assert opened.read_range("a/2", 3, 5)
    names = {name for name, _ in hooked.calls}
    assert names <= {"get", "get_ranges", "get_many", "get_landed", "get_versioned"}
    assert "get_versioned" in names


@pytest.mark.parametrize("key", ["head", "notes.txt", "objects/ab/" + "ab" * 16, "a/b/c", "head.prev"])
def test_a_corpus_is_made_only_where_nothing_is(key: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / key).parent.mkdir(parents=True)
    (root / key).write_bytes(b"mine")
    with pytest.raises(CorpusExists, match=str(root)):
        create_corpus(str(root))
    assert [path.read_bytes() for path in root.rglob("*") if path.is_file()] == [b"mine"]


def test_a_head_that_does_not_read_back_is_never_put(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Kept()
    corpus = make(place)
    writer = writer_of(corpus, place)
    fill(writer, "a/1")
    real = commit.open_with
    monkeypatch.setattr(commit, "open_with", lambda *args: replace(real(*args), horizon=7.0))
    before = len(place.heads)
    with pytest.raises(MalformedManifest, match="does not read back"):
        fill(writer, "a/2")
    assert len(place.heads) == before


@pytest.mark.parametrize("rows", [MAX_ROWS, MAX_ROWS + 1])
def test_a_part_of_too_many_rows(rows: int) -> None:
    one = rows_table([{"object_id": bytes(16), "data_key": bytes(32), "path": "a", "source_sha256": bytes(32)}])
    ref, sealed = seal_table(one.take(pa.array(np.zeros(rows, np.int64))), bytes(16))
    if rows <= MAX_ROWS:
        assert open_table(sealed, bytes(16), ref, None, "root").num_rows == rows
    else:
        with pytest.raises(MalformedManifest, match=f"{rows} rows"):
            open_table(sealed, bytes(16), ref, None, "root")


BAD_PATHS = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "a/./b",
    "../a",
    "a/..",
    "a\\b",
    "a\nb",
    "a\0b",
    "a\x1fb",
    "a\x7fb",
    "e\u0301",
]


def test_paths_that_no_row_may_have() -> None:
    for path in BAD_PATHS:
        with pytest.raises(InvalidArgument):
            check_path(path)
    for path in ("a", "a b/c", "...", ".a/..b", "\u00e9", "a\u0080b"):
        assert check_path(path) == path


@pytest.mark.parametrize("times", [1, 2])
def test_a_reader_starts_over_where_a_part_was_replaced(times: int) -> None:
    place = MemoryStorage()
    corpus = make(place)
    other = writer_of(corpus, place)
    paths = ["a/1", "a/2", "a/3"]
    fill(other, *paths)
    hooked = Hooked(place)
    left = times

    def erase(call: str, key: str) -> None:
        nonlocal left
        if call == "get" and key.startswith("manifest/") and left:
            left -= 1
            other.commit(remove=[paths.pop()])
            place.delete(key)

    hooked.before = erase
    opened = open_quietly(corpus, hooked)
    assert opened.generation == 2 + times
    assert opened.read("a/1")


def test_a_pin_of_another_corpus_is_refused_before_the_kms_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = two_corpora()
    asked = []
    monkeypatch.setattr(LocalKMS, "unwrap", lambda self, blob, context: asked.append(blob))
    wrong = replace(made.reference, pins=made.other.pins)
    for act in (lambda: open_quietly(wrong, made.place), lambda: writer_of(wrong, made.place)):
        with pytest.raises(PinMismatch):
            act()
    assert asked == []


EDGES = [-(2**63), -(2**32), -1, 0, 1, 2**40, 2**62, 2**63 - 1]
BEFORE = 777
"""Bytes of others in the pack, before the object."""


@pytest.mark.parametrize("folder", [False, True], ids=["in memory", "in a folder"])
def test_rows_that_lie_about_a_pack(folder: bool, tmp_path: Path) -> None:
    """Authentic rows of a broken writer: each read is an error of ours or the right bytes, and no memory is claimed."""
    place = LocalStorage(str(tmp_path / "root")) if folder else MemoryStorage()
    corpus = make(None, place.url) if folder else make(place)
    writer = writer_of(corpus, place)
    data = bytes(range(256)) * 80
    one = row(writer, "x", data)
    sealed = bytes(place.get(object_key(one["object_id"])))
    pack = b"P" * 16
    place.put_new(f"packs/{pack.hex()}", [bytes(BEFORE), sealed])
    truth = (BEFORE, len(sealed), len(data))
    cases = {truth}
    cases |= {(at, truth[1], truth[2]) for at in EDGES}
    cases |= {(truth[0], size, truth[2]) for size in [*EDGES, len(sealed) - 1, len(sealed) + 1]}
    cases |= {(truth[0], truth[1], size) for size in [*EDGES, len(data) - 1, len(data) + 1]}
    cases |= {(at, size, truth[2]) for at in EDGES for size in EDGES}
    cases |= {(at, sealed_size(size), size) for at in EDGES for size in EDGES if -(2**63) <= sealed_size(size) < 2**63}
    named = {f"x/{number}": case for number, case in enumerate(sorted(cases))}
    rows = [
        {**one, "path": path, "pack": pack, "offset": at, "sealed_size": whole, "size": size}
        for path, (at, whole, size) in named.items()
    ]
    opened = look(corpus, place)
    ref, part = seal_table(table(*rows), opened.head.corpus_id)
    place.put_new(ref.storage_key, [part])
    place.replace("head", seal_head(replace(opened.head, parts=(ref,)), opened.key), opened.version)
    reader = open_quietly(corpus, place)

    def many(number: int, offset: int, length: int | None) -> bytearray:
        ((_, got),) = reader.read_many([Piece(number, offset, length)])
        if isinstance(got, SecuredataError):
            raise got
        return got

    for number, (path, case) in enumerate(named.items()):
        for offset, length in ((0, None), (0, 10), (CHUNK, 5), (len(data) - 1, 9)):
            end = None if length is None else offset + length
            reads = [partial(many, number, offset, length)]
            reads.append(
                partial(reader.read, path) if length is None else partial(reader.read_range, path, offset, length)
            )
            for read in reads:
                try:
                    got = read()
                except FormatError:
                    assert case != truth
                else:
                    assert got == data[offset:end][: max(0, case[2] - offset)]
                    assert case == truth or (length is not None and case[0] == BEFORE)
    report = verify(corpus, storage=place)
    assert not report.ok


def test_verify_refuses_a_place_that_cannot_be() -> None:
    place = MemoryStorage()
    corpus = make(place)
    writer = writer_of(corpus, place)
    asked = []
    hooked = Hooked(place, before=lambda call, key: asked.append((call, key)))
    for number, (at, whole) in enumerate([(-5, 200), (2**63 - 1, 200), (0, -5), (0, 135), (2**62, 2**62)]):
        one = {**row(writer, f"x/{number}", b"x"), "pack": b"P" * 16, "offset": at, "sealed_size": whole}
        writer.commit(table(one))
    report = verify(corpus, storage=hooked)
    assert {finding.error for finding in report.findings if "x/0" in finding.paths} >= {"Truncated"}
    assert ("get_ranges", "packs/" + "50" * 16) not in asked


@pytest.mark.parametrize(("column", "value"), [("size", 2**63), ("offset", -(2**63) - 1), ("sample_rate", 2**31)])
def test_a_number_that_its_column_does_not_hold(column: str, value: int) -> None:
    with pytest.raises(InvalidArgument, match=column):
        rows_table([{"object_id": bytes(16), "data_key": bytes(32), column: value}])
