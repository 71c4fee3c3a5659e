"""Rows whose recording is as it was and whose words are not: as the corpus has them, with what their sources say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import DESCRIPTIVE
from securedata.corpus.writer import Writer
from securedata.ingest.classify import classify, mentioned_by


def corrected(table: pa.Table, updates: Mapping[int, bytes], writer: Writer) -> tuple[pa.Table | None, list[int]]:
    """The rows as the corpus has them, with what their sources mention in place of what describes them.

    Args:
        table: of all sources.
        updates: source rows, and the digest of what each one's object holds.

    Returns:
        The rows, and the sources whose row went away or holds another recording by now: their words are not that one's.
    """
    if not updates:
        return None, []
    rows, digests = list(updates), pa.array(updates.values(), pa.binary(32))
    sources = table.take(pa.array(rows))
    known = classify(sources, writer.refresh(), writer.read_table, replace=False, checksum=True)
    pieces, same = [], np.zeros(len(rows), dtype=bool)
    for number in np.unique(known.part[known.part >= 0]):
        at = np.flatnonzero(known.part == number)
        piece = writer.read_table(known.parts[number], None).take(pa.array(known.row[at]))
        right = pc.equal(piece.column("source_sha256"), digests.take(pa.array(at)))
        same[at] = right.to_numpy(zero_copy_only=False)
        piece, new = piece.filter(right), mentioned_by(sources.take(pa.array(at)).filter(right))
        for name in DESCRIPTIVE:
            position = piece.schema.get_field_index(name)
            piece = piece.set_column(position, piece.schema.field(position), new.column(name))
        pieces.append(piece)
    changed = [rows[at] for at in np.flatnonzero(~same).tolist()]
    return pa.concat_tables(pieces, promote_options="default") if pieces else None, changed
