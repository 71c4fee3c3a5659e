"""See what a commit would do to the current head, with no more rights than reading takes; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from securedata.corpus.config import Reference
from securedata.corpus.connection import connect
from securedata.corpus.rows.changes import Changes, Plan
from securedata.corpus.rows.plan import make_plan
from securedata.corpus.state.head import TableRef
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.live import LiveParts
from securedata.storage.base import Storage


class DryRun:
    """The current head of a corpus and its rows, read as a writer reads them.

    Attributes:
        head: it, opened once.
        storage: where the corpus is.
    """

    def __init__(
        self, reference: Reference, *, accept_generation: int | None = None, storage: Storage | None = None
    ) -> None:
        """Open the head.

        Raises:
            PinRequired: the pin is missing, which the commit itself would need; no request was made.
            as `open_corpus`
        """
        reference.require_pin()
        connection = connect(reference, storage=storage)
        self.head = HeadLease(reference, connection, 0.0, 0.0, accept_generation=accept_generation).open().head
        self.storage = connection.storage
        self._live = LiveParts(self.storage, self.head.corpus_id, reference.root)

    def read_table(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table:
        """Read a part of the head. Raises as `Writer.read_table`."""
        return self._live.read_table(part, columns)

    def plan(self, changes: Changes) -> Plan:
        """What a commit of these changes would do."""
        return make_plan(self.head, changes, self.read_table)
