"""Near spellings of a person's name: what somebody may have meant who gave a name that the corpus does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import pyarrow.compute as pc

from securedata.corpus.writer import Writer
from securedata.ingest.sources.subjects import near_duplicates

_CLOSE = 0.75
_SHOWN = 5
_COMPARED = 100_000
"""Names that are compared letter by letter, which takes 10 us each."""


def near_spellings(name: str, names: Iterable[str]) -> list[str]:
    """The names most like `name`, at most five: first those that differ in case, blanks or punctuation only."""
    listed = sorted(set(names) - {name})
    loose = [other for group in near_duplicates([name, *listed]) if name in group for other in group if other != name]
    folded = {other.casefold(): other for other in listed[:_COMPARED]}
    close = difflib.get_close_matches(name.casefold(), folded, n=_SHOWN, cutoff=_CLOSE)
    return list(dict.fromkeys([*loose, *(folded[one] for one in close)]))[:_SHOWN]


def people_of(writer: Writer) -> set[str]:
    """The names of all people in a corpus.

    Raises:
        as `Writer.read_table`
    """
    tables = (writer.read_table(part, ("subjects",)) for part in writer.refresh().parts)
    return {name for table in tables for name in pc.unique(pc.list_flatten(table.column("subjects"))).to_pylist()}
