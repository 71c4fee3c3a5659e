"""Which rows a dataset has had open since it was made, and whose they are: for the lineage of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.rows.index import Index
from securedata.corpus.rows.memfd import spawning
from securedata.lineage.record import Entry

_GONE = pa.schema([("row", pa.large_string()), ("seconds", pa.float64())])


class OpenedRows:
    """The rows that were open and are no more, and the generations; shared by a dataset and its shallow copies.

    What is open now is looked at only when it is asked for, so it costs nothing before.
    """

    def __init__(self, corpora: Sequence[_Opened] = ()) -> None:
        self._corpora = list(corpora)

    def note(self, corpora: Sequence[Corpus]) -> None:
        """Called after a corpus may have opened newer rows: those that it left stay in the account."""
        for number, corpus in enumerate(corpora):
            if number == len(self._corpora):
                self._corpora.append(_Opened(corpus.generation))
            self._corpora[number].note(corpus)

    def entries(self, corpora: Sequence[Corpus], record: str) -> list[Entry]:
        """The entries of a lineage record with this id, one for each corpus."""
        self.note(corpora)
        return [opened.entry(corpus, record) for corpus, opened in zip(corpora, self._corpora, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        # a process that is started goes on; any other pickle names nobody, and whoever reads it opens rows of its own
        return OpenedRows, (self._corpora,) if spawning() else ()


class _Opened:
    """Of one corpus."""

    def __init__(self, generation: int) -> None:
        self._generations = (generation, generation)
        self._index: Index | None = None
        self._gone = _GONE.empty_table()
        self._people = pa.array([], pa.large_string())

    def __getstate__(self) -> tuple[Any, ...]:
        return self._generations, self._gone, self._people

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._generations, self._gone, self._people = state
        self._index = None

    def note(self, corpus: Corpus) -> None:
        before, now = self._index, corpus.index
        first, last = self._generations
        self._generations = min(first, corpus.generation), max(last, corpus.generation)
        if before is None or before is now:
            self._index = now
            return
        rows = pa.concat_tables([self._gone, _rows(before.table)])
        self._gone = rows.filter(pc.invert(pc.is_in(rows.column("row"), value_set=_names(now.table).combine_chunks())))
        self._people = pc.unique(pa.concat_arrays([self._people, _people(before.table)]))
        self._index = now

    def entry(self, corpus: Corpus, record: str) -> Entry:
        table = corpus.table
        people = pc.unique(pa.concat_arrays([self._people, _people(table)])).to_pylist()
        return Entry(
            record=record,
            corpus=corpus.corpus_id.hex(),
            pin=corpus.pin,
            generations=self._generations,
            filter=corpus.filtered_by,
            purpose=corpus.purpose,
            rows=len(corpus) + self._gone.num_rows,
            seconds=round(sum(pc.sum(one).as_py() or 0.0 for one in (seconds_of(table), self._gone["seconds"])), 3),
            people=tuple(sorted(set(corpus.tagger().in_lineage(bytes.fromhex(record), people)))),
        )


def _rows(table: pa.Table) -> pa.Table:
    return pa.table([_names(table), seconds_of(table)], schema=_GONE)


def _names(table: pa.Table) -> pa.ChunkedArray:
    """A name for each row that stays over a refresh, also if its object was sealed again: its path, and its size."""
    sizes = table.column("size").cast(pa.large_string())
    return pc.binary_join_element_wise(table.column("path"), sizes, pa.scalar("\0", pa.large_string()))


def _people(table: pa.Table) -> pa.Array:
    """Each person of these rows once; no Python object for a row."""
    names = pc.unique(table.column("subjects").combine_chunks().flatten())
    return names.cast(pa.large_string())
