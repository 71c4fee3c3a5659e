"""What is split, what stays and why, and what others do meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath, PinRequired, RowReplaced, StorageUnreachable
from securedata.keys.tags import Tagger
from securedata.lifecycle.relabel import relabel
from securedata.lifecycle.rotate import rotate
from securedata.lifecycle.splitting.report import SplitReport
from securedata.media.audio.probe import AudioInfo
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, open_quietly
from tests.kit.corpora.rows import DAY, table, writer_of
from tests.kit.corpora.shared import TALK, Spoken, share, talk

SECONDS = 3 - (11200 + 16000 + 8000) / 16_000
PATHS = [f"talk@{start}-{start + frames}.wav" for start, frames, _ in TALK]


def split(corpus: Reference, place: MemoryStorage, *paths: str, **options: Any) -> SplitReport:
    return sd.split(corpus, paths, storage=place, **options)


def contents(corpus: Reference, place: MemoryStorage) -> dict[str, bytes]:
    opened = open_quietly(corpus, place)
    return {path: bytes(opened.read(path)) for path in opened.table.column("path").to_pylist()}


def stay(corpus: Reference, place: MemoryStorage) -> Callable[[], bool]:
    """Is the corpus still as it is now?"""
    before, keys = current(corpus, place), keys_of(place)
    return lambda: (current(corpus, place), keys_of(place)) == (before, keys)


def test_each_segment_has_an_object_and_its_people(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    [old, *_] = share(writer, talk())
    fresh = share(writer, talk(2.0), [(0, 8000, "cid"), (8000, 8000, "cid")], "cid.wav")
    alone = current(corpus, place)["cid@0-8000.wav"]
    calls: list[tuple[int, ...]] = []
    report = split(corpus, place, progress=lambda *told: calls.append(told))
    assert (report.objects, report.rows, report.generation) == (1, 3, look(corpus, place).head.generation)
    assert report.seconds_left_out == pytest.approx(SECONDS)
    assert (report.overlapping, report.complete, report.deleted) == ([], True, None)
    assert calls == [(1, 1, old["size"], old["size"])]
    after = current(corpus, place)
    assert [after[path]["subjects"] for path in PATHS] == [["ann"], ["ben"], ["ann"]]
    assert report.bytes == sum(after[path]["size"] for path in PATHS)
    assert after["cid@0-8000.wav"] == alone
    assert len({row["object_id"] for row in after.values()}) == 4
    assert all(after[path]["keyed_since"] == report.generation - 1 for path in PATHS)
    for path, data in contents(corpus, place).items():
        if path in PATHS:
            assert hashlib.sha256(data).digest() == after[path]["source_sha256"]
            assert after[path]["recording_sha256"] == hashlib.sha256(talk()).digest()
    assert fresh[0]["object_id"] == alone["object_id"]
    # readers in flight have a day
    assert object_key(old["object_id"]) in keys_of(place)
    place.clock += 1.1 * DAY
    prune(writer_of(corpus, place))
    assert object_key(old["object_id"]) not in keys_of(place)
    assert verify(corpus, storage=place).ok
    again = split(corpus, place)
    assert (again.objects, again.generation, again.complete) == (0, look(corpus, place).head.generation, True)


def test_overlaps_keep_both_names(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    share(writer, talk(), [(0, 16000, "ann"), (12000, 8000, "ben"), (20000, 8000, "cid"), (27999, 4000, "ann")])
    report = split(corpus, place)
    assert report.overlapping == ["talk@0-16000.wav", "talk@12000-20000.wav", "talk@20000-28000.wav",
                                  "talk@27999-31999.wav"]  # fmt: skip
    assert {path: row["subjects"] for path, row in current(corpus, place).items()} == {
        "talk@0-16000.wav": ["ann", "ben"],
        "talk@12000-20000.wav": ["ben", "ann"],
        "talk@20000-28000.wav": ["cid", "ann"],
        "talk@27999-31999.wav": ["ann", "cid"],
    }


STAYING: dict[str, tuple[Sequence[Spoken], Sequence[str], str, list[int]]] = {
    "no speaker": ([(0, 8000, "ann"), (8000, 8000, "")], ["ann", "ben"], "unclear", [1]),
    "a stranger": ([(0, 8000, "ann"), (8000, 8000, "ben"), (16000, 99, "dan")], ["ann", "ben"], "unclear", [2]),
    "nobody knows where": ([(0, 8000, "ann"), (8000, 8000, "ann")], ["ann", "ben"], "unnamed", [0, 1]),
    "everyone everywhere": ([(0, 8000, "ann"), (7999, 8000, "ben")], ["ann", "ben"], "together", [0, 1]),
}


@pytest.mark.parametrize("why", STAYING)
def test_nobody_is_guessed(corpus: Reference, place: MemoryStorage, writer: Writer, why: str) -> None:
    spoken, people, kind, which = STAYING[why]
    rows = share(writer, talk(), spoken, people=people)
    unchanged = stay(corpus, place)
    for dry_run in (True, False):
        report = split(corpus, place, dry_run=dry_run)
        assert (report.objects, report.rows, report.complete) == (0, 0, kind == "together")
        assert getattr(report, kind) == [rows[at]["path"] for at in which]
        assert unchanged()


def test_what_stayed_is_split_once_its_speakers_are_named(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    share(writer, talk(), [(0, 8000, "ann"), (8000, 8000, "")], people=["ann", "ben"])
    assert split(corpus, place).unclear == ["talk@8000-16000.wav"]
    relabel(corpus, {"talk@8000-16000.wav": {"speaker": "ben"}}, storage=place)
    assert split(corpus, place).rows == 2
    assert [row["subjects"] for row in current(corpus, place).values()] == [["ann"], ["ben"]]


def test_a_row_of_all_of_it_keeps_the_object(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = share(writer, talk(), [(0, 8000, "ann"), (8000, 8000, "ben"), (0, 0, "ben"), (20000, 8000, "ben")])
    report = split(corpus, place)
    assert (report.rows, report.seconds_left_out) == (3, 0.0)
    after = current(corpus, place)
    assert (after["talk.wav"]["object_id"], after["talk.wav"]["subjects"]) == (rows[0]["object_id"], ["ann", "ben"])
    assert after["talk@0-8000.wav"]["subjects"] == ["ann", "ben"]
    assert after["talk@8000-16000.wav"]["subjects"] == ["ben"]
    assert split(corpus, place).objects == 0
    place.clock += 2 * DAY
    prune(writer_of(corpus, place))
    assert verify(corpus, storage=place).ok


def test_a_dry_run_needs_no_object(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = share(writer, talk())
    place.objects.pop(object_key(rows[0]["object_id"]))
    unchanged = stay(corpus, place)
    report = split(corpus, place, dry_run=True)
    assert (report.dry_run, report.objects, report.rows, report.bytes) == (True, 1, 3, 0)
    assert report.seconds_left_out == pytest.approx(SECONDS)
    assert unchanged()


def test_chosen_recordings(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    for name in ("a/one.wav", "a/two.wav", "b/three.wav"):
        share(writer, talk(), path=name)
    assert split(corpus, place, "a/one@*", "b/", dry_run=True).objects == 2
    assert split(corpus, place, "a/two@1600-12800.wav").rows == 3, "with all segments of its recording"
    assert split(corpus, place, "a").objects == 1
    unchanged = stay(corpus, place)
    for paths, error in ((["b", "nowhere/*"], NoSuchPath), (["b", ""], InvalidArgument)):
        with pytest.raises(error):
            split(corpus, place, *paths)
        with pytest.raises(error):
            split(corpus, place, *paths, dry_run=True)
    assert unchanged()
    with pytest.raises(PinRequired):
        split(replace(corpus, pins=()), place)


def hold(writer: Writer, person: str) -> None:
    one = Hold(Tagger(writer.head.secret).tag(person), "case 7", 0.0)
    writer.transact(lambda attempt: Next(None, {"holds": (one,)}))


@pytest.mark.parametrize("late", [False, True], ids=["before", "during"])
def test_a_hold_stops_a_recording(corpus: Reference, place: MemoryStorage, writer: Writer, late: bool) -> None:
    share(writer, talk())
    share(writer, talk(2.0), [(0, 8000, "cid"), (8000, 8000, "dan")], "other.wav")
    before = current(corpus, place)
    if not late:
        hold(writer, "ben")
        assert split(corpus, place, dry_run=True).held == PATHS
    report = split(corpus, Meddled(place, lambda: hold(writer_of(corpus, place), "ben") if late else None))
    assert (sorted(report.held), report.objects, report.rows, report.complete) == (PATHS, 1, 2, True)
    after = current(corpus, place)
    assert {path: after[path] for path in PATHS} == {path: before[path] for path in PATHS}
    assert verify(corpus, storage=place).in_flight == 0


class Meddled(MemoryStorage):
    """Calls something before the next put of an object, once."""

    def __init__(self, start: MemoryStorage, meddle: Callable[[], object]) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.meddle = start.objects, [meddle]

    def put_new(self, key: str, pieces: Any) -> float:
        if key.startswith("objects/") and self.meddle:
            self.meddle.pop()()
        return super().put_new(key, pieces)


def test_people_who_are_named_meanwhile_are_not_lost(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    """`relabel` changes rows, not their object: compare and swap by object alone would not see it."""
    share(writer, talk())
    other = {path: {"subjects": ["ann", "ben", "cid"]} for path in PATHS}
    report = split(corpus, Meddled(place, lambda: relabel(corpus, other, storage=place)))
    assert (report.rows, report.changed, sorted(report.unnamed)) == (0, 1, PATHS)
    assert {frozenset(row["subjects"]) for row in current(corpus, place).values()} == {frozenset(("ann", "ben", "cid"))}
    assert verify(corpus, storage=place).in_flight == 0


def test_a_speaker_who_is_named_meanwhile_counts(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    share(writer, talk())
    report = split(corpus, Meddled(place, lambda: relabel(corpus, {PATHS[2]: {"speaker": "ben"}}, storage=place)))
    assert (report.rows, report.changed) == (3, 1), "cut again"
    assert [row["subjects"] for row in current(corpus, place).values()] == [["ann"], ["ben"], ["ben"]]
    assert verify(corpus, storage=place).in_flight == 0


def test_a_row_that_is_removed_meanwhile_stays_away(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    share(writer, talk())
    report = split(corpus, Meddled(place, lambda: writer_of(corpus, place).commit(remove=[PATHS[1]])))
    assert (report.objects, report.rows, report.changed) == (1, 2, 0)
    assert {path: row["subjects"] for path, row in current(corpus, place).items()} == {
        PATHS[0]: ["ann"],
        PATHS[2]: ["ann"],
    }
    assert verify(corpus, storage=place).in_flight == 0


def test_two_runs_side_by_side(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    share(writer, talk())
    other: list[SplitReport] = []
    report = split(corpus, Meddled(place, lambda: other.append(split(corpus, place))))
    assert (other[0].rows, report.rows, report.changed, report.complete) == (3, 0, 1, True)
    assert verify(corpus, storage=place).in_flight == 0
    assert len({row["object_id"] for row in current(corpus, place).values()}) == 3


def test_what_a_prune_took_is_cut_again(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the host had slept for two days between the puts of an object's pieces: all of them move or none."""
    share(writer, talk())
    clock, puts = place.clock, [0]

    class Slept(MemoryStorage):
        def put_new(self, key: str, pieces: Any) -> float:
            if key.startswith("objects/"):
                puts[0] += 1
                if puts[0] == 2:
                    self.clock = place.clock = clock + 2 * DAY
                    prune(writer_of(corpus, place))
            return super().put_new(key, pieces)

    slept = Slept(place.url, place.clock)
    slept.objects = place.objects
    report = split(corpus, slept)
    assert (report.objects, report.rows, puts[0]) == (1, 3, 6)
    assert [row["subjects"] for row in current(corpus, place).values()] == [["ann"], ["ben"], ["ann"]]
    assert len(contents(corpus, place)) == 3
    assert verify(corpus, storage=place).ok


