"""A commit whose answer was lost, or that failed halfway: what it did is found out, and running it again is safe."""

from __future__ import annotations

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state import writer_lease
from securedata.corpus.writer import Writer
from securedata.errors import CommitRace, ConfigError, OutcomeUnknown, PreconditionFailed, StorageUnreachable
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, whole
from tests.kit.corpora.rows import content, fill, row, table, writer_of
from tests.kit.hooked import Faults, Hooked

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def corpus(corpus: Reference, place: MemoryStorage) -> Reference:
    fill(writer_of(corpus, place), "kept/1", "kept/2")
    return corpus


# ---------------------------------------------------------------------------------------------------- a lost answer


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("landed", [True, False])
def test_a_lost_answer_is_found_in_the_head(landed: bool, times: int, corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))
    faults = Faults("replace", times)
    if landed:
        storage.after = faults
    else:
        storage.before = faults
    before = look(corpus, place).head.generation
    outcome = writer.commit(rows)
    assert (outcome.added, outcome.committed) == (1, set(rows.column("object_id").to_pylist()))
    assert look(corpus, place).head.generation == before + 1, "one commit, however often it was tried"
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("others", [1, 5, 63])
def test_a_lost_answer_is_found_behind_the_commits_of_others(
    others: int, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))

    def lost(call: str, key: str) -> None:
        if call == "replace":
            storage.after = lambda call, key: None
            for number in range(others):
                other.commit(settings={"number": number})
            raise StorageUnreachable("the line is cut")

    storage.after = lost
    before = look(corpus, place).head.generation
    assert writer.commit(rows).added == 1
    assert look(corpus, place).head.generation == before + 1 + others
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("landed", [True, False])
def test_more_than_64_generations_on_the_outcome_is_unknown(
    landed: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))

    def lost(call: str, key: str) -> None:
        if call == "replace":
            storage.before = storage.after = lambda call, key: None
            for number in range(64 + (not landed)):
                other.commit(settings={"number": number})
            raise StorageUnreachable("the line is cut")

    if landed:
        storage.after = lost
    else:
        storage.before = lost
    with pytest.raises(OutcomeUnknown, match="run it again"):
        writer.commit(rows)
    outcome = writer.commit(rows)
    assert outcome.stale == ["new"], "its object may be named by a head: it is never committed again"
    assert not outcome.committed
    outcome = writer.commit(table(row(writer, "new", content("new"))))
    assert (outcome.added, outcome.unchanged) == ((0, 1) if landed else (1, 0))
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("lost_by", ["others", "an answer in vain"])
def test_only_a_try_without_an_answer_is_in_doubt(lost_by: str, corpus: Reference, place: MemoryStorage) -> None:
    # lost 70 times against others, each time by an answer; then one answer is lost, and the next look resolves it
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))
    tries = 0

    def busy(call: str, key: str) -> None:
        nonlocal tries
        if call == "replace":
            tries += 1
            if tries <= 70:
                other.commit(settings={"number": tries})
            elif tries == 71 and lost_by == "an answer in vain":
                raise StorageUnreachable("the line is cut")

    storage.before = busy
    assert writer.commit(rows).added == 1
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_a_late_write_is_found_by_the_try_that_loses_to_it(corpus: Reference, place: MemoryStorage) -> None:
    # the first try's answer is lost, and its effect comes only after the head was looked at again
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))
    held: list[tuple[bytes, str | None]] = []
    real = place.replace

    def replace(key: str, data: bytes | bytearray | memoryview, version: str | None) -> None:
        if not held:
            held.append((bytes(data), version))
            raise StorageUnreachable("the line is cut")
        place.replace = real  # type: ignore[method-assign]  # the late write lands just before the second try
        real(key, *held[0])
        real(key, data, version)

    place.replace = replace  # type: ignore[method-assign]  # a line that is slow rather than cut
    assert writer.commit(rows).added == 1
    whole(corpus, place, "kept/1", "kept/2", "new")


# ---------------------------------------------------------------------------------------- a storage that stays away


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("silence", ["get_versioned", "replace"])
def test_a_storage_that_stays_away_leaves_the_outcome_unknown(
    silence: str, landed: bool, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))

    def away(call: str, key: str) -> None:
        if call in ("replace", "get_versioned", "get"):
            raise StorageUnreachable("the line is cut")

    def lost(call: str, key: str) -> None:
        if call == "replace":
            storage.before = away
            raise StorageUnreachable("the line is cut")

    if landed:
        storage.after = lost
    else:
        storage.before = lost
    with pytest.raises(OutcomeUnknown, match="run it again"):
        writer.commit(rows)
    storage.before = storage.after = lambda call, key: None
    again = table(row(writer, "new", content("new")))
    outcome = writer.commit(again)
    assert (outcome.added, outcome.unchanged) == ((0, 1) if landed else (1, 0))
    whole(corpus, place, "kept/1", "kept/2", "new")
    assert silence


