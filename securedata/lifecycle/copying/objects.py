"""The objects that are handed on, and reading them through the opened corpus, which decides who may be heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Original:
    """An object to hand on, and its rows by their numbers in the opened corpus."""

    location: Location
    sha256: bytes = field(repr=False)
    rows: tuple[int, ...]


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


def whole_objects(corpus: Corpus, chosen: Mask, shared: dict[bytes, int]) -> tuple[list[Original], list[int]]:
    """The objects all of whose rows are chosen and opened, in the order of their first rows.

    Args:
        chosen: which rows of the corpus.
        shared: by id, the number of rows of each object that several rows name, opened or not.

    Returns:
        The objects, and the rows of those that would hand on other segments, too.
    """
    rows: dict[bytes, list[int]] = {}
    ids = corpus.table.column("object_id").to_pylist()
    for row in np.flatnonzero(chosen).tolist():
        rows.setdefault(ids[row], []).append(row)
    objects, left = [], []
    for id, mine in rows.items():
        if len(mine) < shared.get(id, 1):
            left += mine
        else:
            location = corpus.index.location(mine[0])
            objects.append(Original(location, corpus.index.value("source_sha256", mine[0]), tuple(mine)))
    return objects, left
