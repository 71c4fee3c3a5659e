"""What a commit does with objects, and when others commit meanwhile."""

from __future__ import annotations

import os
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows import plan
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.tables import read_table, seal_table
from securedata.corpus.writer import Writer
from securedata.errors import AuthenticationFailed, InvalidArgument, MalformedManifest, StorageUnreachable
from securedata.keys.kms import open_all
from securedata.keys.wraps import wrap_key
from securedata.testing.memory import MemoryStorage
from tests.corpus.state.test_commit import tidy
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, row, table, writer_of
from tests.kit.hooked import Hooked

# ------------------------------------------------------------------------------------------------------------- objects


def test_what_was_discarded_is_never_committed(corpus: Reference, place: MemoryStorage) -> None:
    writer = writer_of(corpus, place)
    one = row(writer, "ann/1.wav", b"words")
    writer.discard([one["object_id"]])
    outcome = writer.commit(table(one))
    assert (outcome.added, outcome.stale) == (0, ["ann/1.wav"])
    assert current(corpus, place) == {}


def test_discard_deletes_only_what_this_writer_put_and_nobody_committed(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    other = writer_of(corpus, place)
    mine, theirs, committed = (
        row(writer, "a", content("a")),
        row(other, "b", content("b")),
        row(writer, "c", content("c")),
    )
    writer.commit(table(committed))
    writer.discard(one["object_id"] for one in (mine, theirs, committed))
    assert [object_key(one["object_id"]) in place.objects for one in (mine, theirs, committed)] == [False, True, True]
    writer.discard([mine["object_id"]])


def test_an_object_is_read_back_before_anybody_relies_on_it(corpus: Reference, place: MemoryStorage) -> None:
    class Faulty(MemoryStorage):
        def put_new(self, key: str, pieces: Any) -> float:
            data = bytearray(b"".join(pieces))
            data[-1] ^= 1
            return super().put_new(key, [data])

    faulty = Faulty()
    faulty.objects = place.objects
    writer = writer_of(corpus, faulty)
    with pytest.raises(AuthenticationFailed):
        writer.put_object([content("a")])
    before = place.objects["head"]
    sound = writer_of(corpus, place)
    rows = table(row(sound, "a", content("a")))
    with pytest.raises(AuthenticationFailed):
        writer.commit(rows)
    assert place.objects["head"] == before, "a part is read back before a head names it"


def test_a_part_that_holds_something_else_than_was_meant_is_never_named(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, "a")
    before = place.objects["head"]
    rows = table(row(writer, "b", content("b")))
    wrong = table(row(writer, "c", content("c")))
    monkeypatch.setattr("securedata.corpus.state.commit.seal_table", lambda _, corpus_id: seal_table(wrong, corpus_id))
    with pytest.raises(MalformedManifest, match="does not read back as it was written"):
        writer.commit(rows)
    assert place.objects["head"] == before


def test_a_source_that_cannot_be_read_is_no_error_of_the_storage(place: MemoryStorage, writer: Writer) -> None:
    def pieces() -> Any:
        yield b"half"
        raise OSError("the source")

    with pytest.raises(OSError, match="the source") as caught:
        writer.put_object(pieces())
    assert type(caught.value) is OSError
    assert not [key for key in place.objects if key.startswith("objects/")]


def test_rows_that_share_an_object_leave_together(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    one = row(writer, "s1", content("long"), start=0, frames_in_segment=5)
    two = {**one, "path": "s2", "start": 5}
    writer.commit(table(one, two))
    writer.commit(remove=["s1"])
    place.clock += DAY
    writer.commit(settings={"any": "commit"})
    assert open_quietly(corpus, place).read("s2") == content("long")
    writer.commit(remove=["s2"])
    place.clock += DAY
    writer.commit(settings={"another": "commit"})
    assert object_key(one["object_id"]) not in place.objects
    tidy(corpus, place)


def test_rows_that_share_an_object_stand_in_one_part(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # else removing those in one part would list the object for deletion that those in the other still need
    monkeypatch.setattr(plan, "MAX_ROWS", 4)
    fill(writer, "before")
    rows = [row(writer, f"single/{number}", content(f"single/{number}")) for number in range(3)]
    shared = row(writer, "shared/0", content("shared"), start=0, frames_in_segment=1)
    rows += [{**shared, "path": f"shared/{number}", "start": number} for number in range(3)]
    assert writer.commit(table(*rows)).added == 6
    head = look(corpus, place).head
    assert all(part.rows <= 4 for part in head.parts)
    holding = [part for part in head.parts if shared["object_id"] in _ids(place, head, part)]
    assert len(holding) == 1
    writer.commit(remove=["shared/0"])
    place.clock += DAY
    writer.commit(settings={"any": "commit"})
    assert open_quietly(corpus, place).read("shared/2") == content("shared")


def test_an_object_has_no_more_rows_than_a_part(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_ROWS", 4)
    shared = row(writer, "shared/0", content("shared"), start=0, frames_in_segment=1)
    with pytest.raises(InvalidArgument, match="more than the 4 of a part"):
        writer.commit(table(*({**shared, "path": f"shared/{number}", "start": number} for number in range(5))))


def _ids(place: MemoryStorage, head: Any, part: Any) -> list[bytes]:
    found: list[bytes] = read_table(place, head.corpus_id, part, ["object_id"]).column("object_id").to_pylist()
    return found


# ----------------------------------------------------------------------------------------------- changes by others


def test_a_change_may_seal_the_next_head_under_a_fresh_key(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "bob/1")
    other = writer_of(corpus, place)
    id, key, old = os.urandom(16), os.urandom(32), writer.head

    def change(attempt: Try) -> Next[str]:
        known = attempt.head
        wraps = wrap_key(open_all(corpus.kms), key, known.corpus_id)
        return Next("done", {"key_id": id, "wraps": wraps, "superseded": (*known.superseded, known.key_id)}, key)

    assert writer.transact(change) == "done"
    assert (writer.head.key_id, writer.head.superseded) == (id, (old.key_id,))
    fill(writer, "ann/2")
    fill(other, "ann/3")
    assert sorted(current(corpus, place)) == ["ann/1", "ann/2", "ann/3", "bob/1"]
    assert look(corpus, place).key == key
    assert writer.unwraps == 1, "whoever made the key does not ask for it"


def test_the_outcome_is_that_of_the_try_that_landed(corpus: Reference, place: MemoryStorage) -> None:
    storage = Hooked(place)
    writer, other = writer_of(corpus, storage), writer_of(corpus, place)
    seen: list[int] = []

    def change(attempt: Try) -> Next[int]:
        seen.append(attempt.head.generation)
        return Next(attempt.head.generation, {"settings": {"seen": attempt.head.generation}})

    def lost(call: str, key: str) -> None:
        if call == "replace" and len(seen) == 2:  # the second try lands, and its answer is lost behind another commit
            storage.after = lambda call, key: None
            other.commit(settings={"other": 1})
            raise StorageUnreachable("the line is cut")

    def busy(call: str, key: str) -> None:
        if call == "replace" and len(seen) == 1:
            other.commit(settings={"other": 0})

    storage.before, storage.after = busy, lost
    assert writer.transact(change) == seen[1]
    assert len(seen) == 2
