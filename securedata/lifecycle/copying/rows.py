"""Rows that are handed on, and what a later run has to do with each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from securedata.corpus.objects.put import Put
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import CUT, FEATURES, SCHEMA, STORAGE_COLUMNS
from securedata.corpus.writer import Writer
from securedata.lifecycle.copying.objects import Groups, Original, Rows
from securedata.lifecycle.deriving.rows import WORDS, Row, columns_of, fingerprint, first_object

_TAKEN = tuple(
    dict.fromkeys(
        (
            *(name for name in SCHEMA.names if name not in ("data_key", *STORAGE_COLUMNS)),
            "last_contact",
            *CUT.names,
            *FEATURES.names,
        )
    )
)
"""What is taken over: all but where the object is, under which key, and when it came in."""

COLUMNS = (*_TAKEN, "origin", "object_id")
"""The columns that the source is opened with."""

_RECORDING = ("source_sha256", "start", "frames_in_segment", "subjects")
_DIGESTED = ("path", *_RECORDING, *WORDS)
_WORDS_AT = 16
"""Where the digest of the words begins."""
_AT_ONCE = 50_000


def row_of_copy(corpus: Corpus, row: int, put: Put) -> Row:
    """The manifest row of a recording that was sealed again."""
    taken = dict(zip(_TAKEN, corpus.index.values(_TAKEN, row), strict=True))
    if taken["recording"] is None:
        for name in CUT.names:
            del taken[name]
    return {**taken, **put.columns(), "derived_from": first_object(corpus, row)}


def row_of_words(corpus: Corpus, row: int) -> Row:
    """A row that only updates words and consent of one that is there; its object and key are never stored."""
    taken = dict(zip(_TAKEN, corpus.index.values(_TAKEN, row), strict=True))
    for name in (*CUT.names, *FEATURES.names):
        del taken[name]
    object_id = corpus.index.value("object_id", row)
    return {**taken, "object_id": object_id, "data_key": bytes(32), "sealed_size": 0, "size": 0}


@dataclass(slots=True)
class There:
    """The rows of the other corpus, by path.

    Attributes:
        copied: digests of the rows that were handed on: see `_digests`.
        own: paths of its other rows.
    """

    copied: dict[str, bytes] = field(default_factory=dict, repr=False)
    own: set[str] = field(default_factory=set, repr=False)


def there(writer: Writer) -> There:
    """What the other corpus has. Raises as `Writer.read_table`."""
    found = There()
    for part in writer.head.parts:
        table = columns_of(writer.read_table(part, None), (*_DIGESTED, "derived_from"))
        firsts = table.column("derived_from").to_pylist()
        paths = table.column("path").to_pylist()
        for path, first, digest in zip(paths, firsts, _digests(table), strict=True):
            if first is None:
                found.own.add(path)
            else:
                found.copied[path] = digest
    return found


@dataclass(slots=True)
class Todo:
    """What is to be done.

    Attributes:
        objects: to be sealed, with all of their rows.
        words: rows whose words or consent have changed.
        replaced: paths of rows that exist, and that other ones replace.
        conflicts: rows where the other corpus has a recording of its own.
        unchanged: how many rows are as they should be.
    """

    objects: list[Original] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set, repr=False)
    conflicts: list[int] = field(default_factory=list)
    unchanged: int = 0


def to_copy(corpus: Corpus, objects: Groups, there: There) -> Todo:
    """Compare the rows of objects with those that the other corpus has. All rows of an object are done alike."""
    todo = Todo()
    paths, now = _by_row(corpus, objects.rows)
    for rows in objects:
        known = [there.copied.get(paths[row]) for row in rows]
        if not there.own.isdisjoint(paths[row] for row in rows):
            todo.conflicts += rows
        elif any(old is None or old[:_WORDS_AT] != now[row][:_WORDS_AT] for old, row in zip(known, rows, strict=True)):
            todo.objects.append(Original.of(corpus, rows))
            todo.replaced.update(paths[row] for old, row in zip(known, rows, strict=True) if old is not None)
        else:
            other = [row for old, row in zip(known, rows, strict=True) if old != now[row]]
            todo.words += other
            todo.unchanged += len(rows) - len(other)
    return todo


def other_words(corpus: Corpus, there: There, rows: Sequence[int]) -> list[int]:
    """Those rows whose recording the other corpus has, with other words or consent."""
    paths, now = _by_row(corpus, np.array(rows, np.int64))
    known = {row: there.copied.get(paths[row]) for row in rows}
    return [row for row, old in known.items() if old and old != now[row] and old[:_WORDS_AT] == now[row][:_WORDS_AT]]


def _by_row(corpus: Corpus, rows: Rows) -> tuple[dict[int, str], dict[int, bytes]]:
    """By row, its path and its digests."""
    paths: dict[int, str] = {}
    digests: dict[int, bytes] = {}
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        table = columns_of(corpus.table.take(pa.array(some)), _DIGESTED)
        numbers = some.tolist()
        paths.update(zip(numbers, table.column("path").to_pylist(), strict=True))
        digests.update(zip(numbers, _digests(table), strict=True))
    return paths, digests


def _digests(table: pa.Table) -> Iterator[bytes]:
    """For each row a digest of the recording and its people, and one of words and consent.

    The source's object is not among them: sealed again or ingested again, a recording is the same.
    """
    recordings, words = (
        zip(*(table.column(name).to_pylist() for name in names), strict=True) for names in (_RECORDING, WORDS)
    )
    for recording, said in zip(recordings, words, strict=True):
        yield fingerprint(recording) + fingerprint(said)
