"""How many rows of each manifest part a reader gets: from the head, or by reading the columns that decide."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.checks import restricted_rows
from securedata.corpus.rows.index import matching
from securedata.corpus.rows.loading import Look, Options, SpokenBy, without_others
from securedata.corpus.schema import OTHER, SCHEMA, columns_of
from securedata.corpus.state.consent import COLUMNS as CONSENT
from securedata.corpus.state.consent import Admission, LeftOut
from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.state.tables import count_others
from securedata.keys.tags import Tagger

_SIZES = ("sealed_size", "pack")
_NUMBER = "number in the part"
"""A column beside those of the manifest."""

Read = Callable[[Sequence[int], Sequence[str] | None], Iterator[pa.Table]]
"""Reads parts by their numbers, in this order, and the columns to decode; None: all."""

ALWAYS = 0.0
"""A time at which no consent has ended: which rows a reader numbers must not depend on when it asks."""


class Counts(NamedTuple):
    """What a plan needs to know of a corpus.

    Attributes:
        rows: int64 [P], the rows of each part that the filters and the recorded purposes leave.
        exact: whether parts were read for it; if not, these are all rows that the options want as far as the head says,
            some of which might turn out to be closed.
        mean: bytes on storage of an object, about.
        packed: whether objects lie in packs, as far as one part shows.
        left_out: rows that were left out because of consent or a restriction; those whose consent has ended are
            numbered, and found later.
        formats: of the rows that were read, each once.
        chosen: a checksum over which rows of each part are left; 0 if these are all.
        others: rows of files that are neither recordings nor features, if these are left out.
    """

    rows: np.ndarray[Any, np.dtype[np.int64]]
    exact: bool
    mean: float
    packed: bool
    left_out: LeftOut
    formats: frozenset[str]
    chosen: int = 0
    others: int = 0


def admission_of(head: Head, options: Options) -> Admission:
    """Which rows are numbered, whatever the time."""
    return Admission(options.purpose, ALWAYS, restricted_rows(head))


def columns_to_count(head: Head, options: Options) -> tuple[str, ...] | None:
    """The columns that decide which rows there are; None: all, since the filter uses unknown ones."""
    used = tuple(name for name in columns_of(options.filter) if name != "data_key")  # which no filter sees
    if OTHER in used or any(name not in SCHEMA.names for name in used):
        return None
    more = ("speaker",) if options.speakers is not None else ()
    return tuple(dict.fromkeys((*used, *more, *_kept_columns(head))))


def _kept_columns(head: Head) -> tuple[str, ...]:
    """Columns that are looked at once the rows are chosen."""
    people = ("subjects",) if head.restricted else ()
    return (*people, *CONSENT, *_SIZES, "format")  # which also tells which rows are of other files


def counted(head: Head, options: Options, read: Read, look: Look | None) -> Counts:
    """Count by the head alone, if all rows count, else part by part.

    Args:
        look: called with the rows of each part that is read, before the filter.
    """
    others = 0 if options.others else sum(part.others for part in head.parts)
    rows = _by_head(head, options)
    chosen = options.filter is not None or options.speakers is not None
    if not len(rows) or not rows.sum():
        return Counts(rows, True, 1.0, False, LeftOut(), frozenset(), 0, others)
    if not chosen and options.purpose is None and not head.restricted:
        one = int(rows.argmax())
        sample = next(read([one], ("format", *_SIZES, *CONSENT)))
        if not options.others:
            sample, _ = without_others(sample)
        if admission_of(head, options).admit(sample) is None:
            return Counts(rows, False, _mean(sample), _packed(sample), LeftOut(), _formats(sample), 0, others)
    return _by_part(head, options, read, look)


def _by_head(head: Head, options: Options) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([part.rows - (0 if options.others else part.others) for part in head.parts], np.int64)


def numbers_recordings(part: TableRef, options: Options, exact: bool) -> bool:
    """Whether rows of a part are numbered without those of other files; if not, these are closed, or wanted too.

    By the head alone that is so where it counts them: a writer that knew nothing of them did not.
    """
    return not options.others and (exact or part.others > 0)


def kept_tables(
    head: Head,
    options: Options,
    read: Read,
    columns: Sequence[str],
    admission: Admission | None = None,
    look: Look | None = None,
    exact: bool = True,
) -> Iterator[pa.Table]:
    """The rows of each part that are numbered, with these columns and some others, but without keys.

    Args:
        look: called with the rows of each part before the filter.
        exact: `Counts.exact`, of the counts that number them.
    """
    deciding = columns_to_count(head, options)
    spoken_by = None if options.speakers is None else SpokenBy(options.speakers, Tagger(head.secret))
    wanted = None if deciding is None else tuple(dict.fromkeys((*deciding, *columns)))
    admission = admission or admission_of(head, options)
    used = columns_of(options.filter)
    kept_columns = (*columns, *_kept_columns(head), _NUMBER)
    for number, table in enumerate(read(range(len(head.parts)), wanted)):
        if "data_key" in table.schema.names:
            table = table.drop_columns("data_key")
        if look is not None:
            look(table)
        if numbers_recordings(head.parts[number], options, exact):
            table, _ = without_others(table)
        table = table.append_column(_NUMBER, pa.array(np.arange(table.num_rows, dtype=np.int32)))
        if spoken_by is not None:
            table = spoken_by(table)
        if options.filter is not None:
            rows = matching(table, options.filter, used)
            table = table.select([name for name in table.schema.names if name in kept_columns])
            table = table.take(rows) if len(rows) < table.num_rows else table
        kept = admission.admit(table) if exact else None
        yield table if kept is None else table.filter(kept)


def _by_part(head: Head, options: Options, read: Read, look: Look | None) -> Counts:
    admission = admission_of(head, options)
    rows, means, packed, chosen, others = [], [], False, 0, 0

    def look_and_count(table: pa.Table) -> None:
        nonlocal others
        others += 0 if options.others else count_others(table)
        if look is not None:
            look(table)

    formats: frozenset[str] = frozenset()
    for table in kept_tables(head, options, read, (), admission, look_and_count):
        rows.append(table.num_rows)
        chosen = zlib.crc32(table.column(_NUMBER).to_numpy().astype("<i4").tobytes(), chosen)
        if table.num_rows:
            means.append(table.num_rows * _mean(table))
            packed = packed or _packed(table)
            formats |= _formats(table)
    mean = max(1.0, sum(means) / max(1, sum(rows)))
    if sum(rows) == _by_head(head, options).sum():
        chosen = 0
    return Counts(np.array(rows, np.int64), True, mean, packed, admission.left_out, formats, chosen, others)


def _mean(table: pa.Table) -> float:
    return max(1.0, float(pc.mean(table.column("sealed_size")).as_py() or 1.0))


def _packed(table: pa.Table) -> bool:
    column = table.column("pack")
    return bool(2 * column.null_count < len(column))


def _formats(table: pa.Table) -> frozenset[str]:
    return frozenset(pc.unique(table.column("format")).to_pylist())
