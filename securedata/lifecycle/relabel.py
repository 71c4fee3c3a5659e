"""Correct what a corpus says of its recordings, from a table, in one commit: words, consent, and who is heard."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.rows.changes import Changes, Plan
from securedata.corpus.rows.checks import CHECKED, refused
from securedata.corpus.rows.inherit import stem, without_consent
from securedata.corpus.schema import CUT, OPTIONAL, SCHEMA, optional
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.labels import CLEARABLE, COLUMNS, CONSENT, Labels, check_clear, read_labels
from securedata.storage.base import Storage

_CHANGED = (*COLUMNS, "extra")
_READ = ("path", "object_id", "start", "source_sha256", *CUT.names, *_CHANGED)
_EXAMPLES = 20

ReadTable = Callable[[TableRef, Sequence[str] | None], pa.Table]
Row = dict[str, Any]


@dataclass(slots=True)
class RelabelReport:
    """What a correction did, or would do.

    Attributes:
        root: of the corpus.
        dry_run: nothing was written.
        generation: of the head that was committed, or, if nothing was, of the one that was read.
        rows: corrected; `columns` counts, for each column, those in which it changed.
        unchanged: rows that say already what the table says.
        examples: path, column, value before and after, of the first changes.
        held: paths of rows that stay, because one of their people is under a hold.
        erased: paths of rows that stay, because the person or consent that the table names was erased or barred.
        changed: paths of rows that stay, because another writer changed or removed them meanwhile.
        lacking: paths of rows that the table must name as well, since they share their object with rows whose people
            it changes. If there are any, nothing was written: add them, or split the objects first.
        derived: pins of corpora that were made from this one. Their rows keep what these said before, people included,
            until they are made again; an erasure that cannot reach them at once does not find a new name there before.
    """

    root: str
    dry_run: bool = False
    generation: int = 0
    rows: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    examples: list[tuple[str, str, Any, Any]] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    changed: list[str] = field(default_factory=list, repr=False)
    lacking: list[str] = field(default_factory=list, repr=False)
    derived: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Does every row of the table say what the table says, except for rows under a hold?"""
        return not (self.erased or self.changed or self.lacking)


def relabel(
    target: str | os.PathLike[str] | Reference,
    table: str | os.PathLike[str] | Mapping[str, Labels],
    *,
    clear: Collection[str] = (),
    keep_consent: bool = False,
    dry_run: bool = False,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> RelabelReport:
    """Correct rows from a table, in one commit. Rows of people under a hold stay.

    All rows of an object name the same people, so a table that changes the people of one of them must name all.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        table: a CSV, TSV, JSON lines or Parquet file with a column `path` and those of `COLUMNS` to correct; or new
            values by logical path and column, as `read_labels` returns them. An empty cell changes nothing.
        clear: columns that are emptied where a row of the table has no value for them.
        keep_consent: where people change, the consent in the row is theirs, too; it was given under another name.
        dry_run: write nothing.
        kms, pin, accept_generation: as `open_corpus` takes them.
        single_writer: as `Writer` takes it.
        storage: used instead of the one that the root names, for tests.

    Raises:
        NoSuchPath: the corpus has no row of a path in the table; `path` is the first one. Nothing was written.
        InvalidArgument: the table cannot be read or names unknown columns; a speaker is not among the people of the
            row; or people would change and their consent stay. Nothing was written.
        as `Writer.transact`
    """
    check_clear(clear)
    reference = resolve(target, kms, pin)
    labels = table if isinstance(table, Mapping) else read_labels(table)
    work = _Relabel(labels, frozenset(clear), keep_consent, reference.root)
    if dry_run:
        dry = DryRun(reference, accept_generation=accept_generation, storage=storage)
        changes = work.changes(dry.head, dry.read_table)
        plan = dry.plan(changes) if changes is not None else None
        return work.report(plan, dry.head, dry_run=True)
    writer = Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)

    def change(attempt: Try) -> Next[Plan | None]:
        changes = work.changes(attempt.head, attempt.read_table)
        if changes is None:
            return Next(None, None)
        plan = attempt.plan(changes)
        return Next(plan, attempt.write(plan, changes) if plan.outcome.changes else None)

    plan = writer.transact(change)
    return work.report(plan, writer.head)


