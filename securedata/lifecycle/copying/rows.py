"""Rows that are handed on, and what a later run has to do with each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from securedata.corpus.objects.put import Put
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import CUT, FEATURES, SCHEMA, STORAGE_COLUMNS
from securedata.corpus.writer import Writer
from securedata.lifecycle.copying.objects import Original
from securedata.lifecycle.deriving.rows import WORDS, Row, fingerprint, first_object, rows_there

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
_MANIFEST = ("path", *_RECORDING, *WORDS)


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
        copied: of each row that was handed on: its source's first object id, and digests of recording and words.
        own: paths of its other rows.
    """

    copied: dict[str, tuple[bytes, bytes, bytes]] = field(default_factory=dict, repr=False)
    own: set[str] = field(default_factory=set, repr=False)


def there(writer: Writer) -> There:
    """What the other corpus has. Raises as `Writer.read_table`."""
    found = There()
    for row in rows_there(writer, (*_MANIFEST, "derived_from")):
        if row["derived_from"] is None:
            found.own.add(row["path"])
        else:
            recording, words = (fingerprint(row[name] for name in names) for names in (_RECORDING, WORDS))
            found.copied[row["path"]] = row["derived_from"], recording, words
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


def to_copy(corpus: Corpus, objects: Iterable[Original], there: There) -> Todo:
    """Compare the rows of objects with those that the other corpus has. All rows of an object are done alike."""
    todo = Todo()
    for one in objects:
        paths = [corpus.index.path(row) for row in one.rows]
        if not there.own.isdisjoint(paths):
            todo.conflicts += one.rows
            continue
        known = [there.copied.get(path) for path in paths]
        now = [_digests(corpus, row) for row in one.rows]
        if any(old is None or old[:2] != new[:2] for old, new in zip(known, now, strict=True)):
            todo.objects.append(one)
            todo.replaced.update(path for path, old in zip(paths, known, strict=True) if old is not None)
            continue
        for row, old, new in zip(one.rows, known, now, strict=True):
            if old == new:
                todo.unchanged += 1
            else:
                todo.words.append(row)
    return todo


def other_words(corpus: Corpus, there: There, rows: Iterable[int]) -> list[int]:
    """Those rows whose recording the other corpus has, with other words or consent."""
    found = []
    for row in rows:
        known = there.copied.get(corpus.index.path(row))
        if known is not None and known != (now := _digests(corpus, row)) and known[:2] == now[:2]:
            found.append(row)
    return found


def _digests(corpus: Corpus, row: int) -> tuple[bytes, bytes, bytes]:
    recording, words = (fingerprint(corpus.index.values(names, row)) for names in (_RECORDING, WORDS))
    return first_object(corpus, row), recording, words
