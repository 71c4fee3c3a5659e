"""Every object is sealed again under a fresh data key, and what changes meanwhile stays as it was changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, PartMissing, RowReplaced, StorageUnreachable
from securedata.lifecycle import reencrypt as module
from securedata.lifecycle.rotate import RotateReport, rotate, rotate_head
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, row, table, writer_of

Rows = dict[str, dict[str, Any]]


def again(corpus: Reference, place: MemoryStorage, **options: Any) -> RotateReport:
    return rotate(corpus, data_keys=True, storage=place, **options)


def contents(corpus: Reference, place: MemoryStorage) -> dict[str, bytes]:
    opened = open_quietly(corpus, place)
    return {path: bytes(opened.read(path)) for path in opened.table.column("path").to_pylist()}


def all_moved(before: Rows, after: Rows) -> None:
    """Every row has another object and key, and nothing else has changed."""
    places = ("object_id", "data_key", "origin", "keyed_since")
    assert sorted(after) == sorted(before)
    for path, old in before.items():
        new = after[path]
        assert new["object_id"] != old["object_id"]
        assert new["data_key"] != old["data_key"]
        assert new["origin"] == (old.get("origin") or old["object_id"])
        names = (old.keys() | new.keys()) - {*places}
        assert {name: new.get(name) for name in names} == {name: old.get(name) for name in names}


def test_every_object_has_another_key_and_the_same_bytes(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "ann/2", "ann/3", commits=3)
    large = content("big", size=2 * PIECE + 5)
    writer.commit(table(row(writer, "bob/big", large, ["bob"]), row(writer, "bob/none", b"", ["bob"])))
    before, seen = current(corpus, place), contents(corpus, place)
    report = again(corpus, place)
    done = report.data_keys
    assert done is not None
    assert (done.objects, done.rows, done.failed, done.finished, report.resumed) == (5, 5, [], True, False)
    assert done.bytes == sum(map(len, seen.values()))
    after = current(corpus, place)
    all_moved(before, after)
    assert contents(corpus, place) == seen
    assert look(corpus, place).head.data_keys_since == 0
    assert {one["keyed_since"] >= report.generation for one in after.values()} == {True}
    assert verify(corpus, storage=place).ok
    # readers in flight have a day
    assert {object_key(one["object_id"]) for one in before.values()} <= keys_of(place)
    place.clock += 1.1 * DAY
    prune(writer_of(corpus, place))
    assert not {object_key(one["object_id"]) for one in before.values()} & keys_of(place)
    assert verify(corpus, storage=place).ok
    # a second one keeps the first id
    again(corpus, place)
    twice = current(corpus, place)
    assert {path: one["origin"] for path, one in twice.items()} == {p: one["object_id"] for p, one in before.items()}
    all_moved(after, twice)


def test_an_empty_corpus_is_done_at_once(corpus: Reference, place: MemoryStorage) -> None:
    done = again(corpus, place).data_keys
    assert done is not None
    assert (done.objects, done.finished) == (0, True)
    assert look(corpus, place).head.data_keys_since == 0


def test_rows_that_share_an_object_share_the_new_one(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    put = writer.put_object([content("both")]).columns()
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1, "frames": 9, **put}
    writer.commit(table(*({"path": f"both/{at}", **one, "start": at, "frames_in_segment": 1} for at in range(3))))
    done = again(corpus, place).data_keys
    assert done is not None
    assert (done.objects, done.rows) == (1, 3)
    found = current(corpus, place)
    assert len({row["object_id"] for row in found.values()}) == 1
    assert {row["origin"] for row in found.values()} == {put["object_id"]}


class Meddled(MemoryStorage):
    """Calls something before the next put of an object, once."""

    def __init__(self, start: MemoryStorage, meddle: Callable[[], object]) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.meddle = start.objects, [meddle]

    def put_new(self, key: str, pieces: Any) -> float:
        if key.startswith("objects/") and self.meddle:
            self.meddle.pop()()
        return super().put_new(key, pieces)


def test_rows_that_change_meanwhile_stay_as_they_were_changed(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "ann/2", "ann/3")
    other = writer_of(corpus, place)
    after: Rows = {}

    def meddle() -> None:
        new = row(other, "ann/2", content("ann/2", 1))
        other.commit(table(new, row(other, "ann/4", content("ann/4"))), remove=["ann/1"], replace=True)
        after.update(current(corpus, place))

    done = again(corpus, Meddled(place, meddle)).data_keys
    assert done is not None
    assert done.finished
    assert done.left == 2
    found = current(corpus, place)
    assert sorted(found) == ["ann/2", "ann/3", "ann/4"]
    assert contents(corpus, place) == {
        "ann/2": content("ann/2", 1),
        "ann/3": content("ann/3"),
        "ann/4": content("ann/4"),
    }
    assert found["ann/3"]["object_id"] != after["ann/3"]["object_id"]
    # a writer that had not seen the rotation seals nothing that this leaves out
    assert {one["keyed_since"] is not None for one in found.values()} == {True}
    assert verify(corpus, storage=place).in_flight == 0


class Failing(MemoryStorage):
    """Refuses puts of objects after some."""

    def __init__(self, start: MemoryStorage, puts: int) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.puts = start.objects, puts

    def put_new(self, key: str, pieces: Any) -> float:
        if key.startswith("objects/"):
            self.puts -= 1
            if self.puts < 0:
                raise StorageUnreachable("gone")
        return super().put_new(key, pieces)


def test_a_run_that_ended_early_is_gone_on_with(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.lifecycle.sealing.TOGETHER", 2)
    fill(writer, *(f"ann/{n}" for n in range(8)), commits=2)
    before = current(corpus, place)
    with pytest.raises(StorageUnreachable):
        again(corpus, Failing(place, 5), threads=1)
    head, half = look(corpus, place).head, current(corpus, place)
    moved = {path for path in before if half[path]["object_id"] != before[path]["object_id"]}
    assert len(moved) == 4
    assert head.data_keys_since
    report = again(corpus, place)
    assert report.resumed
    assert report.data_keys is not None
    assert (report.data_keys.objects, report.data_keys.finished) == (4, True)
    after = current(corpus, place)
    assert {path for path in before if after[path]["object_id"] == half[path]["object_id"]} == moved
    all_moved(before, after)
    assert look(corpus, place).head.superseded == head.superseded, "no second rotation"
    assert not again(corpus, place).resumed


def test_a_rotation_in_between_begins_it_again(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2", commits=2)
    with pytest.raises(StorageUnreachable):
        again(corpus, Failing(place, 0))
    with pytest.raises(StorageUnreachable):
        again(corpus, Failing(place, 1), threads=1)
    plain = rotate(corpus, storage=place)
    assert plain.unfinished
    assert look(corpus, place).head.data_keys_since == plain.generation
    report = again(corpus, place)
    assert report.data_keys is not None
    assert (report.resumed, report.data_keys.objects, report.unfinished) == (True, 2, False)
    assert not rotate(corpus, storage=place).unfinished


def test_what_is_added_meanwhile_is_not_done_again(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1")
    with pytest.raises(StorageUnreachable):
        again(corpus, Failing(place, 0))
    writer.refresh()
    fill(writer, "ann/2")
    report = again(corpus, place)
    assert report.data_keys is not None
    assert report.data_keys.objects == 1


def test_what_is_missing_or_damaged_is_listed_and_the_others_go_on(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = content("big", size=PIECE + 5)
    rows = [row(writer, f"ann/{name}", content(name)) for name in ("good", "gone", "flipped", "other")]
    rows += [row(writer, f"ann/{name}", large) for name in ("large", "torn")]
    rows[3]["source_sha256"] = b"x" * 32
    writer.commit(table(*rows))
    keys = {one["path"]: object_key(one["object_id"]) for one in rows}
    del place.objects[keys["ann/gone"]]
    for path, at in (("ann/flipped", 100), ("ann/torn", PIECE)):
        data, *rest = place.objects[keys[path]]
        broken = bytearray(data)
        broken[at] ^= 1
        place.objects[keys[path]] = (bytes(broken), *rest)
    before = current(corpus, place)
    report = again(corpus, place)
    done = report.data_keys
    assert done is not None
    assert {paths: type(error).__name__ for paths, error in done.failed} == {
        ("ann/gone",): "NotFound",
        ("ann/flipped",): "AuthenticationFailed",
        ("ann/other",): "MalformedManifest",
        ("ann/torn",): "AuthenticationFailed",
    }
    assert (done.objects, done.finished, report.unfinished) == (2, False, True)
    assert not any(path in str(error) for _, error in done.failed for path in before)
    after = current(corpus, place)
    assert {path for path in after if after[path]["object_id"] != before[path]["object_id"]} == {
        "ann/good",
        "ann/large",
    }
    assert verify(corpus, storage=place).in_flight == 0, "nothing is left over of what was torn"
    # once they are repaired or removed, it ends
    writer.commit(remove=["ann/gone", "ann/other", "ann/torn"])
    writer.commit(table(row(writer, "ann/flipped", content("flipped"))), reseal=True)
    report = again(corpus, place)
    assert report.data_keys is not None
    assert (report.resumed, report.data_keys.failed, report.data_keys.finished) == (True, [], True)


@pytest.mark.parametrize("paths", [("ann/1",), ("ann/1", "ann/2")])
def test_what_a_prune_took_is_sealed_again(
    corpus: Reference, place: MemoryStorage, writer: Writer, paths: tuple[str, ...]
) -> None:
    """As if the host had slept for two days between put and commit."""
    fill(writer, *paths)
    before, pruned = current(corpus, place), [0]

    class Slept(MemoryStorage):
        def put_new(self, key: str, pieces: Any) -> float:
            when = super().put_new(key, pieces)
            if key.startswith("objects/") and not pruned[0]:
                pruned[0] += 1
                place.clock += 2.5 * DAY
                self.clock = place.clock
                prune(writer_of(corpus, place))
            return when

    slept = Slept(place.url, place.clock)
    slept.objects = place.objects
    report = again(corpus, slept, threads=1)
    assert pruned == [1]
    assert report.data_keys is not None
    assert (report.data_keys.objects, report.data_keys.left) == (len(paths), 0)
    all_moved(before, current(corpus, place))
    assert len(contents(corpus, place)) == len(paths)


def test_a_part_that_is_missing_stops_it(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1", "ann/2", commits=2)
    again(corpus, place)
    fill(writer, "ann/3")
    rotate_head(writer, data_keys=True)
    for part in look(corpus, place).head.parts:
        del place.objects[part.storage_key]
    for progress in (None, lambda *_: None):
        with pytest.raises(PartMissing):
            again(corpus, place, progress=progress)
    assert look(corpus, place).head.data_keys_since


# --------------------------------------------------------------------------------------------------------------- grace


@pytest.mark.parametrize("grace", [0, DAY - 1, float("nan"), 1e12, "14d"])
def test_the_grace_is_a_day_at_least(corpus: Reference, place: MemoryStorage, grace: Any) -> None:
    before = look(corpus, place)
    with pytest.raises(InvalidArgument, match="grace"):
        again(corpus, place, grace=grace)
    assert look(corpus, place) == before


def test_old_objects_stay_for_the_grace_and_their_parts_for_a_day(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "ann/2")
    old = {object_key(one["object_id"]) for one in current(corpus, place).values()}
    [part] = look(corpus, place).head.parts
    began = place.clock
    again(corpus, place, grace=14 * DAY)
    head = look(corpus, place).head
    assert head.grace == {one.table.id.hex(): began for one in head.retired if one.time > began}
    assert len(head.grace) == 1
    report = verify(corpus, storage=place)
    assert report.ok, report.findings
    for days, (objects, parts) in {1.1: (True, False), 13.9: (True, False), 14.1: (False, False)}.items():
        place.clock = began + days * DAY
        prune(writer_of(corpus, place))
        assert (old <= keys_of(place), part.storage_key in keys_of(place)) == (objects, parts), days
        assert verify(corpus, storage=place).ok
    head = look(corpus, place).head
    assert (head.retired, head.grace) == ((), {})


def test_a_reset_of_times_keeps_a_grace(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1")
    old = {object_key(one["object_id"]) for one in current(corpus, place).values()}
    again(corpus, place, grace=10 * DAY)
    before = look(corpus, place).head
    prune(writer_of(corpus, place), reset_horizon=True)
    head = look(corpus, place).head
    assert (head.retired, head.grace) == (before.retired, before.grace)
    # one that was committed under a clock that was ahead
    place.clock += 11 * DAY
    prune(writer_of(corpus, place))
    assert not old <= keys_of(place)
    place.clock += 20 * DAY
    old = {object_key(one["object_id"]) for one in current(corpus, place).values()}
    again(corpus, place, grace=10 * DAY)
    place.clock -= 20 * DAY
    assert "LeavingInFuture" in verify(corpus, storage=place).counts()
    prune(writer_of(corpus, place), reset_horizon=True)
    head, now = look(corpus, place).head, place.clock
    assert {one.time for one in head.retired} == {now, now + 9 * DAY}
    assert set(head.grace.values()) == {now}
    assert "LeavingInFuture" not in verify(corpus, storage=place).counts()
    place.clock += 9.9 * DAY
    prune(writer_of(corpus, place))
    assert old <= keys_of(place)


# ------------------------------------------------------------------------------------------------------------- readers


def test_a_reader_in_flight_hears_that_the_same_recording_was_sealed_again(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.corpus.objects.missing.RECHECK", 0.0)
    fill(writer, "ann/1", "ann/2", "ann/3")
    opened = open_quietly(corpus, place)
    again(corpus, place)
    assert opened.read("ann/1") == content("ann/1")
    second = open_quietly(corpus, place, columns=["subjects", "origin"])
    writer.commit(table(row(writer, "ann/2", b"another recording")), remove=["ann/3"], replace=True)
    place.clock += 1.1 * DAY
    again(corpus, place)
    place.clock += 1.1 * DAY
    prune(writer_of(corpus, place))
    for reader in (opened, second):
        with pytest.raises(
            RowReplaced, match=r"the same recording is elsewhere, sealed again or in a pack: refresh\(\) the dataset"
        ):
            reader.read("ann/1")
        for path in ("ann/2", "ann/3"):
            with pytest.raises(RowReplaced, match="its row was replaced or removed"):
                reader.read(path)
        assert reader.refresh()
        assert reader.read("ann/1") == content("ann/1")


def test_progress_and_intervals(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMIT_ROWS", 3)
    monkeypatch.setattr("securedata.lifecycle.sealing.TOGETHER", 1)
    fill(writer, *(f"ann/{n}" for n in range(10)))
    told: list[tuple[int, int, int, int]] = []
    before = look(corpus, place).head.generation
    again(corpus, place, progress=lambda *numbers: told.append(numbers), threads=1)
    assert told[-1] == (10, 10, 2000, 2000)
    assert [one[0] for one in told] == sorted(one[0] for one in told)
    assert look(corpus, place).head.generation > before + 4
