"""verify finds what is wrong and nothing else, goes on to the end, and prune deletes what nobody can need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.commit import Writer
from securedata.corpus.config import Reference
from securedata.corpus.head import KEY, Tombstone
from securedata.corpus.leaving import listed, object_key
from securedata.corpus.opening import open_corpus
from securedata.corpus.parts import seal_table
from securedata.corpus.report import Report
from securedata.corpus.schema import rows_table
from securedata.corpus.seen import remember
from securedata.corpus.verify import prune, verify
from securedata.errors import (
    CorpusGone,
    KMSDenied,
    NotACorpus,
    PartMissing,
    PinMismatch,
    StorageUnreachable,
    UnknownVersion,
)
from securedata.keys.pin import make_pin
from securedata.keys.tags import Tagger
from securedata.storage.base import Buffer, Entry
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.small import DAY, add, commit, in_folder, in_memory, keys, row

BIG = os.urandom(4 * 1024 * 1024 + 5)  # two pieces
FILES = {"ann/1.wav": b"one" * 1000, "ann/2.wav": b"", "bob/1.wav": b"x" * 16384, "bob/2.wav": BIG}

Made = tuple[Reference, MemoryStorage, Writer]


@pytest.fixture
def made() -> Made:
    reference, storage, writer = in_memory()
    add(writer, dict(list(FILES.items())[:2]))
    add(writer, dict(list(FILES.items())[2:]))
    return reference, storage, writer


def check(made: Made, **options: Any) -> Report:
    return verify(made[0], storage=made[1], threads=2, **options)


def id_of(made: Made, path: str) -> bytes:
    corpus = open_corpus(made[0], storage=made[1])
    return bytes(corpus.value("object_id", corpus.find(path)))


def change(storage: MemoryStorage, key: str, data: bytes) -> None:
    storage.objects[key] = (data, storage.objects[key][1])


def commit_head(made: Made, **changes: Any) -> None:
    """A head as a broken writer might leave it."""
    made[2]._commit(lambda opened: changes)


def commit_rows(made: Made, *rows: dict[str, Any]) -> None:
    """A part as a broken writer might leave it, past all checks of the real one."""
    ref, sealed = seal_table(rows_table(rows), made[2].corpus_id)
    made[1].put_new(ref.storage_key, [sealed])
    commit_head(made, parts=(*made[2].head.parts, ref))


def errors(report: Report) -> list[str]:
    return sorted(finding.error for finding in report.findings)


# ------------------------------------------------------------------------------------------------ nothing is wrong


def test_a_sound_corpus_is_accounted_for_to_the_byte(made: Made) -> None:
    report = check(made)
    assert report.ok
    assert report.findings == []
    assert (report.rows, report.rows_failed, report.parts) == (4, 0, 2)
    assert (report.objects, report.objects_opened) == (4, 4)
    assert report.bytes == sum(map(len, FILES.values()))
    assert report.stored == len(keys(made[1])) == 4 + 2 + 1
    assert report.stored_bytes == sum(len(data) for data, _ in made[1].objects.values())
    assert (report.in_flight, report.leaving, report.changed_to) == (0, 0, None)
    assert report.pin == str(made[0].pins[0])
    assert report.generation == 3


def test_an_empty_corpus_is_sound() -> None:
    reference, storage, _ = in_memory()
    assert verify(reference, storage=storage).ok


def test_a_folder_is_sound_and_stays_as_it_was(tmp_path: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, FILES)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sealed").rglob("*") if path.name != ".lock"}
    assert verify(reference).ok
    assert before == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "sealed").rglob("*") if path.name != ".lock"
    }


def test_a_reader_without_write_permission_can_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, FILES)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", denied)  # the test may run as root, whom no mode stops
    assert verify(reference).ok


def test_progress_ends_at_all_objects_and_bytes(made: Made) -> None:
    seen: list[tuple[int, ...]] = []
    check(made, progress=lambda *numbers: seen.append(numbers))
    total = sum(len(data) for key, (data, _) in made[1].objects.items() if key.startswith("objects/"))
    assert seen[-1] == (4, 4, total, total)
    assert seen == sorted(seen)


def test_rows_that_share_an_object_open_it_once(made: Made) -> None:
    shared = row(made[2], "eve/talk@0-100.wav", b"talk", start=0, frames_in_segment=100)
    commit(made[2], shared, {**shared, "path": "eve/talk@100-200.wav", "start": 100})
    report = check(made)
    assert report.ok
    assert (report.rows, report.objects) == (6, 5)


def test_a_large_object_is_fetched_in_pieces(made: Made) -> None:
    asked: list[int] = []

    class Watched(MemoryStorage):
        def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
            asked.extend(length for _, length in ranges)
            return super().get_ranges(key, ranges)

    storage = Watched()
    storage.objects = made[1].objects
    assert verify(made[0], storage=storage).ok
    assert max(asked) == 4 * 1024 * 1024


def test_packed_objects_are_opened_where_their_rows_say(made: Made) -> None:
    rows = [row(made[2], f"eve/{n}.wav", os.urandom(1000 * n + 1)) for n in range(3)]
    pack, at = os.urandom(16), 0
    content = b""
    for one in rows:
        sealed = made[1].objects.pop(object_key(one["object_id"]))[0]
        one.update(pack=pack, offset=at)
        content, at = content + sealed, at + len(sealed)
    made[1].put_new(f"packs/{pack.hex()}", [content])
    commit_rows(made, *rows)
    assert check(made).ok
    change(made[1], f"packs/{pack.hex()}", content[:-1])
    report = check(made)
    assert errors(report) == ["Truncated"]
    assert report.findings[0].paths == ("eve/2.wav",)


# ---------------------------------------------------------------------------------------------------- what is wrong


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda data: flip(data, 70), "AuthenticationFailed"),
        (lambda data: flip(data, len(data) - 1), "AuthenticationFailed"),
        (lambda data: data[:-1], "Truncated"),
        (lambda data: data + b"x", "Truncated"),
        (lambda data: b"", "NotSealed"),
        (lambda data: flip(data, 8), "UnknownVersion"),
        (lambda data: flip(data, 9), "UnknownSuite"),
        (lambda data: data[:12] + b"\x03" + data[13:], "WrongKind"),
        (lambda data: flip(data, 20), "WrongCorpus"),
        (lambda data: flip(data, 50), "WrongObject"),
    ],
)
@pytest.mark.parametrize("path", ["ann/1.wav", "bob/2.wav"])
def test_a_damaged_object_is_a_finding_and_the_rest_is_verified(made: Made, path: str, harm: Any, error: str) -> None:
    object_id = id_of(made, path)
    change(made[1], object_key(object_id), harm(made[1].objects[object_key(object_id)][0]))
    report = check(made)
    assert errors(report) == [error]
    finding = report.findings[0]
    assert (finding.object_id, finding.paths) == (object_id, (path,))
    assert object_id.hex() in finding.text
    assert path not in finding.text
    assert path not in repr(finding)
    assert (report.objects, report.objects_opened, report.rows_failed) == (4, 3, 1)


def test_a_missing_object_is_a_finding(made: Made) -> None:
    object_id = id_of(made, "ann/1.wav")
    del made[1].objects[object_key(object_id)]
    report = check(made)
    assert errors(report) == ["ObjectMissing"]
    assert report.findings[0].object_id == object_id


def test_swapped_objects_are_two_findings(made: Made) -> None:
    a, b = (object_key(id_of(made, path)) for path in ("ann/1.wav", "bob/1.wav"))
    one, two = made[1].objects[a][0], made[1].objects[b][0]
    change(made[1], a, two)
    change(made[1], b, one)
    assert errors(check(made)) == ["WrongObject", "WrongObject"]


def test_a_disk_that_fails_under_one_object_does_not_end_it(made: Made) -> None:
    bad = object_key(id_of(made, "ann/1.wav"))

    class Failing(MemoryStorage):
        def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
            if key == bad:
                raise StorageUnreachable(f"{key}: Input/output error")
            return super().get_ranges(key, ranges)

    storage = Failing()
    storage.objects = made[1].objects
    report = verify(made[0], storage=storage)
    assert errors(report) == ["StorageUnreachable"]
    assert report.objects_opened == 3


@pytest.mark.parametrize(
    ("column", "other", "error"), [("source_sha256", bytes(32), "MalformedManifest"), ("size", 5, "Truncated")]
)
def test_content_that_is_not_what_the_row_says(made: Made, column: str, other: object, error: str) -> None:
    commit_rows(made, {**row(made[2], "eve/1.wav", b"four"), column: other})
    report = check(made)
    assert errors(report) == [error], "what a reader would get"
    assert report.findings[0].paths == ("eve/1.wav",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "../eve/1.wav"}, "a logical path must be"),
        ({"path": "/eve"}, "a logical path must be"),
        ({"path": "ann/1.wav"}, "several rows have its path"),
        ({"subjects": []}, "names no subject"),
        ({"start": 5}, "half of a segment"),
        ({"start": 15999, "frames_in_segment": 2}, "not inside the recording"),
        ({"start": -1, "frames_in_segment": 2}, "not inside the recording"),
        ({"start": 0, "frames_in_segment": 0}, "not inside the recording"),
        ({"start": 2**63 - 1, "frames_in_segment": 5}, "not inside the recording"),
        ({"offset": 7}, "packed and says not where"),
    ],
)
def test_a_row_that_breaks_a_rule(made: Made, change: dict[str, Any], reason: str) -> None:
    commit_rows(made, {**row(made[2], "eve/1.wav", b"four"), **change})
    report = check(made)
    assert errors(report) == ["MalformedManifest"]
    assert reason in report.findings[0].text
    assert report.findings[0].paths == (change.get("path", "eve/1.wav"),)
    assert report.rows_failed == 1
    assert report.objects_opened == 5


@pytest.mark.parametrize("size", ["size", "sealed_size"])
def test_a_negative_size(made: Made, size: str) -> None:
    commit_rows(made, {**row(made[2], "eve/1.wav", b"four"), size: -5})
    report = check(made)
    assert "its sizes are negative" in report.findings[0].text
    assert report.rows_failed == 1
    assert report.objects == 5


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("subjects", ["eve", "bob"]),
        ("source_sha256", bytes(32)),
        ("data_key", bytes(32)),
        ("size", 3),
        ("sealed_size", 3),
    ],
)
def test_rows_of_one_object_that_disagree(made: Made, column: str, other: Any) -> None:
    one = row(made[2], "eve/talk@0-100.wav", b"talk", start=0, frames_in_segment=100)
    commit_rows(made, one, {**one, "path": "eve/talk@100-200.wav", "start": 100, column: other})
    report = check(made)
    assert errors(report) == ["MalformedManifest"]
    assert f"another {column}" in report.findings[0].text
    assert report.findings[0].paths == ("eve/talk@100-200.wav",)


def test_the_order_of_subjects_does_not_matter(made: Made) -> None:
    one = row(made[2], "eve/talk@0-100.wav", b"talk", start=0, frames_in_segment=100, subjects=["a", "b"])
    commit_rows(made, one, {**one, "path": "eve/talk@100-200.wav", "start": 100, "subjects": ["b", "a"]})
    assert check(made).ok


def test_an_object_with_rows_in_two_parts(made: Made) -> None:
    one = row(made[2], "eve/talk@0-100.wav", b"talk", start=0, frames_in_segment=100)
    commit_rows(made, one)
    commit_rows(made, {**one, "path": "eve/talk@100-200.wav", "start": 100})
    report = check(made)
    assert errors(report) == ["MalformedManifest"]
    assert report.findings[0].object_id == one["object_id"]


def test_a_person_who_was_erased_and_stands_there_still(made: Made) -> None:
    commit_head(made, tombstones=(Tombstone(Tagger(made[2].head.secret).tag("ann"), 3),))
    report = check(made)
    assert errors(report) == ["SubjectErased", "SubjectErased"]
    assert sorted(path for finding in report.findings for path in finding.paths) == ["ann/1.wav", "ann/2.wav"]


@pytest.mark.parametrize("missing", [True, False])
def test_a_part_that_cannot_be_read(made: Made, missing: bool) -> None:
    part = made[2].head.parts[0]
    if missing:
        del made[1].objects[part.storage_key]
    else:
        change(made[1], part.storage_key, flip(made[1].objects[part.storage_key][0], 200))
    made[1].clock += 2 * DAY
    report = check(made)
    # its objects are named by nobody else: they look like orphans, and the text says why that is not sure
    assert errors(report) == sorted(["Orphan", "Orphan", "PartMissing" if missing else "AuthenticationFailed"])
    assert all("as far as" in one.text for one in report.findings if one.error == "Orphan")
    assert (report.rows, report.rows_failed, report.objects_opened) == (4, 2, 2)


def test_an_old_head_put_back_is_a_finding(made: Made) -> None:
    old = made[1].objects[KEY]
    add(made[2], {"eve/1.wav": b"eve"})
    made[1].objects[KEY] = old
    report = check(made)
    assert errors(report) == ["OlderGeneration"]
    assert report.in_flight == 2  # the object and the part of the newer one


def test_a_superseded_key_is_a_finding(made: Made) -> None:
    remember(replace(made[2].head, generation=9, superseded=(made[2].head.key_id,)))
    assert errors(check(made)) == ["SupersededKey"]


# ---------------------------------------------------------------------------------------------- what nobody committed


def test_what_is_in_flight_is_counted_and_no_finding(made: Made) -> None:
    made[2].put_object([b"not yet committed"])
    made[1].put_new(f"manifest/{os.urandom(16).hex()}", [b"a part"])
    made[1].put_new(f"packs/{os.urandom(16).hex()}", [b"a pack"])
    made[1].put_new(f"objects/ab/ab{'0' * 30}.tmp-77-5", [b"half"])
    report = check(made)
    assert report.ok
    assert report.in_flight == 4
    made[1].clock += DAY - 1
    assert check(made).ok
    made[1].clock += 1
    report = check(made)
    assert errors(report) == ["OldTemporary", "Orphan", "Orphan", "Orphan"]
    assert report.in_flight == 0
    assert all(finding.key in keys(made[1]) for finding in report.findings)


def test_a_packed_object_that_also_lies_alone_is_an_orphan(made: Made) -> None:
    one = row(made[2], "eve/1.wav", b"four")
    pack = os.urandom(16)
    made[1].put_new(f"packs/{pack.hex()}", [made[1].objects[object_key(one["object_id"])][0]])
    commit_rows(made, {**one, "pack": pack, "offset": 0})
    made[1].clock += 2 * DAY
    report = check(made)
    assert [finding.key for finding in report.findings] == [object_key(one["object_id"])]


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "objects/ab/cd",
        f"objects/ab/cd{'0' * 30}",
        "manifest/x",
        "objects/x.tmp-1",
        "heads",
        f"packs/{'A' * 32}",
    ],
)
def test_a_foreign_file_is_a_finding_from_the_start(made: Made, key: str) -> None:
    made[1].put_new(key, [b"?"])
    report = check(made)
    assert errors(report) == ["ForeignFile"]
    assert report.findings[0].key == key


def test_head_files_lock_and_audit_log_are_ours(made: Made) -> None:
    for key in ("head.prev", "head.tmp", ".lock", "audit/2026/checkpoint"):
        made[1].put_new(key, [b"?"])
    made[1].clock += 9 * DAY
    assert check(made).ok


def test_what_left_waits_a_day_and_is_due_then(made: Made) -> None:
    object_id = id_of(made, "ann/1.wav")
    made[2].commit(remove=["ann/1.wav"])
    report = check(made)
    assert report.ok
    assert (report.leaving, report.in_flight) == (2, 0)  # the object, and the part that was rewritten
    made[1].clock += DAY
    report = check(made)
    assert errors(report) == ["LeavingDue"]
    made[1].delete(object_key(object_id))
    made[1].delete(f"manifest/{_parts_leaving(made)[0]}")
    assert check(made).ok  # an erasure deletes at once, and leaves its list until another commit clears it


def _parts_leaving(made: Made) -> list[str]:
    head = made[2].head
    found = [key for one in head.leaving for key in listed(made[1], head, one)]
    return [key.removeprefix("manifest/") for key in found if key.startswith("manifest/")]


@pytest.mark.parametrize("missing", [True, False])
def test_a_leaving_list_that_cannot_be_read(made: Made, missing: bool) -> None:
    made[2].commit(remove=["ann/1.wav"])
    key = made[2].head.leaving[0].table.storage_key
    if missing:
        del made[1].objects[key]
    else:
        change(made[1], key, made[1].objects[key][0][:-1])
    report = check(made)
    assert errors(report) == ["NotFound" if missing else "Truncated"]
    assert report.findings[0].key == key


# ------------------------------------------------------------------------------------------- while the corpus moves on


class Moving(MemoryStorage):
    """Does something once, just before an object is read for the first time, as another process might."""

    def __init__(self, made: Made, move: Any) -> None:
        super().__init__()
        self.objects, self.clock = made[1].objects, made[1].clock
        self.move = move

    def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
        move, self.move = self.move, lambda: None
        move()
        return super().get_ranges(key, ranges)


def test_what_was_removed_and_deleted_meanwhile_is_no_finding(made: Made) -> None:
    gone = [object_key(id_of(made, path)) for path in ("ann/1.wav", "ann/2.wav")]

    def move() -> None:
        made[2].commit(remove=["ann/1.wav", "ann/2.wav"])
        for key in gone:  # as an erasure deletes: at once
            made[1].delete(key)

    report = verify(made[0], storage=Moving(made, move), threads=1)
    assert report.ok
    assert (report.generation, report.changed_to) == (3, 4)
    assert report.objects_opened == 2


def test_what_is_missing_and_still_named_stays_a_finding(made: Made) -> None:
    def move() -> None:
        add(made[2], {"eve/1.wav": b"eve"})
        made[1].delete(object_key(id_of(made, "ann/1.wav")))

    report = verify(made[0], storage=Moving(made, move), threads=1)
    assert errors(report) == ["ObjectMissing"]
    assert report.changed_to == 4


def test_what_was_committed_meanwhile_is_no_orphan(made: Made) -> None:
    late = row(made[2], "eve/1.wav", b"eve")
    made[1].clock += 2 * DAY  # a horizon would make it stale; there was none
    report = verify(made[0], storage=Moving(made, lambda: commit(made[2], late)), threads=1)
    assert report.ok
    assert report.in_flight == 0


def test_a_part_that_was_replaced_and_deleted_meanwhile_is_no_finding(made: Made) -> None:
    class Parts(Moving):
        def get(self, key: str, limit: int | None = None) -> bytes:
            if key.startswith("manifest/"):
                move, self.move = self.move, lambda: None
                move()
            return super().get(key, limit)

    def move() -> None:
        old = made[2].head.parts[0].storage_key
        made[2].commit(remove=["ann/1.wav"])
        made[1].delete(old)

    report = verify(made[0], storage=Parts(made, move), threads=1)
    assert report.ok
    assert report.changed_to == 4


# -------------------------------------------------------------------------------------------------- what cannot begin


def test_no_corpus_and_a_corpus_that_is_gone(made: Made) -> None:
    del made[1].objects[KEY]
    with pytest.raises(CorpusGone):
        check(made)
    with pytest.raises(NotACorpus):
        verify(replace(made[0], pins=()), storage=MemoryStorage())


def test_another_corpus_than_the_one_that_was_pinned(made: Made) -> None:
    with pytest.raises(PinMismatch):
        verify(replace(made[0], pins=(make_pin(bytes(16), bytes(32)),)), storage=made[1])


def test_keys_are_renewed_while_it_runs_and_a_refusal_ends_it(made: Made) -> None:
    key_file = Path(made[0].kms[0].removeprefix("local://"))
    assert check(made, ttl=0.0, kms_wait=0.0).ok  # each fetch renews
    seen: list[int] = []

    def take_away(done: int, *_: int) -> None:
        if not seen:
            key_file.chmod(0o644)
        seen.append(done)

    for n in range(40):
        add(made[2], {f"eve/{n}.wav": b"eve"})
    with pytest.raises(KMSDenied):
        check(made, ttl=0.0, kms_wait=0.0, progress=take_away)
    assert seen


# ------------------------------------------------------------------------------------------------------------- prune


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
    first, second = made[2].head.leaving
    made[1].clock += DAY / 2
    before = check(made)
    assert errors(before) == ["LeavingDue"]
    stored = keys(made[1])
    report = prune(made[2])
    assert report.cleared == [first.table.storage_key]
    assert [one.table for one in made[2].head.leaving] == [second.table]
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
    key = (made[2].head.parts[0] if what == "part" else made[2].head.leaving[0].table).storage_key
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
    other._times = dict(made[2]._times)
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
    other._times[stale["object_id"]] = made[2].head.horizon - 1
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
