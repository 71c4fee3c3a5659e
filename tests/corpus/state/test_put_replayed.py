"""A put of an object or a table that landed and was answered no, and what a prune did to it meanwhile."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from securedata import clocks
from securedata.corpus.check.prune import prune
from securedata.corpus.config import Reference
from securedata.corpus.objects.put import Put
from securedata.corpus.state.commit import Next
from securedata.errors import (
    AlreadyExists,
    AuthenticationFailed,
    FormatError,
    HorizonInFuture,
    NotFound,
    PreconditionFailed,
    StorageError,
)
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, whole
from tests.kit.corpora.rows import content, fill, make, row, table, writer_of
from tests.kit.hooked import Faults, Hooked, Unlisted

pytestmark = pytest.mark.usefixtures("no_waiting")

TAKEN = [AlreadyExists, PreconditionFailed, NotFound]


@pytest.fixture
def corpus(corpus: Reference, place: MemoryStorage) -> Reference:
    fill(writer_of(corpus, place), "kept/1", "kept/2")
    return corpus


@pytest.mark.parametrize("answer", TAKEN)
@pytest.mark.parametrize("many", [False, True])
def test_an_object_that_landed_counts_whatever_was_answered(
    answer: type[StorageError], many: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    storage.checksums = True  # then nothing would be read back otherwise
    writer = writer_of(corpus, storage)
    storage.after = Faults("put_new", error=answer, prefix="objects/")
    data = content("new")
    put = next(writer.put_objects([data]))[1] if many else writer.put_object([data])
    assert put.time <= place.clock, "never later than storage's own time of it"
    assert put.time > place.clock - 3600
    reads = [key for call, key in storage.calls if call == "get_ranges"]
    assert reads, "it was read back"
    made = row(writer_of(corpus, place), "new", data)
    made.update(put.columns())
    assert writer.commit(table(made)).added == 1
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("what", ["other bytes", "longer", "shorter"])
@pytest.mark.parametrize("many", [False, True])
def test_other_bytes_under_a_new_id_are_an_error(
    what: str, many: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    storage.checksums = True
    writer = writer_of(corpus, storage)

    def taken(call: str, key: str) -> None:
        if call == "put_new":
            data, time = place.objects[key]
            other = {"other bytes": data[:-1] + bytes([data[-1] ^ 1]), "longer": data + b"x", "shorter": data[:-1]}
            place.objects[key] = (other[what], time)
            raise AlreadyExists("no")

    storage.after = taken
    with pytest.raises(FormatError):
        next(writer.put_objects([content("new")])) if many else writer.put_object([content("new")])


@pytest.mark.parametrize("answer", TAKEN)
@pytest.mark.parametrize("many", [False, True])
def test_an_object_that_was_refused_and_is_not_there_is_the_refusal(
    answer: type[StorageError], many: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place, before=Faults("put_new", error=answer))
    storage.checksums = True
    writer = writer_of(corpus, storage)
    with pytest.raises(answer, match="the line is cut"):
        next(writer.put_objects([content("new")])) if many else writer.put_object([content("new")])


@pytest.mark.parametrize("answer", [None, *TAKEN])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("kind", [Hooked, Unlisted])
def test_an_object_that_a_prune_took_before_it_was_read_back_is_stale_and_put_again(
    kind: type[Hooked], answer: type[StorageError] | None, many: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = kind(place)
    taken: list[str] = []

    def suspended(call: str, key: str) -> None:
        if call == "put_new" and key.startswith("objects/") and not taken:
            taken.append(key)
            place.clock += 40 * 3600
            prune(writer_of(corpus, place))
            assert key not in place.objects
            if answer is not None:
                raise answer("no")

    storage.after = suspended
    writer, data = writer_of(corpus, storage), content("new")
    outcomes = []
    for _ in range(2):
        put = next(writer.put_objects([data]))[1] if many else writer.put_object([data])
        made = row(writer_of(corpus, place), "new", data)
        made.update(put.columns())
        outcomes.append(writer.commit(table(made)))
    assert [one.stale for one in outcomes] == [["new"], []]
    assert outcomes[1].added == 1
    assert len({key for call, key in storage.calls if call == "put_new" and key.startswith("objects/")}) == 2
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("many", [False, True])
def test_a_refusal_after_a_prune_is_the_refusal_the_next_time(
    many: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place, before=Faults("put_new", 2, error=AlreadyExists))
    writer = writer_of(corpus, storage)
    place.clock += 40 * 3600
    prune(writer_of(corpus, place))

    def put() -> Put:
        return next(writer.put_objects([content("new")]))[1] if many else writer.put_object([content("new")])

    assert put().time == -math.inf, "it may have landed, and the prune have deleted it"
    with pytest.raises(AlreadyExists):
        put()


@pytest.mark.parametrize("clock", ["boot", "wall"])
def test_a_put_that_was_refused_is_as_old_as_a_suspended_host_says(
    clock: str, corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time that is too late would have a prune delete what a commit takes for younger than its horizon."""
    storage = Hooked(place)
    writer, put_at, hours = writer_of(corpus, storage), place.clock, {"boot": 0, "wall": 0}
    late = SimpleNamespace(
        clock_gettime=lambda which: time.clock_gettime(which) + 3600 * hours["boot"],
        time=lambda: time.time() + 3600 * hours["wall"],
    )
    monkeypatch.setattr(clocks, "time", late)

    def suspended(call: str, key: str) -> None:
        if call == "put_new" and key.startswith("objects/"):
            place.clock += 30 * 3600
            hours[clock] = 30
            raise AlreadyExists("no")

    storage.after = suspended
    monkeypatch.setattr(writer._lease, "guard", iter)  # its grant is over, too
    assert writer.put_object([content("new")]).time <= put_at


