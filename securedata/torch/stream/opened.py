"""Whose rows a stream has open: for the lineage of models."""

from __future__ import annotations

import pyarrow.compute as pc

from securedata.corpus.parts.reader import PartwiseCorpus
from securedata.corpus.rows.durations import seconds_of
from securedata.lineage.record import Entry

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
