"""An erasure as readers see it: rows go and tombstones come in one commit, then the objects are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from securedata.corpus.rows.changes import Changes
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from tests.kit.corpora.recorded import Root


def erase(root: Root, *people: str) -> None:
    """Erase these people from a corpus."""
    writer = Writer(root.reference)
    delete(writer, writer.transact(partial(without, people)))


def without(people: Sequence[str], attempt: Try) -> Next[list[bytes]]:
    """The change of an erasure: the people's rows go and tombstones come. Its outcome: the ids of their objects."""
    rows = [row for part in attempt.head.parts for row in attempt.read_table(part, None).to_pylist()]
    gone = [row for row in rows if set(people) & set(row["subjects"])]
    tagger, dead = Tagger(attempt.head.secret), {one.tag for one in attempt.head.tombstones}
    stones = [Tombstone(tag, attempt.head.generation + 1) for name in people if (tag := tagger.tag(name)) not in dead]
    if not stones and not gone:
        return Next([], None)
    changes = Changes(SCHEMA.empty_table(), remove=tuple(row["path"] for row in gone))
    members = attempt.write(attempt.plan(changes), changes)
    return Next([row["object_id"] for row in gone], {**members, "tombstones": (*attempt.head.tombstones, *stones)})


def delete(writer: Writer, object_ids: Sequence[bytes]) -> None:
    """Delete objects from storage."""
    for object_id in object_ids:
        writer.storage.delete(object_key(object_id))


def lose(root: Root, *paths: str) -> None:
    """Delete the objects of these paths behind the corpus's back."""
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.read_table(part, ["path", "object_id"]).to_pylist()]
    delete(writer, [row["object_id"] for row in rows if row["path"] in paths])
