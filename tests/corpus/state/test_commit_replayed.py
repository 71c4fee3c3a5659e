"""A conditional write that landed and was answered no: an intermediary sent it twice, and we hear of the second try."""

from __future__ import annotations

from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state import commit
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.writer_lease import WriterLease
from securedata.errors import (
    AccessDenied,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, whole
from tests.kit.corpora.rows import content, fill, row, table, writer_of
from tests.kit.hooked import Faults, Hooked

pytestmark = pytest.mark.usefixtures("no_waiting")

NO = [PreconditionFailed, NotFound, AccessDenied, SessionExpired, InvalidArgument]  # the last: of a redirect


@pytest.fixture
def corpus(corpus: Reference, place: MemoryStorage) -> Reference:
    fill(writer_of(corpus, place), "kept/1", "kept/2")
    return corpus


# --------------------------------------------------------------------------------------------------------- the head


@pytest.mark.parametrize("answer", NO)
@pytest.mark.parametrize("others", [0, 1, 63])
def test_a_head_that_landed_is_ours_whatever_was_answered(
    answer: type[SecuredataError], others: int, corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))

    def replayed(call: str, key: str) -> None:
        if call == "replace":
            storage.after = lambda call, key: None
            for number in range(others):
                other.commit(settings={"number": number})
            raise answer("no")

    storage.after = replayed
    before = look(corpus, place).head.generation
    outcome = writer.commit(rows)
    assert (outcome.added, outcome.unchanged) == (1, 0)
    assert outcome.committed == set(rows.column("object_id").to_pylist())
    assert look(corpus, place).head.generation == before + 1 + others, "one commit"
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_a_head_that_landed_at_the_last_try_is_found(
    corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "_TRIES", 1)
    storage = Hooked(place, after=Faults("replace", error=PreconditionFailed))
    fill(writer_of(corpus, storage), "new")
    whole(corpus, place, "kept/1", "kept/2", "new")


@pytest.mark.parametrize("answer", [AccessDenied, UnsafeStorage, InvalidArgument])
def test_a_head_that_was_refused_and_did_not_land_is_the_refusal(
    answer: type[SecuredataError], corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place, before=Faults("replace", error=answer))
    writer = writer_of(corpus, storage)
    with pytest.raises(answer):
        fill(writer, "new")
    assert sum(call == "replace" for call, _ in storage.calls) == 1
    whole(corpus, place, "kept/1", "kept/2")


@pytest.mark.parametrize("answer", [PreconditionFailed, StorageUnreachable, AccessDenied, InvalidArgument])
def test_what_nobody_could_look_for_is_neither_deleted_nor_committed_again(
    answer: type[SecuredataError], corpus: Reference, place: MemoryStorage
) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))

    def away(call: str, key: str) -> None:
        if call == "get_versioned":
            raise StorageUnreachable("the line is cut")

    def replayed(call: str, key: str) -> None:
        if call == "replace":
            storage.before = away
            raise answer("no")

    storage.after = replayed
    with pytest.raises(OutcomeUnknown, match="run it again"):
        writer.commit(rows)
    storage.before = storage.after = lambda call, key: None
    writer_of(corpus, place).commit(remove=["new"])  # its object leaves, and readers have it for a day
    writer.discard(rows.column("object_id").to_pylist())
    assert writer.commit(rows).stale == ["new"]
    assert object_key(rows.column("object_id")[0].as_py()) in place.objects
    whole(corpus, place, "kept/1", "kept/2")


def test_refusals_without_another_head_leave_the_outcome_unknown(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "new", content("new")))
    storage.before = Faults("replace", 1000, error=PreconditionFailed)
    with pytest.raises(OutcomeUnknown, match="shows no other commit"):
        writer.commit(rows)
    storage.before = lambda call, key: None
    assert writer.commit(rows).stale == ["new"], "one of them may still be under way"


@pytest.mark.parametrize("when", ["committed", "run"])
def test_ctrl_c_behind_a_head_that_landed_leaves_its_objects(
    when: str, corpus: Reference, place: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(corpus, place)
    rows = table(row(writer, "new", content("new")))
    owner: Any = WriterLease if when == "committed" else commit.Transaction
    real = getattr(owner, when)

    def interrupted(*given: Any) -> None:
        real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, when, interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.commit(rows)
    writer.commit(rows)  # as an ingest does that was interrupted
    writer.discard(rows.column("object_id").to_pylist())
    whole(corpus, place, "kept/1", "kept/2", "new")


def test_no_way_to_a_discard_deletes_what_the_head_names(corpus: Reference, place: MemoryStorage) -> None:
    writer, other = writer_of(corpus, place), writer_of(corpus, place)
    rows = [row(writer, path, content(path)) for path in ("new/1", "new/2", "left")]
    other.commit(table(*rows[:2]))  # by a way that this writer does not know of
    ids = [one["object_id"] for one in rows]
    writer.discard(ids)
    whole(corpus, place, "kept/1", "kept/2", "new/1", "new/2")
    assert ids[2].hex() not in "".join(place.objects), "what nothing names is deleted"


def test_a_discard_that_cannot_read_the_head_deletes_nothing(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer = writer_of(corpus, storage)
    rows = table(row(writer, "kept/1", content("kept/1")))  # there already: its new object is not needed
    stored = set(place.objects)
    storage.before = lambda call, key: None

    def away(call: str, key: str) -> None:
        if call == "get_versioned" and storage.calls.count((call, key)) > 2:
            raise StorageUnreachable("the line is cut")

    storage.before = away
    assert writer.commit(rows).unchanged == 1, "that is an orphan, and no failure of the commit"
    assert set(place.objects) == stored