def test_a_head_that_cannot_be_replaced_is_told_with_its_cause(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))
    storage.before = Faults("replace", 1000)
    with pytest.raises(StorageUnreachable, match="the line is cut"):
        writer.commit(rows)
    assert sum(call == "replace" for call, _ in storage.calls) == 5
    whole(corpus, place, "kept/1", "kept/2")


# ------------------------------------------------------------------------------- the same rows again, after an error


def doubtful(corpus: Reference, place: MemoryStorage) -> tuple[Hooked, Writer, object]:
    """A commit that landed and whose caller heard an error."""
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))

    def away(call: str, key: str) -> None:
        if call == "get_versioned":
            raise StorageUnreachable("the line is cut")

    def lost(call: str, key: str) -> None:
        if call == "replace":
            storage.before = away
            raise StorageUnreachable("the line is cut")

    storage.after = lost
    with pytest.raises(OutcomeUnknown):
        writer.commit(rows)
    storage.before = storage.after = lambda call, key: None
    return storage, writer, rows


def test_the_same_rows_again_never_delete_what_was_committed(corpus: Reference, place: MemoryStorage) -> None:
    _, writer, rows = doubtful(corpus, place)
    outcome = writer.commit(rows)  # type: ignore[arg-type]  # a table
    assert outcome.added == 0
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_discarding_rows_in_doubt_never_deletes_what_was_committed(corpus: Reference, place: MemoryStorage) -> None:
    _, writer, rows = doubtful(corpus, place)
    writer.discard(rows.column("object_id").to_pylist())  # type: ignore[attr-defined]  # a table
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_the_same_rows_again_never_bring_back_an_object_that_leaves(corpus: Reference, place: MemoryStorage) -> None:
    _, writer, rows = doubtful(corpus, place)
    writer_of(corpus, place).commit(remove=["new"])
    outcome = writer.commit(rows)  # type: ignore[arg-type]  # a table
    assert outcome.stale == ["new"], "its object is listed for deletion"
    for _ in range(3):  # the day passes, and what is due is deleted
        place.clock += 25 * 3600
        writer.commit_horizon()
    whole(corpus, place, "kept/1", "kept/2")


def test_rows_of_a_commit_that_certainly_failed_can_be_committed_again(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))
    storage.before = Faults("put_new", prefix="manifest/")
    with pytest.raises(StorageUnreachable):
        writer.commit(rows)

    def busy(call: str, key: str) -> None:
        if call == "replace":
            other.commit(settings={"busy": other.head.generation})

    storage.before = busy
    with pytest.raises(CommitRace, match="nothing was committed"):
        writer.commit(rows)
    storage.before = lambda call, key: None
    assert writer.commit(rows).added == 1
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_an_interrupt_while_the_head_is_replaced_leaves_it_in_doubt(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))
    storage.after = Faults("replace", error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        writer.commit(rows)
    assert writer.commit(rows).stale == ["new"]
    whole(corpus, place, "kept/1", "kept/2", "new")


# -------------------------------------------------------------------------------- after the head was replaced


@pytest.mark.parametrize("step", ["delete", "remember"])
def test_what_fails_after_the_head_was_replaced_does_not_undo_the_commit(
    step: str, corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "kept/1", content("kept/1")), row(writer, "new", content("new")))
    if step == "delete":
        storage.before = Faults("delete", 100)
    else:

        def full(*_: object, **__: object) -> None:
            raise ConfigError("no space left")

        monkeypatch.setattr(writer_lease, "remember", full)
    outcome = writer.commit(rows)
    assert (outcome.added, outcome.unchanged) == (1, 1)
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_losing_is_not_an_error_that_callers_see(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    lost = []

    def busy(call: str, key: str) -> None:
        if call == "replace" and len(lost) < 20:
            lost.append(key)
            fill(other, f"other/{len(lost)}")

    storage.before = busy
    try:
        fill(writer, "new")
    except PreconditionFailed as error:
        raise AssertionError("a lost race is tried again") from error
    whole(corpus, place, "kept/1", "kept/2", "new", *(f"other/{number}" for number in range(1, 21)))
