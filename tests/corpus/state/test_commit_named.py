"""What the head names is never deleted, however its object came to be on a list of what leaves."""

from __future__ import annotations

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import listed
from securedata.errors import StorageUnreachable
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import content, fill, row, table, writer_of
from tests.kit.hooked import Hooked

HOUR = 3600.0


@pytest.fixture
def corpus(corpus: Reference, place: MemoryStorage) -> Reference:
    fill(writer_of(corpus, place), "kept", "old")
    return corpus


def days_later(corpus: Reference, place: MemoryStorage, by: str) -> None:
    """What is due is deleted, by a commit or by a prune."""
    for number in range(3):
        place.clock += 25 * HOUR
        writer = writer_of(corpus, place)
        if by == "prune":
            prune(writer)
        elif by == "commit":
            writer.commit(settings={"number": number})
        else:
            fill(writer, f"more/{place.clock:.0f}")
    assert not look(corpus, place).head.retired
    assert verify(corpus, storage=place, threads=1).ok


def leaving(corpus: Reference, place: MemoryStorage) -> set[str]:
    head = look(corpus, place).head
    return {key for one in head.retired for key in listed(place, head, one) if key.startswith("objects/")}


BY = pytest.mark.parametrize("by", ["prune", "commit", "ingest"])


@BY
def test_a_row_that_is_renamed_keeps_its_object(by: str, corpus: Reference, place: MemoryStorage) -> None:
    known = current(corpus, place)["old"]
    assert writer_of(corpus, place).commit(table({**known, "path": "new"}), remove=["old"]).added == 1
    assert leaving(corpus, place) == set()
    days_later(corpus, place, by)
    assert open_quietly(corpus, place).read("new") == content("old")


@BY
def test_a_row_that_comes_back_keeps_its_object(by: str, corpus: Reference, place: MemoryStorage) -> None:
    known = current(corpus, place)["old"]
    writer = writer_of(corpus, place)
    writer.commit(remove=["old"])
    assert leaving(corpus, place) == {object_key(known["object_id"])}
    writer.commit(table(known))
    days_later(corpus, place, by)
    assert open_quietly(corpus, place).read("old") == content("old")


def test_a_row_that_comes_back_when_its_object_is_due_keeps_it(corpus: Reference, place: MemoryStorage) -> None:
    known = current(corpus, place)["old"]
    writer = writer_of(corpus, place)
    writer.commit(remove=["old"])
    place.clock += 25 * HOUR
    assert writer.commit(table(known)).added == 1  # the same commit finds the list due
    assert open_quietly(corpus, place).read("old") == content("old")
    days_later(corpus, place, "prune")
    assert open_quietly(corpus, place).read("old") == content("old")


@BY
def test_an_object_is_kept_as_long_as_a_row_of_another_part_needs_it(
    by: str, corpus: Reference, place: MemoryStorage
) -> None:
    writer = writer_of(corpus, place)
    one = row(writer, "long/1", content("long"), start=0, frames_in_segment=5, frames=10)
    writer.commit(table(one, {**one, "path": "long/2", "start": 5}))
    writer.commit(table({**one, "path": "long/first"}), remove=["long/1"])
    writer.commit(remove=["long/first"])
    assert object_key(one["object_id"]) not in leaving(corpus, place)
    days_later(corpus, place, by)
    writer_of(corpus, place).commit(remove=["long/2"])
    assert object_key(one["object_id"]) in leaving(corpus, place)
    days_later(corpus, place, by)
    assert object_key(one["object_id"]) not in place.objects


def test_where_parts_cannot_be_read_nothing_that_is_due_is_deleted(corpus: Reference, place: MemoryStorage) -> None:
    writer_of(corpus, place).commit(remove=["old"])
    place.clock += 25 * HOUR
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    parts = {part.storage_key for part in writer.head.parts}
    stored = set(place.objects)

    def broken(call: str, key: str) -> None:
        if call == "get" and key in parts:
            raise StorageUnreachable("the line is cut")

    storage.before = broken
    writer.commit(settings={"number": 1})
    assert set(place.objects) == stored
    assert look(corpus, place).head.retired
    days_later(corpus, place, "commit")
