"""Small objects are rewritten into packs: the same bytes elsewhere, one request for each, and nothing lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.packs.report import PackReport
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.errors import CommitRace, InvalidArgument, StorageUnreachable
from securedata.lifecycle.packing.pack import pack
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, row, table, writer_of

PATHS = [f"{person}/{number}" for person in ("ann", "ben", "cid") for number in range(6)]
PLACES = ("pack", "offset")
Rows = dict[str, dict[str, Any]]


def packed(corpus: Reference, place: MemoryStorage, **options: Any) -> PackReport:
    return pack(corpus, storage=place, **options)


def filled(writer: Writer, commits: int = 1) -> None:
    """Each recording is of the person whose name its path begins with."""
    for number in range(commits):
        some = PATHS[number::commits]
        writer.commit(table(*(row(writer, path, content(path), [path.partition("/")[0]]) for path in some)))


def contents(corpus: Reference, place: MemoryStorage) -> dict[str, bytes]:
    opened = open_quietly(corpus, place)
    return {path: bytes(opened.read(path)) for path in opened.table.column("path").to_pylist()}


def in_order(corpus: Reference, place: MemoryStorage) -> list[list[tuple[bytes | None, int | None, str]]]:
    """Of each part, the rows in their order: pack, offset and path."""
    head = look(corpus, place).head
    tables = [read_table(place, head.corpus_id, part, ("pack", "offset", "path")) for part in head.parts]
    return [[(one["pack"], one["offset"], one["path"]) for one in each.to_pylist()] for each in tables]


def contiguous(corpus: Reference, place: MemoryStorage) -> None:
    """The rows of a pack stand together in one part, in the order of their offsets, and their objects touch."""
    sizes = {path: one["sealed_size"] for path, one in current(corpus, place).items()}
    seen: set[bytes] = set()
    for part in in_order(corpus, place):
        last, end = None, 0
        for pack_id, offset, path in part:
            if pack_id is None:
                continue
            if pack_id != last:
                assert pack_id not in seen
                seen.add(pack_id)
                last, end = pack_id, 0
            assert offset == end
            end += sizes[path]


def test_the_same_bytes_lie_in_packs(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer, commits=3)
    before, seen = current(corpus, place), contents(corpus, place)
    sealed = {path: place.get(object_key(one["object_id"])) for path, one in before.items()}
    report = packed(corpus, place, size=1500)
    assert (report.objects, report.rows, report.complete) == (18, 18, True)
    assert report.packs > 2
    assert report.bytes == sum(map(len, sealed.values()))
    after = current(corpus, place)
    assert sorted(after) == sorted(before)
    for path, one in after.items():
        assert {k: v for k, v in one.items() if k not in PLACES} == {
            k: v for k, v in before[path].items() if k not in PLACES
        }
        end = one["offset"] + one["sealed_size"]
        assert place.get(pack_key(one["pack"]))[one["offset"] : end] == sealed[path]
    contiguous(corpus, place)
    assert contents(corpus, place) == seen
    assert {len(place.get(pack_key(id))) <= 1500 for id in {one["pack"] for one in after.values()}} == {True}
    # a reader of the generation before finds the single objects for a day, and then nobody does
    assert {object_key(one["object_id"]) for one in before.values()} <= keys_of(place)
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight, found.objects_opened) == (True, 0, 18)
    place.clock += 1.1 * DAY
    prune(writer_of(corpus, place))
    assert not [key for key in keys_of(place) if key.startswith("objects/")]
    assert verify(corpus, storage=place).ok
    assert contents(corpus, place) == seen


def test_what_is_left_is_packed_by_the_next_run(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place)
    once = current(corpus, place)
    assert packed(corpus, place).objects == 0
    writer = writer_of(corpus, place)
    fill(writer, "new/0")
    assert packed(corpus, place).objects == 0, "a pack of one saves nothing"
    fill(writer, "new/1")
    assert packed(corpus, place).objects == 2
    after = current(corpus, place)
    assert {path: after[path] for path in once} == once
    contiguous(corpus, place)


def test_sizes_that_stay_alone(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    rows = [row(writer, f"r/{size}", content(f"r/{size}", size=size)) for size in (10, 20, 3000, 3001, 9000, 9001)]
    writer.commit(table(*rows))
    sealed = {one["path"]: one["sealed_size"] for one in rows}
    report = packed(corpus, place, min_object=sealed["r/3000"], max_object=sealed["r/9000"])
    assert report.objects == 3
    assert {path for path, one in current(corpus, place).items() if one["pack"]} == {"r/3000", "r/3001", "r/9000"}


def test_the_order_is_drawn_by_the_seed(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    copies = [MemoryStorage(place.url, place.clock) for _ in range(3)]
    found = []
    for copy, seed in zip(copies, (7, 7, 8), strict=True):
        copy.objects = dict(place.objects)
        packed(corpus, copy, seed=seed, accept_generation=look(corpus, place).head.generation)
        found.append([path for part in in_order(corpus, copy) for _, _, path in part])
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert sorted(found[2]) == PATHS != found[2]


def test_recordings_of_the_same_people_lie_together(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer, commits=2)
    packed(corpus, place, group_by="subject", size=4000)
    contiguous(corpus, place)
    people = [path.partition("/")[0] for part in in_order(corpus, place) for _, _, path in part]
    assert len([at for at in range(18) if at == 0 or people[at] != people[at - 1]]) == 3, "one run for each person"
    packs = Counter((one["pack"], path.partition("/")[0]) for path, one in current(corpus, place).items())
    assert len(packs) == 3, "who fits into a pack is in one"


def test_rows_that_share_an_object_move_together(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    put = writer.put_object([content("both")]).columns()
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1, "frames": 9, **put}
    shared = [{"path": f"both/{at}", **one, "start": at, "frames_in_segment": 1} for at in range(3)]
    writer.commit(table(row(writer, "x/0", b"x"), *shared, row(writer, "x/1", b"y")))
    assert packed(corpus, place).rows == 5
    found = current(corpus, place)
    assert len({(found[f"both/{at}"]["pack"], found[f"both/{at}"]["offset"]) for at in range(3)}) == 1
    assert verify(corpus, storage=place).ok
    [part] = in_order(corpus, place)
    assert [path for _, _, path in part if path.startswith("both")] == ["both/0", "both/1", "both/2"]


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "gone", "swap"])
def test_a_damaged_object_stays_alone(corpus: Reference, place: MemoryStorage, writer: Writer, harm: str) -> None:
    filled(writer)
    ids = {path: one["object_id"] for path, one in current(corpus, place).items()}
    key = object_key(ids["ben/3"])
    data, when = place.objects[key]
    changed = {
        "flip": data[:-1] + bytes([data[-1] ^ 1]),
        "cut": data[:-1],
        "grow": data + b"\0",
        "swap": place.get(object_key(ids["ben/2"])),
    }
    if harm == "gone":
        del place.objects[key]
    else:
        place.objects[key] = changed[harm], when
    report = packed(corpus, place)
    [(paths, error)] = report.failed
    assert paths == ("ben/3",)
    assert type(error).__name__ in ("AuthenticationFailed", "Truncated", "NotFound", "WrongObject")
    assert (report.objects, report.complete) == (17, False)
    after = current(corpus, place)
    assert after["ben/3"]["pack"] is None
    assert [one.object_id for one in verify(corpus, storage=place).findings] == [ids["ben/3"]]
    contiguous(corpus, place)


class Meddled(MemoryStorage):
    """Calls something before a pack is put."""

    def __init__(self, start: MemoryStorage, *meddle: Callable[[], object]) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.meddle = start.objects, list(meddle)
        self.puts = 0

    def put_new(self, key: str, pieces: Any) -> float:
        if key.startswith("packs/"):
            self.puts += 1
            body = b"".join(pieces)
            if self.meddle:
                self.meddle.pop(0)()
            return super().put_new(key, [body])
        return super().put_new(key, pieces)


def test_a_row_that_goes_meanwhile_is_in_no_pack(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    other = writer_of(corpus, place)
    ids = {path: one["object_id"] for path, one in current(corpus, place).items()}
    sealed = place.get(object_key(ids["ann/1"]))
    storage = Meddled(place, lambda: other.commit(remove=["ann/1"]))
    report = packed(corpus, storage)
    assert (report.objects, report.again, storage.puts) == (17, 18, 2)
    after = current(corpus, place)
    assert sorted(after) == sorted(set(PATHS) - {"ann/1"})
    packs = {key: place.get(key) for key in keys_of(place) if key.startswith("packs/")}
    assert len(packs) == 1, "the first one is deleted"
    assert not [key for key, data in packs.items() if sealed in data]
    assert verify(corpus, storage=place).ok


def test_two_packers_side_by_side(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    seen = contents(corpus, place)
    storage = Meddled(place, lambda: packed(corpus, place, size=1500))
    report = packed(corpus, storage, size=4000)
    assert (report.objects, report.again > 0) == (0, True)
    assert contents(corpus, place) == seen
    contiguous(corpus, place)
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)


def test_who_loses_every_time_gives_up(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    other = writer_of(corpus, place)

    def replace() -> None:
        other.commit(table(row(other, "ann/1", os.urandom(9))), replace=True)

    with pytest.raises(CommitRace, match="run it again"):
        packed(corpus, Meddled(place, *[replace] * 20))
    assert verify(corpus, storage=place).in_flight == 0
    assert packed(corpus, place).objects == 18


class Failing(MemoryStorage):
    """Refuses packs after some."""

    def __init__(self, start: MemoryStorage, puts: int) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.puts = start.objects, puts

    def put_new(self, key: str, pieces: Any) -> float:
        if key.startswith("packs/"):
            self.puts -= 1
            if self.puts < 0:
                raise StorageUnreachable("gone")
        return super().put_new(key, pieces)


def test_what_was_stored_before_a_failure_is_committed(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    seen = contents(corpus, place)
    with pytest.raises(StorageUnreachable):
        packed(corpus, Failing(place, 2), size=1500)
    done = sum(one["pack"] is not None for one in current(corpus, place).values())
    assert 0 < done < 18
    assert packed(corpus, place, size=1500).objects == 18 - done
    assert contents(corpus, place) == seen
    contiguous(corpus, place)
    assert verify(corpus, storage=place).in_flight == 0


def test_a_pack_that_a_prune_might_have_taken_is_made_again(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)

    def prune_a_day_later() -> None:
        place.clock += 2 * DAY
        writer_of(corpus, place).commit_horizon()

    class Late(Meddled):
        """The pack is stored, then its writer sleeps for two days."""

        def put_new(self, key: str, pieces: Any) -> float:
            when = MemoryStorage.put_new(self, key, pieces)
            if key.startswith("packs/") and self.meddle:
                self.meddle.pop(0)()
                self.clock = place.clock
            return when

    report = packed(corpus, Late(place, prune_a_day_later))
    assert (report.objects, report.again) == (18, 18)
    assert verify(corpus, storage=place).ok
    assert len([key for key in keys_of(place) if key.startswith("packs/")]) == 1


def test_old_copies_go_when_they_are_due(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place)
    place.clock += 1.1 * DAY
    fill(writer_of(corpus, place), "new/0")  # a later commit clears what is due
    assert len([key for key in keys_of(place) if key.startswith("objects/")]) == 1
    assert len(contents(corpus, place)) == 19


def test_a_pack_of_which_nothing_is_left_goes(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place, size=700)
    rows = current(corpus, place)
    gone = rows["ann/0"]["pack"]
    mine = [path for path, one in rows.items() if one["pack"] == gone]
    writer = writer_of(corpus, place)
    for path in mine:
        assert pack_key(gone) in keys_of(place)
        writer.commit(remove=[path])
    place.clock += 1.1 * DAY
    fill(writer, "new/0")
    left = {pack_key(one["pack"]) for one in rows.values()} - {pack_key(gone)}
    assert {key for key in keys_of(place) if key.startswith("packs/")} == left
    assert verify(corpus, storage=place).ok


def test_compacting_leaves_out_what_is_dead(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place)
    [first] = [key for key in keys_of(place) if key.startswith("packs/")]
    dead = {
        path: one["sealed_size"] for path, one in current(corpus, place).items() if path.startswith(("ann", "ben/5"))
    }
    writer = writer_of(corpus, place)
    writer.commit(remove=[path for path in dead if path.startswith("ann")])
    writer.commit(remove=["ben/5"])
    assert packed(corpus, place, compact=0.5).packs == 0, "not as much is dead"
    seen = contents(corpus, place)
    dry = packed(corpus, place, compact=0.25, dry_run=True)
    report = packed(corpus, place, compact=0.25)
    for one in (dry, report):
        assert (one.objects, one.packs, one.old_packs, one.dead_bytes) == (11, 1, 1, sum(dead.values()))
    assert contents(corpus, place) == seen
    contiguous(corpus, place)
    [second] = [key for key in keys_of(place) if key.startswith("packs/") and key != first]
    assert len(place.get(second)) == report.bytes
    assert verify(corpus, storage=place).ok
    place.clock += 1.1 * DAY
    prune(writer_of(corpus, place))
    assert [key for key in keys_of(place) if key.startswith("packs/")] == [second]
    assert packed(corpus, place, compact=0).packs == 0


def test_bytes_behind_the_last_member_are_dead_too(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place)
    last = max(current(corpus, place).values(), key=lambda one: one["offset"])
    writer_of(corpus, place).commit(remove=[last["path"]])
    assert packed(corpus, place, compact=0).dead_bytes == last["sealed_size"]


def test_what_is_damaged_in_a_pack_stays_there(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place)
    rows = current(corpus, place)
    key = pack_key(rows["ann/0"]["pack"])
    data, when = place.objects[key]
    hole = rows["cid/2"]["offset"]
    place.objects[key] = (
        data[:hole] + bytes(rows["cid/2"]["sealed_size"]) + data[hole + rows["cid/2"]["sealed_size"] :],
        when,
    )
    assert [one.object_id for one in verify(corpus, storage=place).findings] == [rows["cid/2"]["object_id"]]
    writer_of(corpus, place).commit(remove=["ann/0", "ann/1"])
    report = packed(corpus, place, compact=0)
    assert ([paths for paths, _ in report.failed], report.objects, report.old_packs) == ([("cid/2",)], 15, 0)
    after = current(corpus, place)
    assert after["cid/2"] == rows["cid/2"]
    assert {path for path, one in after.items() if one["pack"] == rows["ann/0"]["pack"]} == {"cid/2"}


@pytest.mark.parametrize("now", [False, True])
def test_unpacked_again(corpus: Reference, place: MemoryStorage, writer: Writer, now: bool) -> None:
    filled(writer, commits=2)
    before = current(corpus, place)
    packed(corpus, place, size=1500)
    seen = contents(corpus, place)
    dry = packed(corpus, place, unpack=True, dry_run=True)
    report = packed(corpus, place, unpack=True, now=now)
    assert (dry.objects, dry.bytes) == (report.objects, report.bytes) == (18, sum(map(len, seen.values())))
    after = current(corpus, place)
    assert {(one["pack"], one["offset"]) for one in after.values()} == {(None, None)}
    assert not {one["object_id"] for one in after.values()} & {one["object_id"] for one in before.values()}
    assert {path: one["origin"] for path, one in after.items()} == {p: one["object_id"] for p, one in before.items()}
    assert contents(corpus, place) == seen
    if not now:
        place.clock += 1.1 * DAY
        prune(writer_of(corpus, place))
    assert not [key for key in keys_of(place) if key.startswith("packs/")]
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)
    assert packed(corpus, place, unpack=True).objects == 0


def test_at_once(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    report = packed(corpus, place, now=True)
    assert report.deleted == 19, "18 objects and the old part"
    assert not [key for key in keys_of(place) if key.startswith("objects/")]
    writer_of(corpus, place).commit(remove=["ann/0"])
    report = packed(corpus, place, compact=0, now=True)
    assert report.deleted == 2, "the old pack and the old part"
    assert len([key for key in keys_of(place) if key.startswith("packs/")]) == 1
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)


def test_a_dry_run_writes_nothing_and_says_the_same(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    before = dict(place.objects)
    dry = packed(corpus, place, size=1500, dry_run=True)
    assert place.objects == before
    real = packed(corpus, place, size=1500)
    names = ("packs", "objects", "rows", "bytes")
    assert [getattr(dry, name) for name in names] == [getattr(real, name) for name in names]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group_by": "speaker"}, "group_by"),
        ({"size": 0}, "size"),
        ({"min_object": 9, "max_object": 8}, "above max_object"),
        ({"max_object": 65_000_000}, "max_object"),
        ({"compact": 1}, "share of dead bytes"),
        ({"compact": 0.5, "unpack": True}, "exclude each other"),
        ({"seed": -1}, "seed"),
    ],
)
def test_values_that_it_does_not_take(corpus: Reference, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        pack(corpus, **options)
