"""verify finds what nobody committed, and takes nothing for it that others commit or delete meanwhile."""

from __future__ import annotations

import os
from typing import Any

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.retired import listed
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import keys_of
from tests.kit.corpora.harmed import MemoryCorpus, errors
from tests.kit.corpora.rows import DAY, add, commit, row

# ---------------------------------------------------------------------------------------------- what nobody committed


def test_what_is_in_flight_is_counted_and_no_finding(sound: MemoryCorpus) -> None:
    sound.writer.put_object([b"not yet committed"])
    sound.place.put_new(f"manifest/{os.urandom(16).hex()}", [b"a part"])
    sound.place.put_new(f"packs/{os.urandom(16).hex()}", [b"a pack"])
    sound.place.put_new(f"objects/ab/ab{'0' * 30}.tmp-77-5", [b"half"])
    report = sound.verify()
    assert report.ok
    assert report.in_flight == 4
    sound.place.clock += DAY - 1
    assert sound.verify().ok
    sound.place.clock += 1
    report = sound.verify()
    assert errors(report) == ["OldTemporary", "Orphan", "Orphan", "Orphan"]
    assert report.in_flight == 0
    assert all(finding.key in keys_of(sound.place) for finding in report.findings)


def test_a_packed_object_that_also_lies_alone_is_an_orphan(sound: MemoryCorpus) -> None:
    one = row(sound.writer, "eve/1.wav", b"four")
    pack = os.urandom(16)
    sound.place.put_new(f"packs/{pack.hex()}", [sound.place.objects[object_key(one["object_id"])][0]])
    sound.put_rows({**one, "pack": pack, "offset": 0})
    sound.place.clock += 2 * DAY
    report = sound.verify()
    assert [finding.key for finding in report.findings] == [object_key(one["object_id"])]


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "objects/ab/cd",
        f"objects/ab/cd{'0' * 30}",
        "manifest/x",
        "objects/x.tmp-1",
        ".tmp-notes",
        "notes.tmp-1",
        "head.tmp.txt",
        "heads",
        f"packs/{'A' * 32}",
    ],
)
def test_a_foreign_file_is_a_finding_from_the_start(sound: MemoryCorpus, key: str) -> None:
    sound.place.put_new(key, [b"?"])
    report = sound.verify()
    assert errors(report) == ["ForeignFile"]
    assert report.findings[0].key == key


def test_head_files_lock_and_audit_log_are_ours(sound: MemoryCorpus) -> None:
    for key in ("head.prev", ".lock", "audit/2026/checkpoint"):
        sound.place.put_new(key, [b"?"])
    sound.place.clock += 9 * DAY
    assert sound.verify().ok


TEMPORARIES = (
    "head.tmp",
    "head.tmp-0123456789abcdef",
    "head.prev.tmp-0123456789abcdef",
    ".tmp-probe-0123456789abcdef",
    f"manifest/{'a' * 32}.tmp-0123456789abcdef",
    f"objects/ab/ab{'0' * 30}.tmp-4242-140000",
)


def test_what_a_killed_writer_had_under_way_is_found_and_pruned_after_a_day(sound: MemoryCorpus) -> None:
    for key in TEMPORARIES:
        sound.place.put_new(key, [b"half"])
    report = sound.verify()
    assert (report.ok, report.in_flight) == (True, len(TEMPORARIES))
    assert not prune(sound.writer).deleted
    sound.place.clock += DAY + 1
    report = sound.verify()
    assert {one.key for one in report.findings} == set(TEMPORARIES)
    assert set(errors(report)) == {"OldTemporary"}
    assert prune(sound.writer).deleted == set(TEMPORARIES)
    assert sound.verify().ok


def test_what_left_waits_a_day_and_is_due_then(sound: MemoryCorpus) -> None:
    object_id = sound.id_of("ann/1.wav")
    sound.writer.commit(remove=["ann/1.wav"])
    report = sound.verify()
    assert report.ok
    assert (report.leaving, report.in_flight) == (2, 0)  # the object, and the part that was rewritten
    sound.place.clock += DAY
    report = sound.verify()
    assert errors(report) == ["LeavingDue"]
    sound.place.delete(object_key(object_id))
    sound.place.delete(f"manifest/{_retired_parts(sound)[0]}")
    assert sound.verify().ok  # an erasure deletes at once, and leaves its list until another commit clears it


def _retired_parts(sound: MemoryCorpus) -> list[str]:
    head = sound.writer.head
    found = [key for one in head.retired for key in listed(sound.place, head, one)]
    return [key.removeprefix("manifest/") for key in found if key.startswith("manifest/")]


@pytest.mark.parametrize("missing", [True, False])
def test_a_leaving_list_that_cannot_be_read(sound: MemoryCorpus, missing: bool) -> None:
    sound.writer.commit(remove=["ann/1.wav"])
    key = sound.writer.head.retired[0].table.storage_key
    if missing:
        del sound.place.objects[key]
    else:
        sound.put(key, sound.place.objects[key][0][:-1])
    report = sound.verify()
    assert errors(report) == ["NotFound" if missing else "Truncated"]
    assert report.findings[0].key == key


# ------------------------------------------------------------------------------------------- while the corpus moves on


class Moving(MemoryStorage):
    """Does something once, just before an object is read for the first time, as another process might."""

    def __init__(self, sound: MemoryCorpus, move: Any) -> None:
        super().__init__()
        self.objects, self.clock = sound.place.objects, sound.place.clock
        self.move = move

    def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
        move, self.move = self.move, lambda: None
        move()
        return super().get_ranges(key, ranges)


def test_what_was_removed_and_deleted_meanwhile_is_no_finding(sound: MemoryCorpus) -> None:
    gone = [object_key(sound.id_of(path)) for path in ("ann/1.wav", "ann/2.wav")]

    def move() -> None:
        sound.writer.commit(remove=["ann/1.wav", "ann/2.wav"])
        for key in gone:  # as an erasure deletes: at once
            sound.place.delete(key)

    report = verify(sound.reference, storage=Moving(sound, move), threads=1)
    assert report.ok
    assert (report.generation, report.changed_to) == (3, 4)
    assert report.objects_opened == 2


def test_what_is_missing_and_still_named_stays_a_finding(sound: MemoryCorpus) -> None:
    def move() -> None:
        add(sound.writer, {"eve/1.wav": b"eve"})
        sound.place.delete(object_key(sound.id_of("ann/1.wav")))

    report = verify(sound.reference, storage=Moving(sound, move), threads=1)
    assert errors(report) == ["ObjectMissing"]
    assert report.changed_to == 4


def test_what_was_committed_meanwhile_is_no_orphan(sound: MemoryCorpus) -> None:
    late = row(sound.writer, "eve/1.wav", b"eve")
    sound.place.clock += 2 * DAY  # a horizon would make it stale; there was none
    report = verify(sound.reference, storage=Moving(sound, lambda: commit(sound.writer, late)), threads=1)
    assert report.ok
    assert report.in_flight == 0


def test_a_part_that_was_replaced_and_deleted_meanwhile_is_no_finding(sound: MemoryCorpus) -> None:
    class Parts(Moving):
        def get(self, key: str, limit: int | None = None) -> bytes:
            if key.startswith("manifest/"):
                move, self.move = self.move, lambda: None
                move()
            return super().get(key, limit)

    def move() -> None:
        old = sound.writer.head.parts[0].storage_key
        sound.writer.commit(remove=["ann/1.wav"])
        sound.place.delete(old)

    report = verify(sound.reference, storage=Parts(sound, move), threads=1)
    assert report.ok
    assert report.changed_to == 4