def test_what_cannot_be_cut_is_listed_and_the_others_go_on(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    gone = share(writer, talk(), path="gone.wav")
    flipped = share(writer, talk(), path="flipped.wav")
    share(writer, b"no audio at all" * 9000, path="noise.flac", info=info_of("FLAC"))
    share(writer, talk(), [(0, 8000, "ann"), (47_000, 2000, "ben")], path="outside.wav")
    share(writer, talk(0.5), [(0, 4000, "ann"), (16000, 8000, "ben")], path="short.wav", info=info_of("WAV"))
    share(writer, talk(), path="other.wav", source_sha256=b"x" * 32)
    good = share(writer, talk(), path="good.wav")
    place.objects.pop(object_key(gone[0]["object_id"]))
    key = object_key(flipped[0]["object_id"])
    data, *rest = place.objects[key]
    place.objects[key] = (data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], *rest)
    before, keys = current(corpus, place), keys_of(place)
    report = split(corpus, place)
    assert {paths[0].partition("@")[0]: type(error).__name__ for paths, error in report.failed} == {
        "gone": "NotFound",
        "flipped": "AuthenticationFailed",
        "noise": "UndecodableMedia",
        "outside": "UndecodableMedia",
        "short": "UndecodableMedia",
        "other": "MalformedManifest",
    }
    assert all("@" not in str(error) for _, error in report.failed)
    assert (report.objects, report.rows, report.complete) == (1, 3, False)
    after = current(corpus, place)
    moved = {path for path in after if after[path]["object_id"] != before[path]["object_id"]}
    assert moved == {row["path"] for row in good}
    new = {object_key(after[path]["object_id"]) for path in moved}
    assert {one for one in keys_of(place) - keys if one.startswith("objects/")} == new, "nothing is left over"


