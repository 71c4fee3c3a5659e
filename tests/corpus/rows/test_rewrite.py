"""Rows that leave one object for several: all rows of an object change together, or none."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import OPTIONAL, SCHEMA
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look
from tests.kit.corpora.rows import DAY, make, table, writer_of

KINDS = {field.name: field.type for field in (*SCHEMA, *OPTIONAL)} | {"old_id": pa.binary(16)}


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def corpus(place: MemoryStorage) -> Reference:
    return make(place)


@pytest.fixture
def writer(corpus: Reference, place: MemoryStorage) -> Writer:
    """Of a corpus with one object of ann and ben, in two rows."""
    pen = writer_of(corpus, place)
    put = pen.put_object([b"both"]).columns()
    one = {"format": "WAV", "source_mtime_ns": 1, "frames": 9, "subjects": ["ann", "ben"], **put}
    pen.commit(table(*({"path": f"both/{at}", **one, "start": at, "frames_in_segment": 1} for at in range(2))))
    return pen


def apart(writer: Writer, *people: str, same: bool = False) -> pa.Table:
    """Each row to an object of its own, of one person; or both to the same."""
    puts = [writer.put_object([name.encode()]).columns() for name in people]
    rows = [
        {"path": path, "old_id": row["object_id"], **puts[0 if same else at], "subjects": [people[at]]}
        for at, (path, row) in enumerate(current(writer.reference, writer.storage).items())
    ]
    return pa.table({name: pa.array([row[name] for row in rows], KINDS[name]) for name in rows[0]})


def test_each_row_has_its_object_and_its_people(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    lists: list[set[bytes]] = []
    outcome = writer.rewrite(apart(writer, "ann", "ben"), leaving=lambda ids: lists.append(set(ids)))
    assert (outcome.rewritten, len(outcome.committed)) == (2, 2)
    assert [row["subjects"] for row in current(corpus, place).values()] == [["ann"], ["ben"]]
    assert lists == [{one.table.id for one in look(corpus, place).head.retired}]


def test_two_people_do_not_share_the_new_object(writer: Writer) -> None:
    with pytest.raises(InvalidArgument, match="would name different people"):
        writer.rewrite(apart(writer, "ann", "ben", same=True))


def stays(corpus: Reference, place: MemoryStorage, outcome: Outcome) -> bool:
    """No row has changed, and no new object is left."""
    objects = [key for key in keys_of(place) if key.startswith("objects/")]
    people = [row["subjects"] for row in current(corpus, place).values()]
    return (outcome.rewritten, people, len(objects)) == (0, [["ann", "ben"]] * 2, 1)


def test_one_that_a_prune_took_keeps_both(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    new = apart(writer, "ann", "ben")
    writer._uncommitted.times[new.column("object_id")[1].as_py()] -= 5 * DAY
    place.clock += 3 * DAY
    writer_of(corpus, place).commit_horizon()
    writer._uncommitted.times[new.column("object_id")[0].as_py()] += 3 * DAY
    outcome = writer.rewrite(new)
    assert outcome.stale == ["both/0", "both/1"]
    assert [row["subjects"] for row in current(corpus, place).values()] == [["ann", "ben"]] * 2


@pytest.mark.parametrize("barred", ["consent", "recording"])
def test_one_that_is_barred_keeps_both(corpus: Reference, place: MemoryStorage, writer: Writer, barred: str) -> None:
    new = apart(writer, "ann", "ben")
    digests = pa.array([b"d" * 32, b"e" * 32], pa.binary(32))
    new = new.append_column("recording_sha256", digests)  # a column that the part does not have
    tagger = Tagger(writer.head.secret)
    tag = tagger.consent("ben", None) if barred == "consent" else tagger.recording(b"e" * 32)
    writer.transact(lambda attempt: Next(None, {"barred": (tag,)}))
    outcome = writer.rewrite(new)
    assert outcome.erased == ["both/0", "both/1"]
    assert stays(corpus, place, outcome)


def test_all_rows_can_be_refused(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    tries: list[int] = []

    def refuse(attempt: Try) -> Any:
        tries.append(attempt.head.generation)
        return range(2)

    assert stays(corpus, place, writer.rewrite(apart(writer, "ann", "ben"), refuse=refuse))
    assert tries == [look(corpus, place).head.generation]
    fresh = {**current(corpus, place)["both/0"], "path": "new", **writer.put_object([b"new"]).columns()}
    outcome = writer.commit(table({name: fresh[name] for name in SCHEMA.names}), refuse=lambda: [0])
    assert outcome.erased == ["new"]