class _Relabel:
    """What a table does to one head; made again for every try.

    The first try notes what the rows said. A later one leaves rows alone that say something else by then in a column
    that the table corrects.
    """

    def __init__(self, labels: Mapping[str, Labels], clear: frozenset[str], keep_consent: bool, root: str) -> None:
        self._labels, self._clear, self._keep_consent, self._root = labels, clear, keep_consent, root
        mentioned = {name for one in labels.values() for name in one} | clear
        if not mentioned:
            raise InvalidArgument(
                f"the table corrects nothing: it needs a column besides 'path' with values ({', '.join(COLUMNS)}), or "
                "--clear COLUMN"
            )
        self._paths = pa.array(list(labels), pa.large_string())
        self._first: dict[str, tuple[Any, ...]] | None = None
        self._begin()

    def _begin(self) -> None:
        self._counts: Counter[str] = Counter()
        self._unchanged = 0
        self._examples: list[tuple[str, str, Any, Any]] = []
        self._erased: list[str] = []
        self._changed: list[str] = []
        self._lacking: list[str] = []
        self._after: dict[str, tuple[Row, Row]] = {}

    def changes(self, head: Head, read_table: ReadTable) -> Changes | None:
        """The rows to rewrite; None if there are none, or not all of an object's. Raises as `relabel`."""
        self._begin()
        seen: dict[str, tuple[Any, ...]] = {}
        for part in head.parts:
            self._look(head, read_table(part, _READ), seen)
        if self._first is None:
            self._first = seen
            for path in self._labels:
                if path not in seen:
                    raise NoSuchPath(
                        f"{self._root} has no row of a path in the table; nothing was changed: 'securedata ls -R' "
                        "lists all paths",
                        path=path,
                    )
        self._changed += [path for path in self._first if path not in seen]
        if self._lacking or not self._after:
            return None
        return Changes(rewrite=self._table())

    def report(self, plan: Plan | None, head: Head, dry_run: bool = False) -> RelabelReport:
        """What the last try did."""
        done = plan.outcome if plan else None
        held = set(done.held) if done else set()
        if not self._lacking:
            for path, (before, after) in self._after.items():
                if path in held:
                    continue
                for name in COLUMNS:
                    if before[name] != after[name]:
                        self._counts[name] += 1
                        if len(self._examples) < _EXAMPLES:
                            self._examples.append((path, name, before[name], after[name]))
        return RelabelReport(
            root=self._root,
            dry_run=dry_run,
            generation=head.generation,
            rows=done.rewritten if done else 0,
            columns={name: self._counts[name] for name in COLUMNS if self._counts[name]},
            unchanged=self._unchanged,
            examples=self._examples,
            held=done.held if done else [],
            erased=[*self._erased, *(done.erased if done else ())],
            changed=self._changed,
            lacking=self._lacking,
            derived=[one["pin"] for one in head.derived] if done and done.rewritten else [],
        )

    def _look(self, head: Head, view: pa.Table, seen: dict[str, tuple[Any, ...]]) -> None:
        named = pc.is_in(view.column("path"), value_set=self._paths).to_numpy(zero_copy_only=False)
        if not named.any():
            return
        ids = view.column("object_id")
        shared = pc.is_in(ids, value_set=pc.unique(ids.filter(pa.array(named)))).to_numpy(zero_copy_only=False)
        rows = _rows(view.take(pa.array(np.flatnonzero(shared))))
        after: dict[str, Row] = {}
        for row in rows:
            path = row["path"]
            if path not in self._labels:
                continue
            seen[path] = self._state(row)
            if self._first is not None and self._first.get(path) != seen[path]:
                self._changed.append(path)
            else:
                after[path] = self._corrected(row)
        self._check_people(rows, after)
        self._refuse(head, rows, after)
        for row in rows:
            new = after.get(row["path"])
            if new == row:
                self._unchanged += 1
            elif new is not None:
                self._after[row["path"]] = (row, new)

    def _state(self, row: Row) -> tuple[Any, ...]:
        """What must not have changed meanwhile: the recording, its people, and what the table corrects."""
        names = {"object_id", "subjects", *self._labels[row["path"]], *self._clear}
        return tuple(row[name] for name in sorted(names))

    def _corrected(self, row: Row) -> Row:
        labels = self._labels[row["path"]]
        new = {**row, **{name: _EMPTY.get(name) for name in self._clear}, **labels}
        if set(new["subjects"]) == set(row["subjects"]):
            new["subjects"] = row["subjects"]
        elif not self._keep_consent:
            kept = [
                name for name in CONSENT if row[name] is not None and name not in labels and name not in self._clear
            ]
            if kept:
                raise InvalidArgument(
                    f"the people of a row change, and its consent ({', '.join(kept)}) is of those before: give these "
                    "columns in the table, empty them with --clear, or pass --keep-consent if only a name was "
                    "misspelt; nothing was changed",
                    path=row["path"],
                )
            new["extra"] = without_consent(row["extra"])
        if "speaker" in labels and labels["speaker"] not in new["subjects"]:
            raise InvalidArgument(
                "a speaker is not among the people of the row: give them all in the column 'subjects', for an erasure "
                "finds a person's recordings by it; nothing was changed",
                path=row["path"],
            )
        if new["subjects"] is not row["subjects"] and new["speaker"] not in new["subjects"]:
            new["speaker"] = ""
        if not new["speaker"] and len(new["subjects"]) == 1:
            new["speaker"] = new["subjects"][0]
        new["utterance"] = new["utterance"] or stem(row["path"])
        return new

    def _check_people(self, rows: list[Row], after: dict[str, Row]) -> None:
        """All rows of an object must name the same people afterwards, so they change together or not at all."""
        people: dict[bytes, set[frozenset[str]]] = {}
        for row in rows:
            people.setdefault(row["object_id"], set()).add(frozenset(after.get(row["path"], row)["subjects"]))
        for object_id in [id for id, found in people.items() if len(found) > 1]:
            group = [row for row in rows if row["object_id"] == object_id]
            if changed := {row["path"] for row in group} & set(self._changed):
                others = [path for row in group if (path := row["path"]) in after and path not in changed]
                self._changed += others
                for path in others:
                    del after[path]
                continue
            lacking = [row["path"] for row in group if "subjects" not in self._labels.get(row["path"], {})]
            self._lacking += lacking or [row["path"] for row in group]

    def _refuse(self, head: Head, rows: list[Row], after: dict[str, Row]) -> None:
        """Leave rows alone whose new person or consent was erased or barred, with all rows of their object."""
        moved = [
            row
            for row in rows
            if (new := after.get(row["path"])) and any(new[name] != row[name] for name in ("subjects", "consent_id"))
        ]
        if not moved:
            return
        gone = {moved[i]["object_id"] for i in refused(head, _table_of([after[row["path"]] for row in moved], CHECKED))}
        for row in rows:
            if row["object_id"] in gone and row["path"] in after:
                self._erased.append(row["path"])
                del after[row["path"]]

    def _table(self) -> pa.Table:
        new = [row for _, row in self._after.values()]
        names = [
            name for name in _CHANGED if any(before[name] != after[name] for before, after in self._after.values())
        ]
        table = _table_of(new, ("path", *names))
        return table.append_column("old_id", pa.array([row["object_id"] for row in new], pa.binary(16)))


_EMPTY: Row = {name: "" for name in CLEARABLE if name in SCHEMA.names and not SCHEMA.field(name).nullable}


def _rows(view: pa.Table) -> list[Row]:
    for name in OPTIONAL.names:
        if name in _READ and name not in view.schema.names:
            view = view.append_column(OPTIONAL.field(name), optional(view, name))
    rows: list[Row] = view.select(list(_READ)).to_pylist()
    return rows


def _table_of(rows: list[Row], names: Sequence[str]) -> pa.Table:
    fields = [(SCHEMA if name in SCHEMA.names else OPTIONAL).field(name) for name in names]
    return pa.table([pa.array([row[one.name] for row in rows], one.type) for one in fields], schema=pa.schema(fields))
