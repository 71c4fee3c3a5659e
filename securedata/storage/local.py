"""Storage on a local disk: read by position, written once, committed under a lock.

No link is followed below the root (`beneath`): keys are opened, linked, renamed and listed relative to descriptors.

Durability: `put_new` writes a temporary file beside its key and links it into place, so that a key is whole or absent.
`make_durable` flushes; what it fails to flush is lost (`unflushed`). `replace` holds the lock and writes, in this
order, head.prev, a temporary file with the new head, fsync, rename, fsync of the directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    LimitExceeded,
    NotAFile,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.files import NEW, fsync_folder, link_new, put_in_place, temporary_name, write_all, write_durable
from securedata.foreign.describe import describe
from securedata.forks import Instances
from securedata.storage.base import MAX_REPLACED, Buffer, Entry, Purged, Storage, Wanted, previous_key
from securedata.storage.beneath import NotRegular, Root
from securedata.storage.file_lock import LOCK, clock, locked
from securedata.storage.mounts import REMOTE, file_system
from securedata.storage.purging import check_by_probe, chunks, purge_files, purge_older_files, refused
from securedata.storage.unflushed import Unflushed

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class LocalStorage(Storage):
    """A folder. Safe for many processes on one machine; network file systems are refused for writing."""

    unversioned = True

    def __init__(self, path: str) -> None:
        if not path or "\0" in path:
            raise InvalidArgument("a root must not be empty or contain a NUL character")
        self.path = os.path.abspath(os.path.expanduser(path))
        self.url = self.path
        self._fresh_process()
        _live.add(self)

    def __repr__(self) -> str:
        return f"LocalStorage({self.url!r})"

    def _fresh_process(self) -> None:
        """Drop descriptors and unflushed files: they belong to the process that opened them."""
        self._root: Root | None = None
        self._batch: Unflushed | None = None
        self._lock = threading.Lock()

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> bytes:
        with self._mapped(key):
            fd, size = self._at().read(key)
            try:
                if limit is None or size <= limit:
                    return _within(fd, size, size, 0)
            finally:
                os.close(fd)
        raise LimitExceeded(f"{key} of {self.url} has {size} bytes, above the limit of {limit}", root=self.url)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            fd, size = self._open(key)
            try:
                got = []
                for offset, length in ranges:  # not a comprehension, whose frame costs 3 % of a small read
                    got.append(_within(fd, size, length, offset))
                return got
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(key, error) from None

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """As `Storage.get_many`."""
        for at, (key, offset, length, *_) in enumerate(wanted):
            try:
                fd, size = self._open(key)
                try:
                    got: Buffer | SecuredataError = _within(fd, size, length, offset)
                finally:
                    os.close(fd)
            except OSError as error:
                got = self._error(key, error)
                got.__cause__ = error
            yield at, got

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        data = self.get(key, limit)
        return data, _version(data)

    def _at(self) -> Root:
        """The root, reopened if its path now leads to another folder."""
        root = self._root
        if root is None or not root.is_at(self.path):
            root = self._root = Root(self.path)
        return root

    def _open(self, key: str) -> tuple[int, int]:
        """An object's descriptor and size. The root's path is not checked: opening the head has done that."""
        root = self._root or self._at()
        try:
            return root.read(key)
        except OSError as error:
            if error.errno not in _GONE or root is (there := self._at()):
                raise
            return there.read(key)

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        folder, _, name = key.rpartition("/")
        with self._mapped(key):
            root = self._made()
            at = root.open_folder(folder, make=True)
            try:
                with self._lock:
                    batch = self._batch_of(root)
                    batch.watch(at)
                temporary = temporary_name(name)
                fd = os.open(temporary, NEW, 0o666, dir_fd=at)
            except BaseException:  # re-raised: the descriptor has no owner yet
                os.close(at)
                raise
        try:
            try:
                try:
                    for piece in pieces:  # not mapped: an error of the source is not one of storage
                        try:
                            write_all(fd, piece)
                        except OSError as error:
                            raise self._error(key, error) from None
                    with self._mapped(key):
                        stored = os.fstat(fd).st_mtime_ns / 1e9
                        link_new(temporary, name, at)
                finally:
                    with self._mapped(key), contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=at)
                with self._mapped(key):
                    self._add(root, batch, key, fd)
            finally:
                with self._mapped(key):  # some file systems report a failed write here
                    os.close(fd)
        finally:
            os.close(at)
        return stored

    def _batch_of(self, root: Root) -> Unflushed:
        """The current batch. The caller holds the lock."""
        batch = self._batch
        if batch is not None and batch.root is not root:  # it went to a folder that is no longer the root
            self.lost += 1
            batch = None
        if batch is None:
            batch = self._batch = Unflushed(root)
        return batch

    def _add(self, root: Root, batch: Unflushed, key: str, fd: int) -> None:
        """Add a file to the batch, or flush it now."""
        with self._lock:
            if self._batch is batch and batch.add(key, fd):
                return
        # The batch is full, or it was flushed while the file was written, which took the report of a failed write. The
        # file's own descriptor still has one.
        os.fsync(fd)
        with self._lock:
            self._batch_of(root).add(key, None)

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        parent, _, name = key.rpartition("/")
        with self._mapped(key):
            root = self._made()
            with locked(root, self.url), root.folder(parent, make=True) as folder:
                current = self._current(root, key)
                if (None if current is None else _version(current)) != version:
                    raise PreconditionFailed(f"{key} of {self.url} changed since it was read", root=self.url)
                if current is not None:
                    _swap(folder, previous_key(name), current)
                _swap(folder, name, data)
                try:
                    os.fsync(folder)
                except OSError as error:
                    raise OutcomeUnknown(
                        f"the new {key} of {self.url} is in place, but might not survive a power cut "
                        f"({os.strerror(error.errno or 0)}): check the disk and run it again; what was committed is "
                        "recognised",
                        root=self.url,
                    ) from None

    def _current(self, root: Root, key: str) -> bytes | None:
        try:
            fd, size = root.read(key)
        except FileNotFoundError:
            return None
        try:
            if size > MAX_REPLACED:  # too large to be what the caller read
                raise PreconditionFailed(f"{key} of {self.url} changed: it has {size} bytes", root=self.url)
            return _within(fd, size, size, 0)
        finally:
            os.close(fd)

    def make_durable(self) -> None:
        with self._lock:
            batch, self._batch = self._batch, None
        if batch is None:
            return
        try:
            if self._at() is not batch.root:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            batch.flush()
        except OSError as error:
            with self._lock:
                self.lost += 1
            for key in batch.keys:
                with contextlib.suppress(OSError):  # then it is an orphan, which prune finds
                    self._unlink(batch.root, key)
            raise StorageUnreachable(
                f"what was written to {self.url} since the last commit could not be flushed to the disk "
                f"({os.strerror(error.errno or 0)}), so none of it counts as stored: check the disk and run it again, "
                "which seals it again; nothing that was committed is lost",
                root=self.url,
            ) from None

    def delete(self, key: str) -> None:
        with self._mapped(key), contextlib.suppress(FileNotFoundError):
            self._unlink(self._at(), key)

    def check_deletable(self) -> None:
        check_by_probe(self)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        for chunk in chunks(keys):
            with self._mapped("the root"):
                root = self._at()
            yield from purge_files(root, chunk, self.url, self._error)

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        try:
            with self._mapped(key):
                root = self._at()
                with locked(root, self.url):
                    return purge_older_files(root, key, is_older, limit, self.url)
        except AccessDenied as error:
            raise refused(error) from None

    def _unlink(self, root: Root, key: str) -> None:
        folder, _, name = key.rpartition("/")
        with root.folder(folder) as fd:
            os.unlink(name, dir_fd=fd)

    def _made(self) -> Root:
        """The root, created if it is missing."""
        try:
            return self._at()
        except FileNotFoundError:
            missing = [path for path in (self.path, *map(str, Path(self.path).parents)) if not os.path.lexists(path)]
            os.makedirs(self.path, exist_ok=True)
            for path in missing:
                fsync_folder(os.path.dirname(path))
            return self._at()

    # ------------------------------------------------------------ list

    def list(self, prefix: str = "") -> Iterator[Entry]:
        try:
            root = self._at()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._error("the root", error) from None
        todo = [prefix.rpartition("/")[0]]
        while todo:
            folder = todo.pop()
            found: list[Entry] = []
            try:
                with root.folder(folder) as fd, os.scandir(fd) as entries:
                    for entry in entries:
                        key = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if key.startswith(prefix) or prefix.startswith(f"{key}/"):
                                todo.append(key)
                        elif key.startswith(prefix) and key != LOCK:
                            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                                status = entry.stat(follow_symlinks=False)
                                found.append(Entry(key, status.st_size, status.st_mtime_ns / 1e9))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._error(folder or "the root", error) from None
            yield from found

    def now(self) -> float:
        """The file system's clock."""
        with self._mapped(LOCK):
            return clock(self._made())

    def check_writable(self, single_writer: bool = False) -> None:
        kind = file_system(self.path)
        if single_writer or not kind.startswith(REMOTE):
            self._settle()
            return
        raise UnsafeStorage(
            f"{self.url} is on {kind}, where two writers could lose each other's rows: "
            "write to a local disk, or use --single-writer if nobody else ever writes there",
            root=self.url,
        )

    def _settle(self) -> None:
        """Flush the directory entries of the root and its head, in case a writer was killed before it did."""
        with self._mapped("the root"), contextlib.suppress(FileNotFoundError):
            with self._at().folder("") as fd:
                os.fsync(fd)
            with contextlib.suppress(PermissionError):  # then this user did not make the root either
                fsync_folder(os.path.dirname(os.path.realpath(self.path)))

    # ------------------------------------------------------------ inside

    @contextlib.contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, SecuredataError):
                raise
            raise self._error(key, error) from None

    def _error(self, key: str, error: OSError) -> SecuredataError:
        where = f"{key} of {self.url}"
        if isinstance(error, NotRegular) or error.errno == errno.EISDIR:
            what = error.strerror if isinstance(error, NotRegular) else "it is a folder"
            text = f"{where} was not opened: {what}; remove what does not belong there, and check who may write there"
            return NotAFile(text, root=self.url)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            why = "" if error.errno == errno.ENOENT else ": a part of its path is not a folder"
            return NotFound(f"{where} does not exist{why}", root=self.url)
        if error.errno == errno.EEXIST:
            return AlreadyExists(f"{where} exists already", root=self.url)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return AccessDenied(f"{where}: {os.strerror(error.errno)}; check the folder's permissions", root=self.url)
        reason = describe(error)
        return StorageUnreachable(f"{where}: {reason}; nothing that was committed is lost, run it again", root=self.url)


def _version(data: Buffer) -> str:
    return hashlib.sha256(data).hexdigest()


def _within(fd: int, size: int, length: int, offset: int) -> bytes:
    """The bytes of a range, cut at the end of the file: a row may claim any length, and pread would allocate it."""
    if offset + length > size or length < 0:
        offset = min(offset, size)
        length = max(0, min(length, size - offset))
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    # one call returns at most 2 GiB on Linux
    parts = [data]
    got = len(data)
    while got < length and (data := os.pread(fd, length - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def _swap(folder: int, name: str, data: Buffer) -> None:
    """Replace a file by a new one, flushed before the rename."""
    temporary = temporary_name(name)
    write_durable(temporary, data, 0o666, folder)
    put_in_place(temporary, name, folder)


_live = Instances(in_child=LocalStorage._fresh_process)