@pytest.mark.parametrize("answer", TAKEN)
@pytest.mark.parametrize("at", [0, 1])
def test_a_table_that_landed_counts_whatever_was_answered(
    answer: type[StorageError], at: int, corpus: Reference, place: MemoryStorage
) -> None:
    # the first is a part, the second the list of what leaves
    storage = Hooked(place)
    tables: list[str] = []

    def replayed(call: str, key: str) -> None:
        if call == "put_new":
            tables.append(key)
            if len(tables) == at + 1:
                raise answer("no")

    storage.after = replayed
    assert writer_of(corpus, storage).commit(remove=["kept/1"]).removed == 1
    assert len(tables) == 2
    whole(corpus, place, "kept/2")


@pytest.mark.parametrize("what", ["objects/", "manifest/"])
def test_of_two_puts_at_once_the_other_may_land_a_moment_later(
    what: str, corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Hooked(place)
    under_way: dict[str, Any] = {}

    def refused(call: str, key: str) -> None:
        if call == "put_new" and key.startswith(what) and not under_way:
            under_way[key] = place.objects.pop(key)
            raise NotFound("the upload is over")

    storage.after = refused
    monkeypatch.setattr("securedata.corpus.objects.put._sleep", lambda seconds: place.objects.update(under_way))
    fill(writer_of(corpus, storage), "new")
    assert under_way
    whole(corpus, place, "kept/1", "kept/2", "new")


class Late(MemoryStorage):
    """Says of a put that it may have been a minute before now, as S3 does."""

    def put_new(self, key: str, pieces: Any) -> float:
        return super().put_new(key, pieces) - 60


@pytest.mark.parametrize("deed", ["part", "list"])
def test_a_table_that_a_prune_may_take_for_older_than_the_horizon_is_not_named(deed: str) -> None:
    """The prune that left this horizon under a clock a day ahead may have listed this table before the horizon."""
    place = Late()
    corpus = make(place)
    writer = writer_of(corpus, place)
    fill(writer, "kept/1", "kept/2")
    words = {**current(corpus, place)["kept/1"], "transcript": "words"}
    writer.transact(lambda attempt: Next(None, {"horizon": place.clock - 30}))
    with pytest.raises(HorizonInFuture):
        writer.commit(update=table(words)) if deed == "part" else writer.commit(remove=["kept/1", "kept/2"])
    place.clock += 31
    writer.commit(remove=["kept/1"])
    whole(corpus, place, "kept/2")


def test_another_table_under_a_new_id_is_an_error(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)

    def taken(call: str, key: str) -> None:
        if call == "put_new":
            data, time = place.objects[key]
            place.objects[key] = (data[:-1] + bytes([data[-1] ^ 1]), time)
            raise AlreadyExists("no")

    storage.after = taken
    with pytest.raises(AuthenticationFailed):
        writer_of(corpus, storage).commit(remove=["kept/1"])
    whole(corpus, place, "kept/1", "kept/2")


def test_a_table_that_was_refused_and_is_not_there_is_the_refusal(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place, before=Faults("put_new", error=AlreadyExists))
    with pytest.raises(AlreadyExists):
        writer_of(corpus, storage).commit(remove=["kept/1"])
    whole(corpus, place, "kept/1", "kept/2")


@pytest.mark.parametrize("answer", [None, AlreadyExists])
@pytest.mark.parametrize("kind", [Hooked, Unlisted])
def test_a_table_that_a_prune_took_before_it_was_read_back_is_made_again(
    kind: type[Hooked], answer: type[StorageError] | None, corpus: Reference, place: MemoryStorage
) -> None:
    storage = kind(place)
    done: list[str] = []

    def suspended(call: str, key: str) -> None:
        if call == "put_new" and key.startswith("manifest/") and not done:
            done.append(key)
            place.clock += 40 * 3600
            prune(writer_of(corpus, place))
            assert key not in place.objects
            if answer is not None:
                raise answer("no")

    storage.after = suspended
    assert writer_of(corpus, storage).commit(remove=["kept/1"]).removed == 1
    assert done
    whole(corpus, place, "kept/2")


def test_the_parts_that_a_discard_looks_into_are_not_fetched_again(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = [row(writer, path, content(path)) for path in ("kept/1", "new")]
    storage.calls.clear()
    assert writer.commit(table(*rows)).unchanged == 1
    fetched = [key for call, key in storage.calls if call == "get"]
    assert len(fetched) == 1 + 1 + 1, (
        "the live part by its columns, its descriptions, and the new one that is read back"
    )
    assert sum(call == "get_versioned" for call, _ in storage.calls) == 2


def test_a_file_that_was_linked_twice_is_there_and_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of files answers a repeated request to make a link with 'it exists'."""
    storage = LocalStorage(str(tmp_path))
    real, flushed = os.link, os.fsync

    def link(*given: Any, **more: Any) -> None:
        real(*given, **more)
        real(*given, **more)

    inodes: list[int] = []
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "fsync", lambda fd: (inodes.append(os.fstat(fd).st_ino), flushed(fd)))
    storage.put_new("objects/00/one", [b"one"])
    storage.make_durable()
    assert os.stat(tmp_path / "objects/00/one").st_ino in inodes
    assert storage.get("objects/00/one") == b"one"
    monkeypatch.undo()
    with pytest.raises(AlreadyExists):
        storage.put_new("objects/00/one", [b"one"])
