"""verify finds what is wrong and nothing else, and goes on to the end."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.layout import HEAD, object_key
from securedata.corpus.state.seen import remember
from securedata.errors import CorpusGone, FormatError, KMSDenied, NotACorpus, PinMismatch, StorageUnreachable
from securedata.keys.pin import make_pin
from securedata.keys.tags import Tagger
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import keys_of
from tests.kit.corpora.harmed import FILES, MemoryCorpus, errors
from tests.kit.corpora.rows import DAY, add, commit, in_folder, make, row

# ------------------------------------------------------------------------------------------------ nothing is wrong


def test_a_sound_corpus_is_accounted_for_to_the_byte(sound: MemoryCorpus) -> None:
    report = sound.verify()
    assert report.ok
    assert report.findings == []
    assert (report.rows, report.rows_failed, report.parts) == (4, 0, 2)
    assert (report.objects, report.objects_opened) == (4, 4)
    assert report.bytes == sum(map(len, FILES.values()))
    assert report.stored == len(keys_of(sound.place)) == 4 + 2 + 1
    assert report.stored_bytes == sum(len(data) for data, _ in sound.place.objects.values())
    assert (report.in_flight, report.leaving, report.changed_to) == (0, 0, None)
    assert report.pin == str(sound.reference.pins[0])
    assert report.generation == 3


def test_an_empty_corpus_is_sound() -> None:
    storage = MemoryStorage()
    assert verify(make(storage), storage=storage).ok


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


def test_progress_ends_at_all_objects_and_bytes(sound: MemoryCorpus) -> None:
    seen: list[tuple[int, ...]] = []
    sound.verify(progress=lambda *numbers: seen.append(numbers))
    total = sum(len(data) for key, (data, _) in sound.place.objects.items() if key.startswith("objects/"))
    assert seen[-1] == (4, 4, total, total)
    assert seen == sorted(seen)


def test_rows_that_share_an_object_open_it_once(sound: MemoryCorpus) -> None:
    shared = row(sound.writer, "eve/talk@0-100.wav", b"talk", frames=16_000, start=0, frames_in_segment=100)
    commit(sound.writer, shared, {**shared, "path": "eve/talk@100-200.wav", "start": 100})
    report = sound.verify()
    assert report.ok
    assert (report.rows, report.objects) == (6, 5)


def test_a_large_object_is_fetched_in_pieces(sound: MemoryCorpus) -> None:
    asked: list[int] = []

    class Watched(MemoryStorage):
        def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
            asked.extend(length for _, length in ranges)
            return super().get_ranges(key, ranges)

    storage = Watched()
    storage.objects = sound.place.objects
    assert verify(sound.reference, storage=storage).ok
    assert max(asked) == 4 * 1024 * 1024


def test_packed_objects_are_opened_where_their_rows_say(sound: MemoryCorpus) -> None:
    rows = [row(sound.writer, f"eve/{n}.wav", os.urandom(1000 * n + 1)) for n in range(3)]
    pack, at = os.urandom(16), 0
    content = b""
    for one in rows:
        sealed = sound.place.objects.pop(object_key(one["object_id"]))[0]
        one.update(pack=pack, offset=at)
        content, at = content + sealed, at + len(sealed)
    sound.place.put_new(f"packs/{pack.hex()}", [content])
    sound.put_rows(*rows)
    assert sound.verify().ok
    sound.put(f"packs/{pack.hex()}", content[:-1])
    report = sound.verify()
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
def test_a_damaged_object_is_a_finding_and_the_rest_is_verified(
    sound: MemoryCorpus, path: str, harm: Any, error: str
) -> None:
    object_id = sound.id_of(path)
    sound.put(object_key(object_id), harm(sound.place.objects[object_key(object_id)][0]))
    report = sound.verify()
    assert errors(report) == [error]
    finding = report.findings[0]
    assert (finding.object_id, finding.paths) == (object_id, (path,))
    assert object_id.hex() in finding.text
    assert path not in finding.text
    assert path not in repr(finding)
    assert (report.objects, report.objects_opened, report.rows_failed) == (4, 3, 1)


def test_a_missing_object_is_a_finding(sound: MemoryCorpus) -> None:
    object_id = sound.id_of("ann/1.wav")
    del sound.place.objects[object_key(object_id)]
    report = sound.verify()
    assert errors(report) == ["ObjectMissing"]
    assert report.findings[0].object_id == object_id


def test_swapped_objects_are_two_findings(sound: MemoryCorpus) -> None:
    a, b = (object_key(sound.id_of(path)) for path in ("ann/1.wav", "bob/1.wav"))
    one, two = sound.place.objects[a][0], sound.place.objects[b][0]
    sound.put(a, two)
    sound.put(b, one)
    assert errors(sound.verify()) == ["WrongObject", "WrongObject"]


def test_a_disk_that_fails_under_one_object_does_not_end_it(sound: MemoryCorpus) -> None:
    bad = object_key(sound.id_of("ann/1.wav"))

    class Failing(MemoryStorage):
        def get_ranges(self, key: str, ranges: Any) -> list[bytes]:
            if key == bad:
                raise StorageUnreachable(f"{key}: Input/output error")
            return super().get_ranges(key, ranges)

    storage = Failing()
    storage.objects = sound.place.objects
    report = verify(sound.reference, storage=storage)
    assert errors(report) == ["StorageUnreachable"]
    assert report.objects_opened == 3


@pytest.mark.parametrize(
    ("column", "other", "error"), [("source_sha256", bytes(32), "MalformedManifest"), ("size", 5, "Truncated")]
)
def test_content_that_is_not_what_the_row_says(sound: MemoryCorpus, column: str, other: object, error: str) -> None:
    sound.put_rows({**row(sound.writer, "eve/1.wav", b"four"), column: other})
    report = sound.verify()
    assert errors(report) == [error], "what a reader would get"
    assert report.findings[0].paths == ("eve/1.wav",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "../eve/1.wav"}, "a logical path must be"),
        ({"path": "/eve"}, "a logical path must be"),
        ({"path": "ann/1.wav"}, "several rows have its path"),
        ({"subjects": []}, "names no subject"),
        ({"start": 5}, "one bound of its segment is missing"),
        ({"start": 15999, "frames_in_segment": 2}, "not inside the recording"),
        ({"start": -1, "frames_in_segment": 2}, "not inside the recording"),
        ({"start": 0, "frames_in_segment": 0}, "not inside the recording"),
        ({"start": 2**63 - 1, "frames_in_segment": 5}, "not inside the recording"),
        ({"offset": 7}, "pack without an offset"),
    ],
)
def test_a_row_that_breaks_a_rule(sound: MemoryCorpus, change: dict[str, Any], reason: str) -> None:
    sound.put_rows({**row(sound.writer, "eve/1.wav", b"four"), **change})
    report = sound.verify()
    assert errors(report) == ["MalformedManifest"]
    assert reason in report.findings[0].text
    assert report.findings[0].paths == (change.get("path", "eve/1.wav"),)
    assert report.rows_failed == 1
    assert report.objects_opened == 5


@pytest.mark.parametrize("size", ["size", "sealed_size"])
def test_a_negative_size(sound: MemoryCorpus, size: str) -> None:
    sound.put_rows({**row(sound.writer, "eve/1.wav", b"four"), size: -5})
    report = sound.verify()
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
def test_rows_of_one_object_that_disagree(sound: MemoryCorpus, column: str, other: Any) -> None:
    one = row(sound.writer, "eve/talk@0-100.wav", b"talk", frames=16_000, start=0, frames_in_segment=100)
    sound.put_rows(one, {**one, "path": "eve/talk@100-200.wav", "start": 100, column: other})
    report = sound.verify()
    assert errors(report) == ["MalformedManifest"]
    assert f"another {column}" in report.findings[0].text
    assert report.findings[0].paths == ("eve/talk@100-200.wav",)


def test_the_order_of_subjects_does_not_matter(sound: MemoryCorpus) -> None:
    one = row(
        sound.writer, "eve/talk@0-100.wav", b"talk", frames=16_000, start=0, frames_in_segment=100, subjects=["a", "b"]
    )
    sound.put_rows(one, {**one, "path": "eve/talk@100-200.wav", "start": 100, "subjects": ["b", "a"]})
    assert sound.verify().ok


def test_an_object_with_rows_in_two_parts(sound: MemoryCorpus) -> None:
    one = row(sound.writer, "eve/talk@0-100.wav", b"talk", frames=16_000, start=0, frames_in_segment=100)
    sound.put_rows(one)
    sound.put_rows({**one, "path": "eve/talk@100-200.wav", "start": 100})
    report = sound.verify()
    assert errors(report) == ["MalformedManifest"]
    assert report.findings[0].object_id == one["object_id"]


def test_a_person_who_was_erased_and_stands_there_still(sound: MemoryCorpus) -> None:
    sound.put_head(tombstones=(Tombstone(Tagger(sound.writer.head.secret).tag("ann"), 3),))
    report = sound.verify()
    assert errors(report) == ["SubjectErased", "SubjectErased"]
    assert sorted(path for finding in report.findings for path in finding.paths) == ["ann/1.wav", "ann/2.wav"]


@pytest.mark.parametrize("missing", [True, False])
def test_a_part_that_cannot_be_read(sound: MemoryCorpus, missing: bool) -> None:
    part = sound.writer.head.parts[0]
    if missing:
        del sound.place.objects[part.storage_key]
    else:
        sound.put(part.storage_key, flip(sound.place.objects[part.storage_key][0], 200))
    sound.place.clock += 2 * DAY
    report = sound.verify()
    # its objects are named by nobody else: they look like orphans, and the text says why that is not sure
    assert errors(report) == sorted(["Orphan", "Orphan", "PartMissing" if missing else "AuthenticationFailed"])
    assert all("as far as" in one.text for one in report.findings if one.error == "Orphan")
    assert (report.rows, report.rows_failed, report.objects_opened) == (4, 2, 2)


@pytest.mark.parametrize("at", [0, 200])
def test_no_text_advises_to_run_verify(sound: MemoryCorpus, at: int) -> None:
    part, object_id = sound.writer.head.parts[0], sound.id_of("bob/2.wav")
    for key in (part.storage_key, object_key(object_id)):
        sound.put(key, flip(sound.data(key), at))
    texts = [one.text for one in sound.verify().findings if one.error != "Orphan"]
    assert len(texts) == 2
    sound.put(HEAD, flip(sound.data(HEAD), at and len(sound.data(HEAD)) - 1))
    with pytest.raises(FormatError) as caught:
        sound.verify()
    for text in (*texts, str(caught.value)):
        assert "restore" in text
        assert "run 'securedata verify'" not in text


def test_an_old_head_put_back_is_a_finding(sound: MemoryCorpus) -> None:
    old = sound.place.objects[HEAD]
    add(sound.writer, {"eve/1.wav": b"eve"})
    sound.place.objects[HEAD] = old
    report = sound.verify()
    assert errors(report) == ["OlderGeneration"]
    assert report.in_flight == 2  # the object and the part of the newer one


def test_a_superseded_key_is_a_finding(sound: MemoryCorpus) -> None:
    remember(replace(sound.writer.head, generation=9, superseded=(sound.writer.head.key_id,)))
    assert errors(sound.verify()) == ["SupersededKey"]


# -------------------------------------------------------------------------------------------------- what cannot begin


def test_no_corpus_and_a_corpus_that_is_gone(sound: MemoryCorpus) -> None:
    del sound.place.objects[HEAD]
    with pytest.raises(CorpusGone):
        sound.verify()
    with pytest.raises(NotACorpus):
        verify(replace(sound.reference, pins=()), storage=MemoryStorage())


def test_another_corpus_than_the_one_that_was_pinned(sound: MemoryCorpus) -> None:
    with pytest.raises(PinMismatch):
        verify(replace(sound.reference, pins=(make_pin(bytes(16), bytes(32)),)), storage=sound.place)


def test_keys_are_renewed_while_it_runs_and_a_refusal_ends_it(sound: MemoryCorpus) -> None:
    key_file = Path(sound.reference.kms[0].removeprefix("local://"))
    assert sound.verify(ttl=0.0, kms_wait=0.0).ok  # each fetch renews
    seen: list[int] = []

    def take_away(done: int, *_: int) -> None:
        if not seen:
            key_file.chmod(0o644)
        seen.append(done)

    for n in range(40):
        add(sound.writer, {f"eve/{n}.wav": b"eve"})
    with pytest.raises(KMSDenied):
        sound.verify(ttl=0.0, kms_wait=0.0, progress=take_away)
    assert seen
