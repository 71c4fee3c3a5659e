"""prune deletes what nobody can need, and nothing where it cannot tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.schema import rows_table
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.errors import (
    PartMissing,
    UnknownVersion,
)
from securedata.storage.base import Buffer, Entry
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.made import FILES, Made, check, commit_head, errors, id_of, made
from tests.kit.small import DAY, add, commit, in_folder, keys, row


@pytest.fixture(name="made")
def sound() -> Made:
    return made()


def test_prune_deletes_what_nobody_named_for_a_day_and_nothing_else(made: Made) -> None:
    old = made[2].put_object([b"abandoned"])
    for key in (
        f"manifest/{os.urandom(16).hex()}",
        f"packs/{os.urandom(16).hex()}",
        f"objects/ab/ab{'0' * 30}.tmp-7-5",
    ):
        made[1].put_new(key, [b"?"])
    made[1].put_new("notes.txt", [b"?"])
    made[1].clock += DAY + 1
    young = made[2].put_object([b"in flight"])
    before = check(made)
    report = prune(made[2])
    assert len(report.deleted) == 4
    assert object_key(old.object_id) in report.deleted
    assert object_key(young.object_id) in keys(made[1])
    assert [one.error for one in before.findings if not report.done_with(one)] == ["ForeignFile"]
    assert report.horizon == made[1].clock - DAY == made[2].head.horizon
    after = check(made)
    assert errors(after) == ["ForeignFile"]
    assert after.in_flight == 1
    assert after.objects_opened == 4


def test_prune_clears_what_is_due_and_keeps_what_is_not(made: Made) -> None:
    made[2].commit(remove=["ann/1.wav"])
    made[1].clock += DAY / 2
    made[2].commit(remove=["bob/1.wav"])
    first, second = made[2].head.retired
    made[1].clock += DAY / 2
    before = check(made)
    assert errors(before) == ["LeavingDue"]
    stored = keys(made[1])
    report = prune(made[2])
    assert report.cleared == [first.table.storage_key]
    assert [one.table for one in made[2].head.retired] == [second.table]
    assert before.findings[0].key in report.cleared
    assert len(stored - keys(made[1])) == 3  # an object, a part, and the list
    assert check(made).ok


def test_prune_keeps_old_things_that_are_leaving_and_not_due(made: Made) -> None:
    made[1].clock += 3 * DAY
    object_id = id_of(made, "ann/1.wav")
    made[2].commit(remove=["ann/1.wav"])
    assert prune(made[2]).deleted == set()
    assert object_key(object_id) in keys(made[1])


@pytest.mark.parametrize("what", ["part", "list"])
def test_prune_deletes_nothing_where_it_cannot_tell_what_is_named(made: Made, what: str) -> None:
    made[2].commit(remove=["ann/1.wav"])
    key = (made[2].head.parts[0] if what == "part" else made[2].head.retired[0].table).storage_key
    made[2].put_object([b"abandoned"])
    made[1].clock += DAY / 2
    add(made[2], {"eve/1.wav": b"eve"})
    saved = made[1].objects.pop(key)
    made[1].clock += DAY / 2 - 1
    stored = keys(made[1])
    with pytest.raises(PartMissing):
        prune(made[2])
    assert keys(made[1]) == stored
    made[1].objects[key] = (saved[0][:-1], saved[1])
    with pytest.raises(Exception, match="length"):
        prune(made[2])
    assert keys(made[1]) == stored | {key}


def test_prune_deletes_nothing_under_a_head_of_a_newer_version(made: Made) -> None:
    made[2].put_object([b"abandoned"])
    made[1].clock += 2 * DAY
    commit_head(made, unknown={"shards": []})
    stored = keys(made[1])
    generation = made[2].head.generation
    with pytest.raises(UnknownVersion, match="shards"):
        prune(made[2])
    assert keys(made[1]) == stored
    assert made[2].refresh().generation == generation


def test_what_is_committed_between_the_listing_and_the_deleting_stays(made: Made) -> None:
    """Another writer whose objects are as old as the horizon seals them anew, or wins before the horizon."""
    late = row(made[2], "eve/1.wav", b"eve")
    made[1].clock += 2 * DAY
    other = Writer(made[0], storage=made[1])
    other._uncommitted.times = dict(made[2]._uncommitted.times)
    storage = made[1]

    class Interleaved(MemoryStorage):
        def replace(self, key: str, data: Buffer, version: str | None) -> None:
            if self.first:
                self.first = False
                commit(other, late)  # just before the horizon: it has to stay
            super().replace(key, data, version)

        first = True

    racing = Interleaved()
    racing.objects, racing.clock = storage.objects, storage.clock
    made[2].storage = racing
    prune(made[2])
    assert check(made).ok
    assert id_of(made, "eve/1.wav") == late["object_id"]
    stale = row(other, "eve/2.wav", b"eve")
    other._uncommitted.times[stale["object_id"]] = made[2].head.horizon - 1
    assert other.commit(rows_table([stale])).stale == ["eve/2.wav"]


def test_the_head_is_read_again_after_the_listing(made: Made) -> None:
    late = row(made[2], "eve/1.wav", b"eve")
    made[1].clock += 2 * DAY
    other = Writer(made[0], storage=made[1])  # did not put the object, so it cannot know that it is stale

    class Listed(MemoryStorage):
        def list(self, prefix: str = "") -> Iterator[Entry]:
            yield from list(super().list(prefix))
            commit(other, late)

    storage = Listed()
    storage.objects, storage.clock = made[1].objects, made[1].clock
    made[2].storage = storage
    assert prune(made[2]).deleted == set()
    assert check(made).ok


def test_prune_goes_on_where_a_part_was_replaced_and_deleted_meanwhile(made: Made) -> None:
    made[2].put_object([b"abandoned"])
    made[1].clock += 2 * DAY
    other = Writer(made[0], storage=made[1])

    class Erased(MemoryStorage):
        listed = False

        def list(self, prefix: str = "") -> Iterator[Entry]:
            yield from list(super().list(prefix))
            self.listed = True

        def get(self, key: str, limit: int | None = None) -> bytes:
            if self.listed and key.startswith("manifest/"):
                self.listed = False
                old = other.head.parts[0].storage_key
                other.commit(remove=["ann/1.wav"])
                self.delete(old)
            return super().get(key, limit)

    storage = Erased()
    storage.objects, storage.clock = made[1].objects, made[1].clock
    made[2].storage = storage
    assert len(prune(made[2]).deleted) == 1
    assert check(made).ok


def test_prune_on_a_folder_by_its_own_clock(tmp_path: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, FILES)
    put = writer.put_object([b"abandoned"])
    path = tmp_path / "sealed" / object_key(put.object_id)
    half = path.with_name(path.name + ".tmp-1-2")
    half.write_bytes(b"half")
    assert prune(writer).deleted == set()
    assert verify(reference).in_flight == 2
    old = path.stat().st_mtime - DAY - 60
    for one in (path, half):
        os.utime(one, (old, old))
    assert errors(verify(reference)) == ["OldTemporary", "Orphan"]
    assert len(prune(writer).deleted) == 2
    report = verify(reference)
    assert report.ok
    assert report.stored == len(keys(LocalStorage(str(tmp_path / "sealed"))))
