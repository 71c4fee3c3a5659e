"""Rows that are added with a new pack: all of the pack, or none of it."""

from __future__ import annotations

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.state.layout import pack_key
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.lifecycle.holds.hold import add_hold
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, open_quietly
from tests.kit.corpora.erasing import erase_by
from tests.kit.corpora.rows import DAY, commit, content, fill, make, packed_rows, row, table, writer_of

PATHS = ("dan/1", "eve/1", "ann/1", "dan/2", "bob/1")
"""Of a pack, in its order."""


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def corpus(place: MemoryStorage) -> Reference:
    return make(place)


@pytest.fixture
def writer(corpus: Reference, place: MemoryStorage) -> Writer:
    return writer_of(corpus, place)


def of(*paths: str, version: int = 0) -> dict[str, bytes]:
    return {path: content(path, version) for path in paths}


def packs_in(place: MemoryStorage) -> set[str]:
    return {key for key in keys_of(place) if key.startswith("packs/")}


def order_of(corpus: Reference, place: MemoryStorage) -> list[str]:
    """The paths of rows in packs, in the order of the manifest."""
    head = look(corpus, place).head
    found = [read_table(place, head.corpus_id, part, ("path", "pack")).to_pylist() for part in head.parts]
    return [one["path"] for part in found for one in part if one["pack"]]


def whole(corpus: Reference, place: MemoryStorage) -> None:
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)


def nothing_of(outcome: Outcome, place: MemoryStorage, rows: list[dict[str, object]]) -> None:
    """The pack is gone, and no head names it."""
    assert not outcome.added
    assert outcome.committed.isdisjoint({one["pack"] for one in rows} | {one["object_id"] for one in rows})
    assert not packs_in(place)


def test_rows_stand_in_the_order_of_their_pack(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "old/1")
    rows = packed_rows(writer, of(*PATHS))
    alone = row(writer, "old/2", content("old/2"))
    outcome = writer.commit(table(rows[0], alone, *rows[1:]))
    assert outcome.added == 6
    assert rows[0]["pack"] in outcome.committed
    assert order_of(corpus, place) == list(PATHS)
    assert packs_in(place) == {pack_key(rows[0]["pack"])}
    opened = open_quietly(corpus, place)
    assert {path: bytes(opened.read(path)) for path in PATHS} == of(*PATHS)
    times = {path: one["ingested"] for path, one in current(corpus, place).items()}
    assert None not in times.values(), "the time of the put of their pack"
    whole(corpus, place)


def test_rows_that_replace_others_stand_in_the_order_of_their_pack(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "dan/2", "bob/1", subjects=("x",), commits=2)
    outcome = writer.commit(table(*packed_rows(writer, of(*PATHS))), replace=True)
    assert (outcome.added, outcome.replaced) == (5, 2)
    assert order_of(corpus, place) == list(PATHS)
    whole(corpus, place)


def test_somebody_was_erased(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    erase_by(writer, "ann")
    rows = packed_rows(writer, of(*PATHS))
    sealed = place.get(pack_key(rows[0]["pack"]))
    outcome = writer.commit(table(*rows))
    assert (outcome.erased, sorted(outcome.stale)) == (["ann/1"], ["bob/1", "dan/1", "dan/2", "eve/1"])
    nothing_of(outcome, place, rows)
    assert not [key for key, (data, _) in place.objects.items() if bytes(data) == sealed]


def test_another_recording_is_there(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "dan/2", subjects=("x",))
    rows = packed_rows(writer, of(*PATHS))
    outcome = writer.commit(table(*rows))
    assert (outcome.conflicts, len(outcome.stale)) == (["dan/2"], 4)
    nothing_of(outcome, place, rows)


def test_the_same_recording_is_there(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    commit(writer, row(writer, "dan/2", content("dan/2"), ["dan"]))
    rows = packed_rows(writer, of(*PATHS))
    outcome = writer.commit(table(*rows))
    assert (outcome.same, len(outcome.stale)) == (["dan/2"], 4)
    nothing_of(outcome, place, rows)


def test_a_hold_keeps_what_is_there(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "dan/2", subjects=("dan",))
    add_hold(writer, "dan", "7")
    rows = packed_rows(writer, of(*PATHS, version=1))
    outcome = writer.commit(table(*rows), replace=True)
    assert (outcome.held, len(outcome.stale)) == (["dan/2"], 4)
    nothing_of(outcome, place, rows)


def test_one_pack_is_torn_and_another_is_named(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "dan/1", subjects=("x",))
    torn, sound = packed_rows(writer, of("dan/1", "eve/1")), packed_rows(writer, of("dan/2", "bob/1"))
    outcome = writer.commit(table(*torn, *sound))
    assert (outcome.added, outcome.conflicts, outcome.stale) == (2, ["dan/1"], ["eve/1"])
    assert packs_in(place) == {pack_key(sound[0]["pack"])}
    assert order_of(corpus, place) == ["dan/2", "bob/1"]
    whole(corpus, place)


def test_a_row_that_is_torn_replaces_nothing(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    erase_by(writer, "ann")
    fill(writer, "bob/1", subjects=("bob",))
    before = current(corpus, place)
    outcome = writer.commit(table(*packed_rows(writer, of(*PATHS, version=1))), replace=True)
    assert (outcome.replaced, outcome.changes) == (0, False)
    assert current(corpus, place) == before
    whole(corpus, place)


def test_a_pack_from_before_a_prune_is_stale(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = packed_rows(writer, of(*PATHS))
    place.clock += 2 * DAY
    writer_of(corpus, place).commit(table(row(writer_of(corpus, place), "old/1", content("old/1"))))
    prune(writer_of(corpus, place))
    outcome = writer.commit(table(*rows))
    assert (outcome.added, len(outcome.stale)) == (0, 5)
    assert not packs_in(place)


def test_a_pack_is_discarded(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = packed_rows(writer, of(*PATHS))
    writer.discard([rows[0]["pack"]])
    assert not packs_in(place)
    assert len(writer.commit(table(*rows)).stale) == 5
