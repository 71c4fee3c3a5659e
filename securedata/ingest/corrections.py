"""Rows to correct: their recording is unchanged, but its description is not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import DESCRIPTIVE, OPTIONAL, set_optional
from securedata.corpus.writer import Writer
from securedata.ingest.classify import classify, mentioned_by


def corrected(table: pa.Table, updates: Mapping[int, bytes], writer: Writer) -> tuple[pa.Table | None, list[int]]:
    """The rows of the corpus, with the descriptions that their sources give.

    Args:
        table: all sources.
        updates: source rows, each with the digest of its object's content.

    Returns:
        The rows, and the sources whose row is gone or holds another recording by now, so that they do not describe it.
    """
    if not updates:
        return None, []
    rows, digests = list(updates), pa.array(updates.values(), pa.binary(32))
    sources = table.take(pa.array(rows))
    known = classify(sources, writer.refresh(), writer.read_table, replace=False, checksum=True, where_only=True)
    pieces, same = [], np.zeros(len(rows), dtype=bool)
    for number in np.unique(known.part[known.part >= 0]):
        at = np.flatnonzero(known.part == number)
        piece = writer.read_table(known.parts[number], None).take(pa.array(known.row[at]))
        right = pc.equal(piece.column("source_sha256"), digests.take(pa.array(at)))
        same[at] = right.to_numpy(zero_copy_only=False)
        piece, new = piece.filter(right), mentioned_by(sources.take(pa.array(at)).filter(right))
        for name in DESCRIPTIVE:
            if name in OPTIONAL.names:
                piece = set_optional(piece, name, new.column(name))
                continue
            position = piece.schema.get_field_index(name)
            piece = piece.set_column(position, piece.schema.field(position), new.column(name))
        pieces.append(piece)
    changed = [rows[at] for at in np.flatnonzero(~same).tolist()]
    return pa.concat_tables(pieces, promote_options="default") if pieces else None, changed
