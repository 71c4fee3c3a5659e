"""The objects that are handed on, and reading them through the opened corpus, which decides who may be heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.objects.fetch import PIECE, Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.changes import Mask
from securedata.corpus.rows.index import Location
from securedata.errors import (
    ConsentExpired,
    FormatError,
    MalformedManifest,
    ObjectMissing,
    RowReplaced,
    SecuredataError,
    SubjectErased,
    SubjectRestricted,
)
from securedata.format.cobblestone import Buffer
from securedata.ingest.byte_budget import TOTAL

Rows = np.ndarray[Any, np.dtype[np.int64]]
"""Numbers of rows."""


@dataclass(frozen=True, slots=True)
class Original:
    """An object to hand on, and its rows by their numbers in the opened corpus."""

    location: Location
    sha256: bytes = field(repr=False)
    rows: tuple[int, ...]

    @classmethod
    def of(cls, corpus: Corpus, rows: tuple[int, ...]) -> Original:
        return cls(corpus.index.location(rows[0]), corpus.index.value("source_sha256", rows[0]), rows)


class ObjectsOfCorpus:
    """Objects read as any reader reads them: consent, expiry and restrictions hold until each is read."""

    failures: tuple[type[SecuredataError], ...] = (
        FormatError,
        MalformedManifest,
        ObjectMissing,
        RowReplaced,
        SubjectErased,
        SubjectRestricted,
        ConsentExpired,
    )

    def __init__(self, corpus: Corpus) -> None:
        self._corpus, self.root = corpus, corpus.root

    def whole(self, batch: Sequence[Original]) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """As `Objects.whole`."""
        return self._corpus.read_many([Piece(one.rows[0]) for one in batch], TOTAL)

    def pieces(self, one: Original, check: Callable[[], None]) -> Iterator[Buffer]:
        """As `Objects.pieces`."""
        for at in range(0, one.location.size, PIECE):
            check()
            yield self._corpus.read_range(one.rows[0], at, PIECE)


class Groups:
    """Rows of a corpus by object, in the order of the objects' first rows. No Python object per row.

    Attributes:
        rows: the numbers of all these rows, those of an object together.
    """

    def __init__(self, corpus: Corpus, rows: Rows) -> None:
        ids = corpus.table.column("object_id").combine_chunks().dictionary_encode().indices.to_numpy()[rows]
        order = np.argsort(ids, kind="stable")
        starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
        by_first = np.argsort(order[starts], kind="stable")
        lengths = np.diff(starts, append=len(order))[by_first]
        self._ends = np.cumsum(lengths)
        self._begins = self._ends - lengths
        at = np.repeat(starts[by_first] - self._begins, lengths) + np.arange(len(order))
        self.rows: Rows = rows[order[at]]

    def __len__(self) -> int:
        return len(self._begins)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        for begin, end in zip(self._begins.tolist(), self._ends.tolist(), strict=True):
            yield tuple(self.rows[begin:end].tolist())


def whole_objects(corpus: Corpus, chosen: Mask, shared: dict[bytes, int]) -> tuple[Groups, list[int]]:
    """The objects all of whose rows are chosen and opened.

    Args:
        chosen: which rows of the corpus.
        shared: by id, the number of rows of each object that several rows name, opened or not.

    Returns:
        Their rows, and the rows of objects that would hand on other segments, too.
    """
    rows = np.flatnonzero(chosen)
    if not shared:
        return Groups(corpus, rows), []
    ids = corpus.table.column("object_id").take(pa.array(rows))
    several = rows[pc.is_in(ids, value_set=pa.array(list(shared), ids.type)).to_numpy(zero_copy_only=False)]
    left = [
        row
        for mine in Groups(corpus, several)
        if len(mine) < shared[corpus.index.location(mine[0]).object_id]
        for row in mine
    ]
    return Groups(corpus, np.setdiff1d(rows, left)), left
