"""A horizon in the future, as a prune under a wrong clock leaves it: nothing goes round, and it can be set back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference, resolve
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.horizon import shown
from securedata.corpus.state.retired import DELAY
from securedata.corpus.writer import Writer
from securedata.errors import HorizonInFuture
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import content, fill, row, table, writer_of
from tests.kit.hooked import Hooked, Unlisted
from tests.kit.sources.recordings import write_clips

HOUR = 3600.0


@pytest.fixture
def corpus(corpus: Reference, place: MemoryStorage) -> Reference:
    fill(writer_of(corpus, place), "old/1", "old/2")
    return corpus


def set_horizon(writer: Writer, horizon: float) -> None:
    """As a prune under another clock does."""

    def change(attempt: Try) -> Next[None]:
        return Next(None, {"horizon": horizon})

    writer.transact(change)


def under_a_wrong_clock(corpus: Reference, place: MemoryStorage, hours: float) -> None:
    """A removal, an abandoned object and a prune, at a time that has not come yet."""
    writer = writer_of(corpus, place)
    place.clock += hours * HOUR
    writer.put_object([b"abandoned"])
    writer.commit(remove=["old/2"])
    prune(writer)
    place.clock -= hours * HOUR


def findings(corpus: Reference, place: MemoryStorage) -> list[str]:
    return sorted(one.error for one in verify(corpus, storage=place, threads=1).findings)


# ------------------------------------------------------------------------------------------------------------- writers


@pytest.mark.parametrize("deed", ["add", "replace", "remove", "update"])
@pytest.mark.parametrize("seconds", [1, 2 * HOUR, 10 * 365 * 24 * HOUR])
def test_nothing_new_is_committed_under_a_horizon_in_the_future(
    deed: str, seconds: float, corpus: Reference, place: MemoryStorage
) -> None:
    writer = writer_of(corpus, place)
    set_horizon(writer, place.clock + seconds)
    before = place.objects["head"]
    words = {**current(corpus, place)["old/1"], "transcript": "words"}
    deeds: dict[str, Callable[[], object]] = {
        "add": lambda: writer.commit(table(row(writer, "new", content("new")))),
        "replace": lambda: writer.commit(table(row(writer, "old/1", b"other")), replace=True),
        "remove": lambda: writer.commit(remove=["old/1"]),
        "update": lambda: writer.commit(update=table(words)),
    }
    with pytest.raises(HorizonInFuture, match=r"memory://corpus .* --prune --reset-horizon"):
        deeds[deed]()
    assert place.objects["head"] == before


def test_a_horizon_that_storage_has_just_reached_is_none_of_the_future(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    set_horizon(writer, place.clock)
    fill(writer, "new")
    assert writer.commit(remove=["old/1"]).removed == 1
    assert sorted(current(corpus, place)) == ["new", "old/2"]


def test_a_prune_that_was_suspended_takes_no_later_one_for_a_wrong_clock(
    corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suspended() -> float:
        monkeypatch.undo()  # once
        asked = place.now()
        place.clock += 40 * HOUR
        prune(writer_of(corpus, place))
        return asked

    writer = writer_of(corpus, place)
    monkeypatch.setattr(place, "now", suspended)
    prune(writer)
    assert writer.refresh().horizon == place.clock - DELAY


def test_what_seals_nothing_can_be_committed(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    set_horizon(writer, place.clock + 100 * HOUR)
    writer.commit(settings={"subject": "one"})
    assert writer.commit_wraps(lambda opened: opened.head.wraps).settings == {"subject": "one"}
    assert len(open_quietly(corpus, place)) == 2, "nor does it keep anybody from reading"


def test_stale_rows_are_stale_rows_under_a_horizon_of_the_past(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))
    place.clock += 30 * HOUR
    prune(writer_of(corpus, place))
    assert writer.commit(rows).stale == ["new"]


# --------------------------------------------------------------------------------------------------------------- prune


def test_a_plain_prune_neither_moves_it_nor_deletes(corpus: Reference, place: MemoryStorage) -> None:
    under_a_wrong_clock(corpus, place, 96)
    in_flight = writer_of(corpus, place).put_object([b"in flight"])
    before = dict(place.objects)
    for _ in range(2):
        with pytest.raises(HorizonInFuture, match=shown(place.clock + 72 * HOUR)):
            prune(writer_of(corpus, place))
    assert place.objects == before
    assert any(in_flight.object_id.hex() in key for key in before)


def test_a_horizon_that_goes_ahead_under_the_prune(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)

    def overtake(call: str, key: str) -> None:
        if call == "replace":
            storage.before = lambda call, key: None
            set_horizon(other, place.clock + 5 * HOUR)

    storage.before = overtake
    with pytest.raises(HorizonInFuture):
        prune(writer)
    assert look(corpus, place).head.horizon == place.clock + 5 * HOUR


def test_a_reset_sets_it_a_day_behind_storage(corpus: Reference, place: MemoryStorage) -> None:
    under_a_wrong_clock(corpus, place, 96)
    assert findings(corpus, place) == ["HorizonInFuture", "LeavingInFuture", "StoredInFuture"]
    before = verify(corpus, storage=place, threads=1).findings
    in_flight = writer_of(corpus, place).put_object([b"in flight"])
    report = prune(writer_of(corpus, place), reset_horizon=True)
    head = look(corpus, place).head
    assert report.horizon == head.horizon == place.clock - DELAY
    assert [one.time for one in head.retired] == [place.clock], "it leaves now, and is there for a day"
    assert [one.error for one in before if not report.done_with(one)] == ["StoredInFuture"]
    assert any(in_flight.object_id.hex() in key for key in place.objects)
    fill(writer_of(corpus, place), "new")
    assert sorted(current(corpus, place)) == ["new", "old/1"]
    place.clock += 25 * HOUR
    prune(writer_of(corpus, place))
    assert findings(corpus, place) == ["StoredInFuture"]
    place.clock += 100 * HOUR
    prune(writer_of(corpus, place))
    assert findings(corpus, place) == []


def test_a_reset_moves_nothing_back_that_is_not_in_the_future(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    writer.commit(remove=["old/1"])
    left = writer.head.retired
    for horizon in (place.clock, place.clock - 1, place.clock - DELAY + 1):
        set_horizon(writer, horizon)
        assert prune(writer_of(corpus, place), reset_horizon=True).horizon == horizon
    assert look(corpus, place).head.retired == left
    set_horizon(writer, place.clock - 2 * DELAY)
    assert prune(writer_of(corpus, place), reset_horizon=True).horizon == place.clock - DELAY
    set_horizon(writer, place.clock + 1)
    assert prune(writer_of(corpus, place), reset_horizon=True).horizon == place.clock - DELAY


@pytest.mark.parametrize("kind", [Hooked, Unlisted])
@pytest.mark.parametrize("how", ["add", "replace", "reseal"])
def test_what_that_prune_deleted_is_not_committed_after_a_reset(
    how: str, kind: type[Hooked], corpus: Reference, place: MemoryStorage
) -> None:
    """Its writer never saw the horizon by which it was deleted."""
    writer = writer_of(corpus, kind(place))
    path = "new" if how == "add" else "old/1"
    data = b"other" if how == "replace" else content(path)
    rows = table(row(writer, path, data))
    under_a_wrong_clock(corpus, place, 96)
    prune(writer_of(corpus, place), reset_horizon=True)
    later = table(row(writer, "later", content("later")))
    outcome = writer.commit(rows, replace=how == "replace", reseal=how == "reseal")
    assert (outcome.stale, outcome.added) == ([path], 0)
    assert writer.commit(later).added == 1, "what is there is not sealed again"
    assert writer.commit(table(row(writer, path, data)), replace=True, reseal=how == "reseal").added == 1
    assert open_quietly(corpus, place).read(path) == data
    assert open_quietly(corpus, place).read("later") == content("later")


def test_a_part_that_such_a_prune_deleted_between_two_tries_is_made_again(
    corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    words = {**current(corpus, place)["old/1"], "transcript": "words"}

    def meanwhile(call: str, key: str) -> None:
        if call == "replace":
            storage.before = lambda call, key: None
            other = writer_of(corpus, place)
            place.clock += 96 * HOUR
            prune(other)
            place.clock -= 96 * HOUR
            prune(writer_of(corpus, place), reset_horizon=True)

    storage.before = meanwhile
    assert writer.commit(update=table(words)).updated == 1
    assert current(corpus, place)["old/1"]["transcript"] == "words"
    assert open_quietly(corpus, place).read("old/1") == content("old/1")


def test_objects_are_looked_for_only_where_the_horizon_moved(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = [table(row(writer, path, content(path))) for path in ("new/1", "new/2")]

    def looked() -> int:
        return sum(call == "get_ranges" for call, _ in storage.calls)

    before = looked()
    writer.commit(rows[0])
    assert looked() == before
    prune(writer_of(corpus, place))
    writer.commit(rows[1])
    assert looked() == before + 1
    fill(writer, "new/3")
    storage.calls.clear()
    writer.commit(table(row(writer, "new/4", content("new/4"))))
    assert looked() == 1, "to be read back when it was put"


# -------------------------------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize(("seconds", "found"), [(HOUR - 1, False), (HOUR, False), (HOUR + 1, True)])
def test_verify_reports_what_is_an_hour_ahead(
    seconds: float, found: bool, corpus: Reference, place: MemoryStorage
) -> None:
    writer = writer_of(corpus, place)
    writer.commit(remove=["old/1"])

    def change(attempt: Try) -> Next[None]:
        retired = tuple(replace(one, time=place.clock + seconds) for one in attempt.head.retired)
        return Next(None, {"horizon": place.clock + seconds, "retired": retired})

    writer.transact(change)
    place.put_new(f"objects/00/{'0' * 32}", [b"?"])
    place.objects[f"objects/00/{'0' * 32}"] = (b"?", place.clock + seconds)
    assert findings(corpus, place) == (["HorizonInFuture", "LeavingInFuture", "StoredInFuture"] if found else [])


def test_a_time_that_no_calendar_has() -> None:
    assert "seconds since 1970" in shown(1e300)
    assert shown(0) == "1970-01-01 00:00:00 UTC"


# ------------------------------------------------------------------------------------------------------------ commands


def test_the_commands(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wavs = write_clips(tmp_path / "wavs")
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    writer = Writer(resolve("sealed"))
    set_horizon(writer, writer.storage.now() + 30 * 24 * HOUR)
    objects = len(list((tmp_path / "sealed" / "objects").rglob("*")))

    assert run("encrypt", wavs, "sealed", *PATTERN).code == 0, "there is nothing to seal"
    (tmp_path / "more" / "ann").mkdir(parents=True)
    (tmp_path / "more" / "ann" / "new.wav").write_bytes(next(iter(wavs.rglob("*.wav"))).read_bytes())
    refused = run("encrypt", tmp_path / "more", "sealed", *PATTERN)
    assert refused.code == 1
    assert "--prune --reset-horizon" in refused.err
    assert len(list((tmp_path / "sealed" / "objects").rglob("*"))) == objects, "and nothing was sealed before"

    found = run("verify", "sealed", "--json")
    assert found.code == 1
    assert [one["error"] for one in json.loads(found.out)["findings"]] == ["HorizonInFuture"]
    assert run("verify", "sealed", "--prune").code == 1
    assert run("verify", "sealed", "--reset-horizon").code == 2
    assert writer.refresh().horizon > writer.storage.now()
    mended = run("verify", "sealed", "--prune", "--reset-horizon", "--json")
    assert (mended.code, json.loads(mended.out)["ok"]) == (0, True)
    assert run("encrypt", tmp_path / "more", "sealed", *PATTERN).code == 0
    assert run("verify", "sealed").code == 0


def test_an_ingest_under_which_the_horizon_goes_ahead_ends(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wavs = write_clips(tmp_path / "wavs")
    assert run("init", "./sealed", "--name", "sealed").code == 0
    real = LocalStorage.make_durable
    other = Writer(resolve("sealed"))

    def overtaken(self: LocalStorage) -> None:
        if self is not other.storage and other.head.horizon == 0:
            set_horizon(other, other.storage.now() + 7 * HOUR)
        real(self)

    monkeypatch.setattr(LocalStorage, "make_durable", overtaken)
    refused = run("encrypt", wavs, "sealed", *PATTERN)
    assert refused.code == 1
    assert "--prune --reset-horizon" in refused.err
    assert other.refresh().rows == 0
