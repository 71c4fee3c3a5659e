"""The parts of a corpus and its leaving lists over many commits; heads that were put back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.rows import build, plan
from securedata.corpus.state.head import Head, seal_head
from securedata.corpus.state.retired import listed
from securedata.corpus.state.tables import seal_table
from securedata.corpus.writer import Writer
from securedata.errors import (
    AccessDenied,
    CorpusGone,
    InvalidArgument,
    LimitExceeded,
    MalformedManifest,
    OlderGeneration,
    PartMissing,
    PinMismatch,
    SupersededKey,
)
from securedata.keys.kms import open_all
from securedata.keys.wraps import wrap_key
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, make, row, table, writer_of
from tests.kit.hooked import Faults, Hooked

pytestmark = pytest.mark.usefixtures("no_waiting")


def waiting(corpus: Reference, place: MemoryStorage) -> set[str]:
    head = look(corpus, place).head
    return {key for one in head.retired for key in listed(place, head, one)}


# --------------------------------------------------------------------------------------------------------------- parts


def test_small_parts_are_merged_and_every_row_is_kept(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    paths = [f"p/{number}" for number in range(40)]
    most = 0
    for number, path in enumerate(paths, 1):
        fill(writer, path)
        head = look(corpus, place).head
        most = max(most, len(head.parts))
        assert head.rows == number
    assert 1 < most <= plan.MERGE_AT
    assert sorted(current(corpus, place)) == sorted(paths)
    opened = open_quietly(corpus, place)
    assert all(opened.read(path) == content(path) for path in paths)
    assert keys_of(place) - named_keys(head, place) == waiting(corpus, place)


def test_large_parts_stay_as_they_are(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALL", 3)
    monkeypatch.setattr(plan, "MAX_ROWS", 5)
    monkeypatch.setattr(plan, "MERGE_AT", 3)
    chosen = random.Random(3)
    expected: set[str] = set()
    for number in range(60):
        paths = [f"{number}/{index}" for index in range(chosen.randrange(5))]
        gone = chosen.sample(sorted(expected), min(len(expected), chosen.randrange(3)))
        writer.commit(table(*(row(writer, path, content(path)) for path in paths)), remove=gone)
        expected = (expected | set(paths)) - set(gone)
        head = look(corpus, place).head
        assert set(current(corpus, place)) == expected
        assert all(0 < part.rows <= 5 for part in head.parts)
        assert sum(part.rows < 3 for part in head.parts) <= 3


def test_a_part_that_would_lose_rows_stops_the_commit(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, "a", "b", "c")
    before = dict(place.objects)
    real = build._edited
    monkeypatch.setattr(build, "_edited", lambda *args: real(*args).slice(1))
    with pytest.raises(MalformedManifest, match="would lose 1 rows"):
        writer.commit(remove=["a"])
    assert place.objects["head"] == before["head"]


def test_a_missing_part_has_its_own_error(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    (part,) = look(corpus, place).head.parts
    place.delete(part.storage_key)
    before = dict(place.objects)
    for other in (writer, writer_of(corpus, place)):
        with pytest.raises(PartMissing, match=part.id.hex()) as caught:
            other.commit(remove=["a"])
        assert (caught.value.root, caught.value.object_id) == (corpus.root, part.id)
    assert place.objects["head"] == before["head"]


def test_a_part_that_is_replaced_while_it_is_read_is_no_error(corpus: Reference, place: MemoryStorage) -> None:
    # an erasure deletes the parts that it rewrites at once
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    fill(other, "a", "b")

    def erase(call: str, key: str) -> None:
        if call == "get" and key.startswith("manifest/"):
            storage.before = lambda call, key: None
            other.commit(remove=["a"])
            place.delete(key)

    storage.before = erase
    assert writer.commit(remove=["b"]).removed == 1
    assert current(corpus, place) == {}


# ------------------------------------------------------------------------------------------------------- leaving lists


def leave(corpus: Reference, place: MemoryStorage) -> Head:
    """A corpus with something on a leaving list that is due."""
    writer = writer_of(corpus, place)
    fill(writer, "a", "b", "c")
    writer.commit(remove=["a"])
    place.clock += DAY
    return look(corpus, place).head


def test_nothing_is_deleted_before_its_day_is_over(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a", "b")
    writer.commit(remove=["a"])
    leaving = waiting(corpus, place)
    assert len(leaving) == 2, "the object, and the part"
    place.clock += DAY - 1
    writer.commit(settings={"n": 1})
    assert leaving <= keys_of(place)
    place.clock += 1
    writer.commit(settings={"n": 2})
    assert not leaving & keys_of(place)
    head = look(corpus, place).head
    assert head.retired == ()
    assert keys_of(place) == named_keys(head, place), "the list itself goes too"


def test_two_commits_that_find_the_same_list_due(corpus: Reference, place: MemoryStorage) -> None:
    leave(corpus, place)
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)

    def first(call: str, key: str) -> None:
        if call == "now":  # the head was read, and names the list
            storage.before = lambda call, key: None
            other.commit(settings={"first": True})

    storage.before = first
    writer.commit(settings={"second": True})
    head = look(corpus, place).head
    assert (head.settings, head.retired) == ({"first": True, "second": True}, ())
    assert keys_of(place) == named_keys(head, place)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_list_that_is_lost_does_not_block_the_corpus(damage: str, corpus: Reference, place: MemoryStorage) -> None:
    (one,) = leave(corpus, place).retired
    key = one.table.storage_key
    if damage == "missing":
        place.delete(key)
    else:
        data, when = place.objects[key]
        place.objects[key] = (data[:-1] + bytes([data[-1] ^ 1]), when)
    left = keys_of(place)
    writer_of(corpus, place).commit(settings={"n": 1})
    head = look(corpus, place).head
    assert head.retired == ()
    assert keys_of(place) == left - {key}, "what it named is for prune to find"


def test_a_writer_that_may_not_delete_can_commit(corpus: Reference, place: MemoryStorage) -> None:
    before = leave(corpus, place)
    storage = Hooked(place)
    storage.before = Faults("delete", 1000, error=AccessDenied)
    writer_of(corpus, storage).commit(settings={"n": 1})
    assert look(corpus, place).head.retired == before.retired, "another writer clears it"
    writer_of(corpus, place).commit(settings={"n": 2})
    assert look(corpus, place).head.retired == ()


def test_a_crash_between_deleting_and_clearing_is_mended_by_the_next(corpus: Reference, place: MemoryStorage) -> None:
    leave(corpus, place)
    storage = Hooked(place)
    storage.before = Faults("replace", error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        writer_of(corpus, storage).commit(settings={"n": 1})
    writer_of(corpus, place).commit(settings={"n": 2})
    head = look(corpus, place).head
    assert head.retired == ()
    assert keys_of(place) == named_keys(head, place)


def test_lists_are_cleared_one_by_one_as_they_are_due(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, *"abcdef")
    for path in "abc":
        writer.commit(remove=[path])
        place.clock += 3600
    assert len(look(corpus, place).head.retired) == 3
    place.clock += DAY - 3 * 3600
    for left in (2, 1, 0):
        writer.commit(settings={"left": left})
        assert len(look(corpus, place).head.retired) == left
        place.clock += 3600
    assert keys_of(place) == named_keys(look(corpus, place).head, place)


# ------------------------------------------------------------------------------------------------------------ the head


def test_a_head_has_a_limit_when_it_is_written_too(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.corpus.state.head.MAX_BODY", 4000)
    before = dict(place.objects)
    with pytest.raises(LimitExceeded, match="above the limit of 4000"):
        writer.commit(settings={"long": "x" * 5000})
    assert place.objects == before, "a head that nobody could open again"


def test_a_head_that_went_away_is_no_lost_race(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    place.delete("head")
    for act in (
        lambda: fill(writer, "b"),
        lambda: writer.refresh(),
        lambda: writer_of(corpus, place),
    ):
        with pytest.raises(CorpusGone, match=r"head\.prev") as caught:
            act()
        assert caught.value.root == corpus.root
    assert "head" not in place.objects


def test_an_old_head_is_refused_by_whoever_saw_a_newer_one(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a")
    old = place.objects["head"]
    fill(writer, "b")
    new = place.objects["head"]
    place.objects["head"] = old
    acts: list[Callable[[], object]] = [
        lambda: writer.refresh(),
        lambda: fill(writer, "c"),
        lambda: writer_of(corpus, place),  # by what this machine remembers
    ]
    for act in acts:
        with pytest.raises(OlderGeneration, match="--accept-generation 2"):
            act()
    assert place.objects["head"] == old
    (state_dir() / "seen" / f"{writer.corpus_id.hex()}.json").unlink()
    for act in acts[:2]:  # by what it has seen itself, even where the state file was lost
        with pytest.raises(OlderGeneration):
            act()
    place.objects["head"] = new
    writer.refresh()


def test_a_commit_between_reading_and_remembering_is_no_old_head(corpus: Reference, place: MemoryStorage) -> None:
    # two ingests side by side: the other one commits just after this one was given the head, and remembers its own
    storage = Hooked(place)
    other = writer_of(corpus, place)

    def commit_once(call: str, key: str) -> None:
        if call == "get_versioned":
            storage.after = lambda call, key: None
            other.commit(settings={"generation": other.head.generation})

    storage.after = commit_once
    writer = writer_of(corpus, storage)
    storage.after = commit_once
    writer.refresh()
    storage.after = commit_once
    writer._lease._renew(3600.0)  # in a thread that puts an object, while this one commits
    fill(writer, "a")
    assert sorted(current(corpus, place)) == ["a"]


def test_a_commit_while_verify_begins_is_no_old_head(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    storage = Hooked(place)

    def commit_once(call: str, key: str) -> None:
        if call == "get_versioned":
            storage.after = lambda call, key: None
            fill(writer, "a")

    storage.after = commit_once
    report = verify(corpus, storage=storage, threads=1)
    assert report.ok, report.findings


def test_a_running_writer_knows_what_others_on_this_machine_have_seen(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "a")
    old = place.objects["head"]
    fill(writer_of(corpus, place), "b")
    place.objects["head"] = old
    with pytest.raises(OlderGeneration):
        fill(writer, "c")


def test_an_old_head_can_be_accepted_by_hand(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    old = place.objects["head"]
    fill(writer, "b")
    place.objects["head"] = old
    with pytest.raises(InvalidArgument, match="has generation 2, not 1"):
        writer_of(corpus, place, accept_generation=1)
    accepted = writer_of(corpus, place, accept_generation=2)
    fill(accepted, "c")
    fill(writer_of(corpus, place), "d")
    assert sorted(current(corpus, place)) == ["a", "c", "d"]
    place.objects["head"] = old
    with pytest.raises(OlderGeneration):
        accepted.refresh()


def rotated(corpus: Reference, place: MemoryStorage) -> bytes:
    """Put a head under a fresh corpus key in place, as a rotation will; returns the old one's bytes."""
    opened = look(corpus, place)
    key = b"R" * 32
    head = opened.head.next(
        b"w" * 16,
        key_id=b"n" * 16,
        superseded=(*opened.head.superseded, opened.head.key_id),
        wraps=wrap_key(open_all(corpus.kms), key, opened.head.corpus_id),
    )
    old = bytes(place.objects["head"][0])
    place.replace("head", seal_head(head, key), opened.version)
    return old