def info_of(format: str) -> AudioInfo:
    return AudioInfo(format, "PCM_16", 16_000, 1, 48_000, 44 if format == "WAV" else None)


def test_a_packed_object(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = share(writer, talk())
    key, pack = object_key(rows[0]["object_id"]), b"p" * 16
    place.objects[pack_key(pack)] = (b"before" + place.objects[key][0], *place.objects[key][1:])
    writer.commit(remove=PATHS)
    writer.commit(table(*({**row, "pack": pack, "offset": 6} for row in rows)))
    place.objects.pop(key)
    before = contents(corpus, place)
    assert set(before.values()) == {talk()}
    assert split(corpus, place).rows == 3
    after = current(corpus, place)
    assert {(row["pack"], row["offset"]) for row in after.values()} == {(None, None)}
    assert pack_key(pack) in keys_of(place), "other objects may be in it"
    assert len(contents(corpus, place)) == 3


def test_at_once(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = share(writer, talk())
    reader = open_quietly(corpus, place)
    report = split(corpus, place, now=True)
    assert report.deleted == 2, "the object, and the part that named it"
    assert object_key(rows[0]["object_id"]) not in keys_of(place)
    with pytest.raises(RowReplaced):
        reader.read(PATHS[0])
    assert look(corpus, place).head.retired == ()
    assert split(corpus, place, now=True).deleted == 0


def test_after_an_error_it_is_gone_on_with(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    for number in range(4):
        share(writer, talk(), path=f"{number}.wav")

    class Failing(MemoryStorage):
        puts = 8

        def put_new(self, key: str, pieces: Any) -> float:
            if key.startswith("objects/"):
                self.puts -= 1
                if self.puts < 0:
                    raise StorageUnreachable("gone")
            return super().put_new(key, pieces)

    failing = Failing(place.url, place.clock)
    failing.objects = place.objects
    with pytest.raises(StorageUnreachable):
        split(corpus, failing, threads=1)
    done = {path for path, row in current(corpus, place).items() if len(row["subjects"]) == 1}
    assert len(done) == 6, "what was sealed is kept"
    assert split(corpus, place).objects == 2
    assert {len(row["subjects"]) for row in current(corpus, place).values()} == {1}


def test_a_reencryption_keeps_the_first_id_and_has_nothing_to_do_again(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    [first, *_] = share(writer, talk())
    rotate(corpus, data_keys=True, storage=place)
    again = current(corpus, place)[PATHS[0]]
    assert again["object_id"] != first["object_id"]
    split(corpus, place)
    assert {row["origin"] for row in current(corpus, place).values()} == {first["object_id"]}
    done = rotate(corpus, data_keys=True, storage=place).data_keys
    assert done is not None
    assert (done.objects, done.rows) == (3, 3)
    assert {row["origin"] for row in current(corpus, place).values()} == {first["object_id"]}


def test_many_recordings_in_several_parts(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    data = talk()
    for number in range(12):
        share(writer, data, path=f"{number}.wav")
    report = split(corpus, place)
    assert (report.objects, report.rows) == (12, 36)
    assert {len(row["subjects"]) for row in current(corpus, place).values()} == {1}
    assert verify(corpus, storage=place).ok
