"""Changes of paths in one corpus that are committed together: files written, copied, moved and removed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pyarrow as pa

from securedata.corpus.objects.put import Put
from securedata.corpus.rows.build import join
from securedata.corpus.rows.changes import Changes, check_objects
from securedata.corpus.rows.checks import held, refused
from securedata.corpus.rows.origin import keyed
from securedata.corpus.rows.plan import CHECK
from securedata.corpus.schema import fit, rows_table
from securedata.corpus.state.commit import Next, Try, orphans
from securedata.corpus.writer import Writer
from securedata.errors import (
    NoSuchPath,
    RowReplaced,
    StorageUnreachable,
    SubjectErased,
    SubjectHeld,
)
from securedata.filesystem.overlay import Overlay, Paths, Written
from securedata.filesystem.writing.content import NO_AUDIO, columns_of_bytes, columns_of_object, reader_of
from securedata.filesystem.writing.pending import Pending, ended, exists
from securedata.filesystem.writing.rows import Found, copied, find_rows, moved, rows_at, siblings, subjects_of
from securedata.format.cobblestone import Buffer
from securedata.printable import plural

SMALL = 4 * 1024 * 1024
"""Bytes of a file up to which it is sealed in one piece, several of them in parallel."""

_WAITING_BYTES = 16 * 1024 * 1024
_WAITING = 64


class Batch:
    """Nothing of it is in the corpus before `commit`, and all of it afterwards. Safe to fill from several threads.

    It compares and swaps: a path that another writer changed, after it was first named here, is an error.
    """

    def __init__(self, writer: Writer, lock: threading.RLock, committed: Callable[[], object]) -> None:
        """`lock` is held to commit through `writer`; `committed` is called after each commit, failed or not."""
        self._writer, self._lock, self._committed = writer, lock, committed
        self._own = threading.RLock()
        self._expected: dict[str, bytes | None] = {}  # by path, the object that it named when it was first named here
        self._pending = Paths[Pending]()
        self._removed = Paths[None]()
        self._waiting: list[tuple[Pending, bytes]] = []
        self._bytes = 0
        self._has_ended = False

    def __len__(self) -> int:
        return len(self._pending) + len(self._removed)

    @property
    def size(self) -> int:
        """Bytes of plaintext that were written or copied."""
        return self._bytes

    @property
    def generation(self) -> int:
        """Of the head that was looked at last."""
        return self._writer.head.generation

    def overlay(self) -> Overlay[Pending]:
        """What is to change, for reads that come before the commit."""
        return Overlay(self._pending, self._removed, self._show)

    def _show(self, one: Pending) -> Written | str:
        return one.source or Written(one.columns, one.size, one.id, partial(self._read, one))

    def _read(self, one: Pending, offset: int, length: int) -> bytearray:
        with self._own:
            waiting = next((data for other, data in self._waiting if other is one), None)
        if waiting is not None:
            return bytearray(waiting[offset : offset + length])
        if one.put is None:
            raise NoSuchPath("the file was dropped with its transaction", root=self._writer.root)
        return bytearray(reader_of(self._writer.storage, self._writer.corpus_id, one.put)(offset, length))

    # ------------------------------------------------------------ what is to change

    def name(self, path: str, subjects: Iterable[str] | None, exclusive: bool = False, fresh: bool = True) -> None:
        """Name a path that will be written. What would refuse its commit refuses it here already, before any upload.

        Args:
            fresh: look at the current head, rather than the newest that this process has seen.

        Raises:
            FileExistsError: with `exclusive`, it exists already.
            SubjectErased, SubjectHeld, StorageError, ...
        """
        with self._own:
            found = self._look([path], fresh).get(path)
            if exclusive and (path in self._pending or (found is not None and path not in self._removed)):
                raise exists()
            head = self._writer.head
            if subjects is not None and refused(head, pa.table({"subjects": [list(subjects)]})):
                raise self._erased([path])
            if found is not None and found.row in held(head, self._writer.read_table(found.part, CHECK)):
                raise self._held([path])

    def write(self, path: str, columns: dict[str, Any], data: bytes) -> None:
        """Put a small file under a path. Raises StorageError"""
        with self._own:
            self._check_open()
            one = Pending({**NO_AUDIO, **columns_of_bytes(path, data), **columns}, size=len(data))
            self._make_room()
            self._place(path, one)
            self._wait(one, data)

    def place(self, path: str, columns: dict[str, Any], put: Put) -> None:
        """Put a sealed object under a path. Raises StorageError, FormatError"""
        about = columns_of_object(path, self._writer.storage, self._writer.corpus_id, put)
        with self._own:
            self._check_open()
            self._place(path, Pending({**NO_AUDIO, **about, **columns}, put, size=put.size))
            self._bytes += put.size

    def copy(self, source: str, object_id: bytes | None, path: str, data: bytes | Iterable[Buffer]) -> None:
        """Put a copy of a row under a path, with its content, sealed again.

        Args:
            object_id: what the row is known to name; None: the source was written here, and has no row yet.

        Raises:
            NoSuchPath, RowReplaced: the row is not there any more, or names another object than `object_id`.
        """
        with self._own:
            self._check_open()
            one = self._copied(source, object_id)
            self._look([path], fresh=False)
            if isinstance(data, bytes):
                self._make_room()
            else:
                one.put = self._writer.put_object(data)
                self._bytes += one.put.size
            self._place(path, one)
            if isinstance(data, bytes):
                self._wait(one, data)

    def move(self, source: str, path: str) -> None:
        """Put a row under another path. Raises NoSuchPath"""
        with self._own:
            self._check_open()
            pending = self._pending.pop(source, None)
            self._look([source, path], fresh=False)
            there = self._expected[source] is not None and source not in self._removed
            if pending is None and not there:
                raise self._missing(source)
            self._place(path, pending or Pending(source=source, is_move=True))
            if self._expected[source] is not None:
                self._removed[source] = None

    def remove(self, path: str) -> None:
        """Take a path out. Raises NoSuchPath"""
        with self._own:
            self._check_open()
            pending = self._pending.pop(path, None)
            self._look([path], fresh=False)
            if self._expected[path] is not None and path not in self._removed:
                self._removed[path] = None
            elif pending is None:
                raise self._missing(path)
            self._drop(pending)

    def _check_open(self) -> None:
        if self._has_ended:
            raise ended()

    def _make_room(self) -> None:
        """Seal what waits, if it is much. Called before another file is taken: an error is of the call that raises it,
        which a caller may go on after, so it must not cost files of earlier calls."""
        if len(self._waiting) >= _WAITING or sum(len(data) for _, data in self._waiting) >= _WAITING_BYTES:
            self._seal()

    def _wait(self, one: Pending, data: bytes) -> None:
        self._waiting.append((one, data))
        self._bytes += len(data)

    def _copied(self, path: str, object_id: bytes | None) -> Pending:
        if object_id is None:
            written = self._pending.get(path)
            if written is None or written.source is not None:
                raise self._missing(path)
            return Pending(dict(written.columns), size=written.size)
        self._look([path], fresh=False)
        if self._expected[path] is None:
            raise self._missing(path)
        if self._expected[path] != object_id:
            raise self._replaced(path)
        return Pending(source=path)

    def _place(self, path: str, one: Pending) -> None:
        self._drop(self._pending.pop(path, None))
        self._pending[path] = one

    def _drop(self, one: Pending | None) -> None:
        if one is None:
            return
        self._waiting = [(other, data) for other, data in self._waiting if other is not one]
        if one.put is not None:
            self.delete([one.put.object_id])

    def delete(self, object_ids: list[bytes]) -> None:
        """Delete objects that were sealed for it, unless a commit names them or might."""
        with self._lock, orphans():
            self._writer.discard(object_ids)

    def refresh(self) -> None:
        """Look at the current head, once for what is named next with `fresh` False. Raises as `Writer.refresh`."""
        with self._lock:
            self._writer.refresh()

    def _look(self, paths: list[str], fresh: bool) -> dict[str, Found]:
        with self._lock:
            head = self._writer.refresh() if fresh else self._writer.head
            found = find_rows(head, self._writer.read_table, paths)
        for path in paths:
            self._expected.setdefault(path, found[path].object_id if path in found else None)
        return found

    # ------------------------------------------------------------ the commit

    def _seal(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            for at, put in self._writer.put_objects(data for _, data in waiting):
                waiting[at][0].put = put
        finally:  # what could not be put is tried again by the next call or by the commit
            self._waiting = [(one, data) for one, data in waiting if one.put is None]

    def commit(self, last: bool = False) -> None:
        """Commit everything in one step, or nothing of it; then the batch is empty.

        Args:
            last: take nothing afterwards: what another thread is about to add is refused, rather than forgotten.

        Raises:
            RowReplaced: another writer changed one of the paths meanwhile. Nothing was committed.
            SubjectErased, SubjectHeld: the same, and nothing was committed.
            as `Writer.transact`
        """
        with self._own:
            self._has_ended = last
            if not self:
                return
            try:
                self._seal()
                with self._lock:
                    self._writer.transact(self._change)
            finally:
                self._committed()  # after an error too: another writer, or this commit, might have changed the corpus
                # What no head names is deleted at once, rather than by a prune: after an error, or if a row with the
                # same content and people was there already and kept its object.
                self.discard()

    def discard(self, last: bool = False) -> None:
        """Drop everything; objects that were sealed for it, and that no commit names, are deleted. `last`: as in
        `commit`."""
        with self._own:
            self._has_ended = self._has_ended or last
            ids = [one.put.object_id for one in self._pending.values() if one.put is not None]
            self._clear()
            self.delete(ids)

    def _clear(self) -> None:
        self._expected, self._pending, self._removed = {}, Paths(), Paths()
        self._waiting, self._bytes = [], 0

    def _change(self, attempt: Try) -> Next[None]:
        sources = {one.source for one in self._pending.values() if one.source is not None}
        touched, removed = {*self._pending, *sources}, set(self._removed)
        found = find_rows(attempt.head, attempt.read_table, touched | removed)
        for path in touched | removed:
            now = found[path].object_id if path in found else None
            if now != self._expected[path] and (now is not None or path in touched):  # else it is gone, as it should be
                raise self._replaced(path)
        puts = [one.put.object_id for one in self._pending.values() if one.put is not None]
        times = self._writer.put_times(puts, attempt.head)
        add, remove = self._rows(attempt, found)
        if attempt.head.data_keys_since:
            add = keyed(add, times, attempt.head.generation)
        changes = Changes(add, remove=tuple(sorted(remove)), replace=True, put_times=times)
        plan = attempt.plan(changes)
        outcome = plan.outcome
        if outcome.erased:
            raise self._erased(outcome.erased)
        if outcome.held:
            raise self._held(outcome.held)
        if outcome.stale:
            raise StorageUnreachable(
                f"{plural(len(outcome.stale), 'object')} that waited for this commit to {self._writer.root} were "
                "deleted or lost meanwhile; nothing was committed: write the files again",
                root=self._writer.root,
            )
        return Next(None, attempt.write(plan, changes) if outcome.changes else None)

    def _rows(self, attempt: Try, found: dict[str, Found]) -> tuple[pa.Table, set[str]]:
        """The rows to add, and the paths to take out first: a row that is added does not inherit from those."""
        remove = {path for path in self._removed if path in found}
        written, copies, moves = [], list[tuple[str, str, Put]](), dict[str, str]()
        for path, one in self._pending.items():
            if one.source is None:
                assert one.put is not None
                written.append({"path": path, **one.put.columns(), **one.columns})
                if path in found and subjects_of(found[path], attempt.read_table) != set(one.columns["subjects"]):
                    remove.add(path)  # the words are those of other people
                continue
            if path in found:  # what is copied or moved there brings its own words
                remove.add(path)
            if one.is_move:
                moves[one.source] = path
            elif one.put is not None:
                copies.append((one.source, path, one.put))
        tables = [fit(rows_table(written))]
        if copies:
            rows = rows_at({found[source] for source, _, _ in copies}, attempt.read_table)
            tables.append(fit(copied(rows, copies)))
        if moves:
            places = [found[source] for source in moves]
            others = siblings(places, attempt.read_table, {*moves, *remove, *self._pending})
            tables.append(fit(moved(rows_at(places, attempt.read_table), moves)))
            tables.append(rows_at(others.values(), attempt.read_table))
            remove |= set(others)
        add = join(tables)
        check_objects(add)
        return add, remove

    # ------------------------------------------------------------ refusals

    def _missing(self, path: str) -> NoSuchPath:
        root = self._writer.root
        return NoSuchPath(f"no such file in {root}; nothing was changed", root=root, path=path)

    def _replaced(self, path: str) -> RowReplaced:
        root = self._writer.root
        return RowReplaced(
            f"another writer changed a path in {root} after this began to change it; nothing was committed: look at "
            "it, and write it again",
            root=root,
            path=path,
        )

    def _erased(self, paths: list[str]) -> SubjectErased:
        root = self._writer.root
        return SubjectErased(
            f"the person, or the recording, was erased from {root} and is not taken in again; nothing was committed. "
            "'securedata erase --readmit' admits a person who consents anew",
            root=root,
            path=paths[0],
        )

    def _held(self, paths: list[str]) -> SubjectHeld:
        root = self._writer.root
        return SubjectHeld(
            f"{plural(len(paths), 'row')} of {root} must stay as they are: a person in them is under a hold; nothing "
            "was committed. 'securedata hold list' shows the cases",
            root=root,
            path=paths[0],
        )
