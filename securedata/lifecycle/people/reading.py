"""Read the current head and its rows, whatever their consent, to count and to list; no object is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.schema import OPTIONAL, SCHEMA, with_optional
from securedata.corpus.state.head import Head
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.tables import part_missing, read_table
from securedata.errors import NotFound, PartMissing
from securedata.keys.kms import retry_throttled
from securedata.lifecycle.select import ByPerson
from securedata.storage.base import Storage

_TRIES = 4
_T = TypeVar("_T")


class Current:
    """A head that was current when it was read, and its rows.

    Attributes:
        head: it.
        reference: the corpus.
        now: seconds since the epoch, by this host's clock or storage's, whichever is later.
    """

    def __init__(self, reference: Reference, storage: Storage, head: Head, now: float) -> None:
        self.reference, self.head, self.now = reference, head, now
        self._storage = storage

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """These columns of each part; those that a part of an earlier version lacks are missing.

        Raises:
            PartMissing: the head was replaced meanwhile: `read_current` starts over.
            FormatError, MalformedManifest, StorageError
        """
        for part in self.head.parts:
            try:
                yield read_table(self._storage, self.head.corpus_id, part, columns)
            except NotFound as error:
                raise part_missing(self.reference.root, part) from error

    def rows_of(
        self, tags: Iterable[bytes], columns: Sequence[str], look: Callable[[pa.Table], object] | None = None
    ) -> pa.Table:
        """The rows of people, by their subject tags. Columns of OPTIONAL that a part lacks are null.

        Args:
            columns: with `subjects`.
            look: called with the whole of each part.

        Raises:
            as `tables`
        """
        select = ByPerson(tags)
        found = []
        for table in self.tables(columns):
            if look is not None:
                look(table)
            rows = table.filter(pa.array(select.hits(self.head, table)))
            for name in columns:
                rows = rows if name in SCHEMA.names else with_optional(rows, name)
            found.append(rows.select(columns))
        fields = [SCHEMA.field(one) if one in SCHEMA.names else OPTIONAL.field(one) for one in columns]
        return pa.concat_tables([pa.schema(fields).empty_table(), *found])


def read_current(
    reference: Reference,
    use: Callable[[Current], _T],
    *,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> _T:
    """What `use` makes of the current head and its rows; it is called again if the head is replaced meanwhile.

    Raises:
        PartMissing: storage does not have a part that the newest head names.
        as `open_corpus`
    """
    connection = connect(reference, storage=storage)
    lease = HeadLease(reference, connection, 3600.0, 600.0, accept_generation=accept_generation)
    missing: PartMissing | None = None
    for _ in range(_TRIES):
        head = retry_throttled(lease.open).head
        if missing is not None and any(part.id == missing.object_id for part in head.parts):
            break
        try:
            return use(Current(reference, lease.storage, head, lease.now()))
        except PartMissing as error:  # the head was replaced while its parts were read: start over
            missing = error
    assert missing is not None
    raise missing
