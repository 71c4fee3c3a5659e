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
from tests.kit.corpora.contents import keys_of
from tests.kit.corpora.harmed import FILES, MemoryCorpus, errors
from tests.kit.corpora.rows import DAY, add, commit, in_folder, row


def test_prune_deletes_what_nobody_named_for_a_day_and_nothing_else(sound: MemoryCorpus) -> None:
    old = sound.writer.put_object([b"abandoned"])
    for key in (
        f"manifest/{os.urandom(16).hex()}",
        f"packs/{os.urandom(16).hex()}",
        f"objects/ab/ab{'0' * 30}.tmp-7-5",
    ):
        sound.place.put_new(key, [b"?"])
    sound.place.put_new("notes.txt", [b"?"])
    sound.place.clock += DAY + 1
    young = sound.writer.put_object([b"in flight"])
    before = sound.verify()
    report = prune(sound.writer)
    assert len(report.deleted) == 4
    assert object_key(old.object_id) in report.deleted
    assert object_key(young.object_id) in keys_of(sound.place)
    assert [one.error for one in before.findings if not report.done_with(one)] == ["ForeignFile"]
    assert report.horizon == sound.place.clock - DAY == sound.writer.head.horizon
    after = sound.verify()
    assert errors(after) == ["ForeignFile"]
    assert after.in_flight == 1
    assert after.objects_opened == 4


def test_prune_clears_what_is_due_and_keeps_what_is_not(sound: MemoryCorpus) -> None:
    sound.writer.commit(remove=["ann/1.wav"])
    sound.place.clock += DAY / 2
    sound.writer.commit(remove=["bob/1.wav"])
    first, second = sound.writer.head.retired
    sound.place.clock += DAY / 2
    before = sound.verify()
    assert errors(before) == ["LeavingDue"]
    stored = keys_of(sound.place)
    report = prune(sound.writer)
    assert report.cleared == [first.table.storage_key]
    assert [one.table for one in sound.writer.head.retired] == [second.table]
    assert before.findings[0].key in report.cleared
    assert len(stored - keys_of(sound.place)) == 3  # an object, a part, and the list
    assert sound.verify().ok


def test_prune_keeps_old_things_that_are_leaving_and_not_due(sound: MemoryCorpus) -> None:
    sound.place.clock += 3 * DAY
    object_id = sound.id_of("ann/1.wav")
    sound.writer.commit(remove=["ann/1.wav"])
    assert prune(sound.writer).deleted == set()
    assert object_key(object_id) in keys_of(sound.place)


@pytest.mark.parametrize("what", ["part", "list"])
def test_prune_deletes_nothing_where_it_cannot_tell_what_is_named(sound: MemoryCorpus, what: str) -> None:
    sound.writer.commit(remove=["ann/1.wav"])
    key = (sound.writer.head.parts[0] if what == "part" else sound.writer.head.retired[0].table).storage_key
    sound.writer.put_object([b"abandoned"])
    sound.place.clock += DAY / 2
    add(sound.writer, {"eve/1.wav": b"eve"})
    saved = sound.place.objects.pop(key)
    sound.place.clock += DAY / 2 - 1
    stored = keys_of(sound.place)
    with pytest.raises(PartMissing):
        prune(sound.writer)
    assert keys_of(sound.place) == stored
    sound.place.objects[key] = (saved[0][:-1], saved[1])
    with pytest.raises(Exception, match="length"):
        prune(sound.writer)
    assert keys_of(sound.place) == stored | {key}


def test_prune_deletes_nothing_under_a_head_of_a_newer_version(sound: MemoryCorpus) -> None:
    sound.writer.put_object([b"abandoned"])
    sound.place.clock += 2 * DAY
    sound.put_head(unknown={"shards": []})
    stored = keys_of(sound.place)
    generation = sound.writer.head.generation
    with pytest.raises(UnknownVersion, match="shards"):
        prune(sound.writer)
    assert keys_of(sound.place) == stored
    assert sound.writer.refresh().generation == generation


def test_what_is_committed_between_the_listing_and_the_deleting_stays(sound: MemoryCorpus) -> None:
    """Another writer whose objects are as old as the horizon seals them anew, or wins before the horizon."""
    late = row(sound.writer, "eve/1.wav", b"eve")
    sound.place.clock += 2 * DAY
    other = Writer(sound.reference, storage=sound.place)
    other._uncommitted.times = dict(sound.writer._uncommitted.times)
    storage = sound.place

    class Interleaved(MemoryStorage):
        def replace(self, key: str, data: Buffer, version: str | None) -> None:
            if self.first:
                self.first = False
                commit(other, late)  # just before the horizon: it has to stay
            super().replace(key, data, version)

        first = True

    racing = Interleaved()
    racing.objects, racing.clock = storage.objects, storage.clock
    sound.writer.storage = racing
    prune(sound.writer)
    assert sound.verify().ok
    assert sound.id_of("eve/1.wav") == late["object_id"]
    stale = row(other, "eve/2.wav", b"eve")
    other._uncommitted.times[stale["object_id"]] = sound.writer.head.horizon - 1
    assert other.commit(rows_table([stale])).stale == ["eve/2.wav"]


def test_the_head_is_read_again_after_the_listing(sound: MemoryCorpus) -> None:
    late = row(sound.writer, "eve/1.wav", b"eve")
    sound.place.clock += 2 * DAY
    other = Writer(sound.reference, storage=sound.place)  # did not put the object, so it cannot know that it is stale

    class Listed(MemoryStorage):
        def list(self, prefix: str = "") -> Iterator[Entry]:
            yield from list(super().list(prefix))
            commit(other, late)

    storage = Listed()
    storage.objects, storage.clock = sound.place.objects, sound.place.clock
    sound.writer.storage = storage
    assert prune(sound.writer).deleted == set()
    assert sound.verify().ok


def test_prune_goes_on_where_a_part_was_replaced_and_deleted_meanwhile(sound: MemoryCorpus) -> None:
    sound.writer.put_object([b"abandoned"])
    sound.place.clock += 2 * DAY
    other = Writer(sound.reference, storage=sound.place)

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
    storage.objects, storage.clock = sound.place.objects, sound.place.clock
    sound.writer.storage = storage
    assert len(prune(sound.writer).deleted) == 1
    assert sound.verify().ok


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
    assert report.stored == len(keys_of(LocalStorage(str(tmp_path / "sealed"))))
