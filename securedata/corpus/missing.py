"""Why an object that a row names is not on storage."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.head import Head
from securedata.corpus.index import Index
from securedata.corpus.parts import read_table
from securedata.errors import ObjectMissing, RowReplaced, SecuredataError, SubjectErased
from securedata.keys.tags import Tagger
from securedata.storage.base import Storage


def explain_missing(index: Index, i: int, generation: int, storage: Storage, head: Head | None) -> SecuredataError:
    """The error to raise for a row whose object is not there.

    Args:
        index, i: the row.
        generation: of the head that the index was made from.
        head: the current head; None if it was looked at a moment ago.
    """
    root, object_id = storage.url, index.location(i).object_id

    def because(kind: type[SecuredataError], text: str) -> SecuredataError:
        where = f"object {object_id.hex()} of {root}"
        return kind(f"{where} {text}", root=root, object_id=object_id, path=index.path(i))

    if head is None:
        return because(ObjectMissing, "is not on storage; refresh() the dataset, or run 'securedata verify'")
    tagger, tombstones = Tagger(head.secret), {one.tag for one in head.tombstones}
    if any(tagger.tag(name) in tombstones for name in index.value("subjects", i)):
        return because(SubjectErased, "is gone: the person recorded in it was erased; refresh() the dataset")
    for part in head.parts:
        ids = read_table(storage, head.corpus_id, part, ["path", "object_id"]).column("object_id")
        if pc.index(ids, pa.scalar(object_id, pa.binary(16))).as_py() >= 0:
            what = "is named by the current head and not on storage; restore it, or ingest the file again"
            return because(ObjectMissing, what)
    what = f"is gone: its row was replaced or removed since generation {generation}; refresh() the dataset"
    return because(RowReplaced, what)
