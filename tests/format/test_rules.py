"""Rules of docs/format.md on heads and corpora that nothing else holds: limits, what is drawn once, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    CorpusExists,
    FormatError,
    InvalidArgument,
    LimitExceeded,
    MalformedManifest,
    PinMismatch,
    SecuredataError,
)
from securedata.format.cobblestone import CHUNK
from securedata.format.sealed import sealed_size
from securedata.keys.local import LocalKMS
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, open_quietly
from tests.kit.corpora.harmed import TwoCorpora, two_corpora
from tests.kit.corpora.rows import content, fill, make, row, table, writer_of
from tests.kit.hooked import Hooked

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