def test_a_rotation_meanwhile_is_followed(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    asked = writer.unwraps
    rotated(corpus, place)
    fill(writer, "b")
    assert writer.unwraps == asked + 1
    fill(writer, "c")
    assert writer.unwraps == asked + 1
    assert sorted(current(corpus, place)) == ["a", "b", "c"]
    assert look(corpus, place).head.key_id == b"n" * 16


def test_a_head_under_a_superseded_key_is_refused(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "a")
    key = look(corpus, place).key
    rotated(corpus, place)
    writer.refresh()
    # a past reader, who kept the old key, forges a head of a later generation
    head = writer.head
    old_id = head.superseded[0]
    forged = replace(head, generation=99, key_id=old_id, superseded=(), wraps=())
    place.objects["head"] = (bytes(seal_head(forged, key)), place.clock)
    for act in (lambda: writer.refresh(), lambda: fill(writer, "b"), lambda: writer_of(corpus, place)):
        with pytest.raises(SupersededKey, match=old_id.hex()):
            act()


def test_another_corpus_at_the_root_is_refused(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    other_place = MemoryStorage("memory://other")
    other = make(other_place, "memory://other", name="other")
    mine = place.objects["head"]
    place.objects["head"] = other_place.objects["head"]
    for act in (lambda: writer.refresh(), lambda: fill(writer, "a"), lambda: writer_of(corpus, place)):
        with pytest.raises(PinMismatch, match=look(other, other_place).head.corpus_id.hex()):
            act()
    place.objects["head"] = mine
    writer.refresh()


def test_tables_are_never_sealed_twice_under_one_id(writer: Writer) -> None:
    rows = table(row(writer, "a", content("a")))
    refs = [seal_table(rows, writer.corpus_id)[0] for _ in range(3)]
    assert len({ref.id for ref in refs}) == len({ref.key for ref in refs}) == 3
