"""Storage for any other scheme that fsspec knows: for readers, and for one writer at a time.

fsspec has no conditional put, so nothing here keeps two writers apart. How durable a put is, and whether a crash can
leave half an object, depends on the backend. Before the head is overwritten, the old one is stored as `head.prev`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fsspec

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
from securedata.foreign.describe import describe, type_name
from securedata.foreign.quiet import quiet
from securedata.foreign.times import written_at
from securedata.roots import check_segments
from securedata.storage.base import MAX_REPLACED, Buffer, Entry, Purged, Storage, Wanted, previous_key
from securedata.storage.purging import check_by_probe, purge_each, purge_previous

CLOCK = ".clock"
_IN_MEMORY = 16 * 1024 * 1024
_LONG = 64 * 1024 * 1024  # a row may claim any length: above this one, the size of the object is asked for first
_TOGETHER = 32
_UNVERSIONED = ("memory", "file", "local")  # schemes that keep no versions; of all others we cannot see them


class FsspecStorage(Storage):
    """A folder of an fsspec filesystem, which each process creates when it first needs it."""

    def __init__(self, url: str) -> None:
        """Makes no connection.

        Raises:
            InvalidArgument: fsspec does not know the scheme or its package is missing; or the URL has a password, a
                query, a chain or dot segments.
        """
        scheme, separator, rest = url.partition("://")
        where = f"{scheme}://..."  # the rest may hold a secret
        if not separator or not rest.strip("/") or scheme == "securedata":
            raise InvalidArgument(f"{where} cannot be a root: write scheme://place/folder", root=where)
        if "::" in url:
            raise InvalidArgument(
                f"{where} is a chain of URLs, which cannot be a root: name the storage itself", root=where
            )
        if "?" in rest or ":" in rest.partition("/")[0].rpartition("@")[0]:
            raise InvalidArgument(
                "a root must not hold a password or a query, because it is stored and printed: configure fsspec with "
                f"FSSPEC_{scheme.upper()}_... in the environment, or in the way that tools for {scheme} use",
                root=where,
            )
        check_segments(url, rest.lstrip("/"))
        try:
            self._backend = fsspec.get_filesystem_class(scheme).__name__
        except ValueError:
            raise InvalidArgument(
                f"no storage serves {scheme}://: use a local path, s3://, https:// or a scheme of fsspec", root=url
            ) from None
        except ImportError as error:
            raise InvalidArgument(
                f"{scheme}:// needs a package that is not installed: {describe(error)}", root=url
            ) from None
        self.url = url.rstrip("/")
        self.unversioned = scheme in _UNVERSIONED
        self._process = 0
        self._made: set[str] = set()

    def __repr__(self) -> str:
        return f"FsspecStorage({self.url!r})"

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> bytes:
        with self._mapped(key):
            fs, path = self._at(key)
            data: bytes = fs.cat_file(path) if limit is None else self._range(key, 0, limit + 1)
            if limit is None or len(data) <= limit:
                return data
            size = fs.info(path)["size"]
        raise LimitExceeded(f"{key} of {self.url} has {size} bytes, above the limit of {limit}", root=self.url)

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        data = self.get(key, limit)
        return data, _version(data)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        with self._mapped(key):
            return [self._range(key, offset, length) for offset, length in ranges]

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """As `Storage.get_many`; backends that can fetch several at once do."""
        for group in _groups(wanted, in_flight):
            for at, got in zip(group, self._together([wanted[at] for at in group]), strict=True):
                one = wanted[at]
                if isinstance(got, bytes) and len(got) <= one.length:
                    yield at, got
                    continue
                try:  # a failure is retried once, by itself
                    yield at, self.get_ranges(one.key, [(one.offset, one.length)])[0]
                except SecuredataError as error:
                    yield at, error

    def _together(self, wanted: Sequence[Wanted]) -> Sequence[Any]:
        """The bytes, or the error that the backend raised; None for a range to be fetched by itself."""
        if len(wanted) == 1:
            return [None]
        starts, ends = [one.offset for one in wanted], [one.offset + one.length for one in wanted]
        try:
            paths = [self._at(one.key)[1] for one in wanted]
            with quiet():
                got: Sequence[Any] = self._at("")[0].cat_ranges(paths, starts, ends, on_error="return")
        except Exception:  # noqa: BLE001 - each raises its own error when it is fetched by itself
            return [None] * len(wanted)
        return got

    def _range(self, key: str, offset: int, length: int) -> bytes:
        fs, path = self._at(key)
        if length > _LONG:
            length = min(length, fs.info(path)["size"] - offset)
        if length <= 0:
            return b""
        try:
            data: bytes = fs.cat_file(path, start=offset, end=offset + length)  # by name: s3fs has another order
        except FileNotFoundError:
            raise
        except Exception:  # some backends raise, each its own class, if a range begins after the end
            if offset < fs.info(path)["size"]:
                raise
            return b""
        if len(data) > length:
            text = f"{key} of {self.url}: {self._backend} ignores ranges, which reading needs: use another backend"
            raise StorageUnreachable(text, root=self.url)
        return data

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        # The bytes are sealed, so a temporary file may hold them. Nothing is sent before the source is complete.
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            for piece in pieces:  # not mapped: an error of the source is not one of storage
                with self._mapped(key):
                    spool.write(piece)
            spool.seek(0)
            with self._mapped(key):
                fs, path = self._at(key)
                if self._info(key) is not None:
                    raise AlreadyExists(f"{key} of {self.url} exists already", root=self.url)
                self._make_folder(key)
                try:
                    with fs.open(path, "wb") as file:
                        shutil.copyfileobj(spool, file, _IN_MEMORY)
                except BaseException:  # re-raised, Ctrl-C too: a partial object must not stay
                    with contextlib.suppress(SecuredataError):  # the first error matters more
                        self.delete(key)
                    raise
                return _time(self._info(key) or {})

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        with self._mapped(key):
            fs, path = self._at(key)
            try:
                current = fs.cat_file(path, start=0, end=MAX_REPLACED + 1)
            except FileNotFoundError:
                current = None
            if current is not None and len(current) > MAX_REPLACED:  # too large to be what the caller read
                raise PreconditionFailed(f"{key} of {self.url} changed: it is larger than any head", root=self.url)
            if (None if current is None else _version(current)) != version:
                raise PreconditionFailed(f"{key} of {self.url} changed since it was read", root=self.url)
            self._make_folder(key)
            if current is not None:
                fs.pipe_file(previous_key(path), current)
            fs.pipe_file(path, bytes(data))

    def make_durable(self) -> None:
        """Do nothing: how durable a put is depends on the backend."""

    def delete(self, key: str) -> None:
        with self._mapped(key), contextlib.suppress(FileNotFoundError):
            fs, path = self._at(key)
            fs.rm_file(path)

    def check_deletable(self) -> None:
        if not self.unversioned:
            super().check_deletable()
        check_by_probe(self)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        return purge_each(self, keys) if self.unversioned else super().purge(keys)

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        if not self.unversioned:
            return super().purge_older(key, is_older, limit)
        return purge_previous(self, key, is_older, limit)

    def check_writable(self, single_writer: bool = False) -> None:
        if not single_writer:
            raise UnsafeStorage(
                f"{self.url} is reached through fsspec, where two writers could lose each other's rows: write to s3:// "
                "or a local disk, or use --single-writer if nobody else ever writes there",
                root=self.url,
            )

    # ------------------------------------------------------------ list

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder = prefix.rpartition("/")[0]
        with self._mapped(folder or "the root"):
            fs, path = self._at(folder)
            fs.invalidate_cache()
            try:
                found = fs.find(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return
            root = self._at("")[1].rstrip("/") + "/"
            entries = [Entry(name.removeprefix(root), int(info["size"]), _time(info)) for name, info in found.items()]
        for entry in entries:
            if entry.key.startswith(prefix) and entry.key != CLOCK:
                yield entry

    def now(self) -> float:
        """The backend's time of a file written for this purpose."""
        with self._mapped(CLOCK):
            fs, path = self._at(CLOCK)
            self._make_folder(CLOCK)
            fs.pipe_file(path, b".")
            return _time(self._info(CLOCK) or {})

    # ------------------------------------------------------------ inside

    def _at(self, key: str) -> tuple[Any, str]:
        """This process's filesystem, and the path of a key on it."""
        if self._process != os.getpid():
            # a forked child cannot use its parent's event loop, connections and locks
            self._opened: tuple[Any, str] = fsspec.core.url_to_fs(self.url)
            self._process = os.getpid()
        fs, root = self._opened
        return fs, f"{root.rstrip('/')}/{key}" if key else root

    def _info(self, key: str) -> Mapping[str, Any] | None:
        """The backend's current info on a key; None if it does not exist."""
        fs, path = self._at(key)
        fs.invalidate_cache()
        try:
            found: Mapping[str, Any] = fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    def _make_folder(self, key: str) -> None:
        """Create the folder of a key, for backends that need one."""
        fs, path = self._at(key)
        folder = path.rpartition("/")[0]
        if folder and folder not in self._made:
            fs.makedirs(folder, exist_ok=True)
            self._made.add(folder)

    @contextlib.contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        try:
            with quiet():
                yield
        except SecuredataError:
            raise
        except Exception as error:  # noqa: BLE001 - each backend raises its own library's errors
            raise self._error(key, error) from None

    def _error(self, key: str, error: Exception) -> SecuredataError:
        where = f"{key} of {self.url}"
        found = [getattr(error, name, None) for name in ("status", "status_code", "code")]
        status = next((int(one) for one in map(str, found) if one.isdecimal()), 0)
        words = describe(error)
        reason = words if words.startswith(type_name(error)) else f"{type_name(error)}: {words}"
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) or status == 404:
            return NotFound(f"{where} does not exist", root=self.url)
        if isinstance(error, NotImplementedError):
            text = f"{where}: {self._backend} is read-only: write to another storage"
            return AccessDenied(text, root=self.url)
        if isinstance(error, PermissionError) or status in (401, 403):
            return AccessDenied(f"{where}: refused ({reason}); check how fsspec is configured for it", root=self.url)
        return StorageUnreachable(f"{where}: {reason}; nothing that was committed is lost, run it again", root=self.url)


def _version(data: Buffer) -> str:
    return hashlib.sha256(data).hexdigest()


def _groups(wanted: Sequence[Wanted], in_flight: int) -> Iterator[list[int]]:
    """Positions of ranges to fetch together. A range that is very long or empty forms a group of its own."""
    group: list[int] = []
    size = 0
    for at, one in enumerate(wanted):
        alone = not 0 < one.length <= _LONG
        if group and (alone or size + one.length > in_flight or len(group) == _TOGETHER):
            yield group
            group, size = [], 0
        if alone:
            yield [at]
            continue
        group.append(at)
        size += one.length
    if group:
        yield group


def _time(info: Mapping[str, Any]) -> float:
    """When a file was stored, in seconds. If the backend gives no time it is now, which is too young to prune."""
    found = written_at(info)
    return time.time() if found is None else found
