"""Whose rows a stream has open, for the lineage of models, and which rows they are, for states."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.parts.reader import PartwiseCorpus
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.schema import optional
from securedata.lineage.record import Entry
from securedata.torch.stream.planning.hashing import hashes
from securedata.torch.stream.planning.plan import Mask

Marks = np.ndarray[Any, np.dtype[np.uint64]]

_COLUMNS = ("subjects", "frames", "frames_in_segment", "sample_rate")


def entry_of(corpus: PartwiseCorpus, record: str) -> Entry:
    """The entry of a lineage record with this id for one corpus. Raises as `PartwiseCorpus.open_part`"""
    rows, seconds, people = 0, 0.0, set[str]()
    for table in corpus.tables(_COLUMNS):
        rows += table.num_rows
        seconds += pc.sum(seconds_of(table)).as_py() or 0.0
        people.update(pc.unique(table.column("subjects").combine_chunks().flatten()).to_pylist())
    return Entry(
        record=record,
        corpus=corpus.corpus_id.hex(),
        pin=corpus.pin,
        generations=(corpus.generation, corpus.generation),
        filter=corpus.filtered_by,
        purpose=corpus.purpose,
        rows=rows,
        seconds=round(seconds, 3),
        people=tuple(sorted(set(corpus.tagger().in_lineage(bytes.fromhex(record), sorted(people))))),
    )


def marks_of(rows: pa.Table) -> Marks:
    """uint64 [N]: a mark of each row that stays when a commit moves it: of the object, where its segment begins, and
    which piece it is of a recording that was split, for such pieces share their first object."""
    # a recording that was sealed again keeps the id of its first object
    ids = pc.coalesce(optional(rows, "origin"), rows.column("object_id")).combine_chunks()
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.chunk(0) if ids.num_chunks else pa.array([], pa.binary(16))
    bytes_ = np.frombuffer(ids.buffers()[1] or b"", np.uint8)[16 * ids.offset : 16 * (ids.offset + len(ids))]
    starts = pc.fill_null(rows.column("start"), -1).to_numpy()
    # an id is random, so half of it is as good as a hash
    found: Marks = bytes_.reshape(-1, 16)[:, :8].copy().view("<u8").reshape(-1) ^ hashes(0, starts)
    return found ^ _of_pieces(optional(rows, "recording"))


def _of_pieces(recordings: pa.ChunkedArray) -> Marks:
    """uint64 [N]: a hash of the text that says which piece of which recording a row is; 0 where there is none."""
    texts = pa.chunked_array(recordings.chunks, pa.large_string()).combine_chunks().dictionary_encode()
    digests = [
        hashlib.blake2b(one.encode(errors="surrogatepass"), digest_size=8) for one in texts.dictionary.to_pylist()
    ]
    known = np.array([0, *(int.from_bytes(one.digest(), "little") for one in digests)], np.uint64)
    found: Marks = known[pc.fill_null(pc.add(texts.indices, 1), 0).to_numpy(zero_copy_only=False)]
    return found


def seen_among(marks: Marks, seen: bytes) -> Mask:
    """Which of these marks are among those of a state."""
    sorted_ = np.frombuffer(seen, "<u8")
    if not len(sorted_):
        return np.zeros(len(marks), bool)
    found: Mask = sorted_[np.minimum(np.searchsorted(sorted_, marks), len(sorted_) - 1)] == marks
    return found
