"""Storage on a local disk: read by position, written once, committed under a lock.

Durability: `put_new` writes a temporary file beside its key and links it into place, so a key is
whole or absent; `make_durable` flushes; `replace` follows the order head.prev, head.tmp, fsync,
rename, fsync of the directory, under a flock on `.lock`, a file that is never renamed or deleted (a
lock on a file that is renamed over can be held twice).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.storage.base import Buffer, Entry, Storage

LOCK = ".lock"
TEMPORARY = ".tmp-"
_MANY = 64

# Where flock, rename and link are not what they are on a local disk, or not for all clients.
_REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gluster", "beegfs", "gpfs", "fuse", "virtiofs")


class LocalStorage(Storage):
    """A folder. Safe for many processes of one machine; network file systems are refused for writing."""

    def __init__(self, path: str) -> None:
        if not path:
            raise InvalidArgument("an empty path is no root")
        self.path = os.path.abspath(os.path.expanduser(path))
        self.url = self.path
        self._pending: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LocalStorage({self.path!r})"

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> bytes:
        try:
            fd = os.open(f"{self.path}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                if limit is None or size <= limit:
                    return _pread(fd, size, 0)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(key, error) from error
        raise LimitExceeded(f"{key} of {self.url} has {size} bytes, at most {limit} are allowed", root=self.url)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            fd = os.open(f"{self.path}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                # a row may claim any length: no more is allocated than there is
                size = os.fstat(fd).st_size
                return [_pread(fd, max(0, min(length, size - offset)), min(offset, size)) for offset, length in ranges]
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(key, error) from error

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        data = self.get(key, limit)
        return data, _version(data)

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        target = f"{self.path}/{key}"
        folder = os.path.dirname(target)
        temporary = f"{target}{TEMPORARY}{os.getpid()}-{threading.get_ident()}"
        with self._mapped(key):
            os.makedirs(folder, exist_ok=True)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            try:
                for piece in pieces:  # not mapped: a source that cannot be read is no storage that cannot be written
                    with self._mapped(key):
                        _write(fd, piece)
                with self._mapped(key):
                    time = os.fstat(fd).st_mtime_ns / 1e9
            finally:
                os.close(fd)
            with self._mapped(key):
                os.link(temporary, target)
        finally:
            with self._mapped(key):
                os.unlink(temporary)
        with self._lock:
            self._pending.add(target)
        return time

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        target = f"{self.path}/{key}"
        with self._mapped(key):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with self._locked():
                try:
                    current = Path(target).read_bytes()
                except FileNotFoundError:
                    current = None
                if (None if current is None else _version(current)) != version:
                    raise PreconditionFailed(f"{key} of {self.url} changed since it was read", root=self.url)
                if current is not None:
                    _write_file(f"{target}.prev", current)
                _write_file(f"{target}.tmp", data)
                os.rename(f"{target}.tmp", target)
                _fsync_folder(os.path.dirname(target))

    def make_durable(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, set()
        if not pending:
            return
        try:
            with self._mapped("objects"):
                if len(pending) > _MANY and _syncfs(self.path):
                    return
                for path in pending:
                    with contextlib.suppress(FileNotFoundError):  # another process pruned it: nothing to keep
                        _fsync(path)
                for folder in {parent for path in pending for parent in self._folders(path)}:
                    _fsync_folder(folder)
        except SecuredataError:
            with self._lock:
                self._pending |= pending
            raise

    def _folders(self, path: str) -> Iterator[str]:
        """The folders whose entries lead to a file, up to and with the root's parent."""
        folder = os.path.dirname(path)
        while len(folder) >= len(self.path):
            yield folder
            folder = os.path.dirname(folder)
        yield folder

    def delete(self, key: str) -> None:
        target = f"{self.path}/{key}"
        with self._mapped(key), contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        with self._lock:
            self._pending.discard(target)

    # ------------------------------------------------------------ look

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder = prefix.rpartition("/")[0]
        todo = [folder] if folder else [""]
        while todo:
            folder = todo.pop()
            try:
                with os.scandir(os.path.join(self.path, folder)) as found:
                    entries = list(found)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._error(folder, error) from error
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if key.startswith(prefix) or prefix.startswith(f"{key}/"):
                        todo.append(key)
                elif key.startswith(prefix) and key != LOCK:
                    try:
                        stat = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # deleted while we looked
                        continue
                    yield Entry(key, stat.st_size, stat.st_mtime_ns / 1e9)

    def now(self) -> float:
        """The file system's clock: the mtime of a file written just now."""
        path = f"{self.path}/{LOCK}"
        with self._mapped(LOCK):
            os.makedirs(self.path, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.utime(fd)
                return os.fstat(fd).st_mtime_ns / 1e9
            finally:
                os.close(fd)

    def check_writable(self, single_writer: bool = False) -> None:
        kind = _file_system(self.path)
        if single_writer or not kind.startswith(_REMOTE):
            return
        raise UnsafeStorage(
            f"{self.url} lies on {kind}, where two writers could lose each other's rows: "
            "write to a local disk, or say --single-writer if nobody else ever writes there",
            root=self.url,
        )

    # ------------------------------------------------------------ inside

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A fresh open for every lock: flock belongs to the open file description, which a forked
        # child shares, so an inherited one would be granted twice.
        fd = os.open(f"{self.path}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, SecuredataError):
                raise
            raise self._error(key, error) from error

    def _error(self, key: str, error: OSError) -> SecuredataError:
        where = f"{key} of {self.url}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NotFound(f"{where} does not exist", root=self.url)
        if error.errno == errno.EEXIST:
            return AlreadyExists(f"{where} exists already", root=self.url)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return AccessDenied(f"{where}: {os.strerror(error.errno)}; check the folder's permissions", root=self.url)
        reason = os.strerror(error.errno) if error.errno else str(error)
        return StorageUnreachable(f"{where}: {reason}; nothing that was committed is lost, run it again", root=self.url)


def _version(data: Buffer) -> str:
    return hashlib.sha256(data).hexdigest()


def _pread(fd: int, length: int, offset: int) -> bytes:
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


def _write(fd: int, data: Buffer) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(fd, view) :]


def _write_file(path: str, data: Buffer) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        _write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_fsync_folder = _fsync


def _syncfs(path: str) -> bool:
    """Flush the whole file system in one call, where there is one; much faster than an fsync per file."""
    if not sys.platform.startswith("linux"):
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)
    return True


def _file_system(path: str) -> str:
    """The type of the file system under `path`, as /proc/self/mountinfo names it; '' where there is none."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape", "surrogateescape")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split(" ")[0]
    return kind
