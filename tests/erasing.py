"""An erasure as part 5 will do it, as far as readers see it: rows and tombstone in one commit, then the objects go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from securedata.corpus.commit import Writer
from securedata.corpus.head import OpenedHead, Tombstone
from securedata.corpus.leaving import object_key
from securedata.corpus.plan import Changes, make_plan
from securedata.corpus.schema import SCHEMA
from securedata.keys.tags import Tagger
from tests.kit import Root


def erase(root: Root, *people: str) -> None:
    """Erase these people from a corpus."""
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.load(part, None).to_pylist()]
    gone = [row for row in rows if set(people) & set(row["subjects"])]
    tagger = Tagger(writer.head.secret)

    def attempt(opened: OpenedHead) -> dict[str, Any]:
        changes = Changes(SCHEMA.empty_table(), 0, tuple(row["path"] for row in gone))
        updates = writer._parts(opened.head, make_plan(opened.head, changes, writer.load), changes, {})
        stones = [Tombstone(tagger.tag(name), opened.head.generation + 1) for name in people]
        return {**updates, "tombstones": (*opened.head.tombstones, *stones)}

    writer._commit(attempt)
    delete(writer, [row["object_id"] for row in gone])


def delete(writer: Writer, object_ids: Sequence[bytes]) -> None:
    """Delete objects from storage."""
    for object_id in object_ids:
        writer.storage.delete(object_key(object_id))


def lose(root: Root, *paths: str) -> None:
    """Delete the objects of these paths behind the corpus's back."""
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.load(part, ["path", "object_id"]).to_pylist()]
    delete(writer, [row["object_id"] for row in rows if row["path"] in paths])
