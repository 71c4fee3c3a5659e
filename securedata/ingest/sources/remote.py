"""Recordings behind a URL: listed once, read as streams or by range, and never written to this machine's disk.

`s3://` uses the storage of corpora: boto3 lists, libcurl fetches bodies, and boto3 finds endpoint and credentials. Any
other scheme goes through fsspec, with the options of its own configuration.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from securedata.errors import AccessDenied, InvalidArgument, LimitExceeded, NotFound, StorageUnreachable
from securedata.foreign.describe import describe
from securedata.foreign.quiet import quiet
from securedata.foreign.times import written_at
from securedata.format.cobblestone import Buffer
from securedata.ingest.sources.origin import CHANGED, MAX_CONTENT, PIECE, LocalOrigin, Origin, SourceProblem, Stamp
from securedata.ingest.sources.walk.exclude import Exclusions, Inclusions
from securedata.ingest.sources.walk.file_kinds import is_line_table, is_table
from securedata.ingest.sources.walk.listing import finish, take_listed
from securedata.ingest.sources.walk.scan import scan
from securedata.ingest.sources.walk.tree import Tree
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges
from securedata.printable import without_secrets
from securedata.storage.s3.store import S3Storage

_VERSIONS = ("ETag", "etag", "md5Hash", "generation")
_SCHEME = re.compile("[a-z]+")  # fsspec appends :// to it


class _Found(NamedTuple):
    """One file of a listing; `name` is relative to the root."""

    name: str
    stamp: Stamp

    def __repr__(self) -> str:  # the name often holds a person's name
        return f"_Found({self.stamp})"


class RemoteOrigin(Origin):
    """A URL that can be listed and read by range."""

    def __init__(self, url: str) -> None:
        self.root = url
        self._stamps: dict[str, Stamp] = {}  # of tables

    @abstractmethod
    def listing(self) -> Iterator[_Found]:
        """All files under the root. Raises NotFound, AccessDenied, StorageUnreachable."""

    @abstractmethod
    def read_at(self, file: str, offset: int, length: int, stamp: Stamp) -> Buffer:
        """`length` bytes from `offset`, all within the recording. Raises like `whole`."""

    def scan(self, leave_out: Sequence[str] = (), corpus: str | None = None, include: Sequence[str] = ()) -> Tree:
        """List the recordings under the root, as `walk.scan` does for a folder."""
        tree = Tree(self, exclusions=Exclusions(leave_out, corpus, self.root), inclusions=Inclusions(include))
        for found in self.listing():
            take_listed(tree, found.name, found.stamp)
            if is_table(found.name) or is_line_table(found.name):
                self._stamps[found.name] = found.stamp
        finish(tree)
        return tree

    def whole(self, file: str, stamp: Stamp) -> bytes:
        return bytes(self.read_at(file, 0, stamp.size, stamp)) if stamp.size else b""

    def pieces(self, file: str, stamp: Stamp) -> Iterator[Buffer]:
        for at in range(0, stamp.size, PIECE):
            yield self.read_at(file, at, min(PIECE, stamp.size - at), stamp)

    def probe(self, file: str, stamp: Stamp) -> AudioInfo:
        if stamp.size <= PIECE:
            return probe(self.whole(file, stamp))
        return probe_ranges(lambda at, length: self.read_at(file, at, length, stamp), stamp.size)

    def stamp(self, name: str) -> Stamp | None:
        return self._stamps.get(name)

    def peek(self, file: str, stamp: Stamp, offset: int, length: int) -> bytes:
        length = min(length, stamp.size - offset)
        return bytes(self.read_at(file, offset, length, stamp)) if length > 0 else b""

    def _name(self, file: str) -> str:
        return file[len(self.root) + 1 :]


class S3Origin(RemoteOrigin):
    """A prefix of a bucket."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        super().__init__(url)
        self._storage, self._options = S3Storage(url, options), dict(options)

    def elsewhere(self) -> tuple[Any, ...]:
        return self.root, self._options

    def listing(self) -> Iterator[_Found]:
        try:
            for entry in self._storage.list():
                yield _Found(entry.key, Stamp(entry.size, round(entry.time * 1e6) * 1000, entry.version))
        except NotFound as error:
            text = f"{error}; check the name, --source-endpoint-url and --source-region"
            raise NotFound(text, root=self.root) from error
        except AccessDenied as error:
            text = f"{self.root} cannot be listed: {error}; choose an AWS profile that may, with --source-profile"
            raise AccessDenied(text, root=self.root) from error

    def read_at(self, file: str, offset: int, length: int, stamp: Stamp) -> Buffer:
        try:
            body, version = self._storage.get_part(self._name(file), offset, length)
        except NotFound as error:
            raise SourceProblem("the object was deleted during the run") from error
        except AccessDenied as error:
            raise SourceProblem("the object cannot be read: your credentials are refused") from error
        if version != stamp.version or len(body) != length:
            raise SourceProblem(CHANGED)
        return body

    def content(self, name: str) -> bytes:
        try:
            return bytes(self._storage.get(name, MAX_CONTENT))
        except LimitExceeded as error:
            raise SourceProblem(f"is larger than {MAX_CONTENT} bytes") from error
        except (NotFound, AccessDenied) as error:
            raise SourceProblem("cannot be read: it is missing, or your credentials are refused") from error


class FsspecOrigin(RemoteOrigin):
    """Anything that fsspec can open."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from fsspec.core import url_to_fs

        _refuse_caches(url)
        self._shown = without_secrets(url)
        self._spelled: dict[str, str] = {}  # names that the file system spells differently, such as ./a.wav in a tar
        try:
            with quiet():
                self._fs, self._base = url_to_fs(url)
        except ImportError as error:
            raise InvalidArgument(f"{self._shown}: {describe(error)}", root=self._shown) from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            text = f"{self._shown} cannot be opened: {describe(error)}"
            raise StorageUnreachable(text, root=self._shown) from None

    def elsewhere(self) -> tuple[Any, ...]:
        return self.root, {}, self._spelled

    def listing(self) -> Iterator[_Found]:
        self._fs.invalidate_cache()
        where = self._shown
        try:
            with quiet():
                found = self._fs.find(self._base, detail=True)
            listed = [_Found(self._named(path), _stamp(info)) for path, info in found.items()]
        except FileNotFoundError:
            raise NotFound(f"{where} does not exist", root=where) from None
        except PermissionError as error:
            raise AccessDenied(f"{where} cannot be listed: {describe(error)}", root=where) from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise StorageUnreachable(f"{where} cannot be listed: {describe(error)}", root=where) from None
        yield from listed

    def read_at(self, file: str, offset: int, length: int, stamp: Stamp) -> Buffer:
        body: bytes = self._read(self._name(file), offset, offset + length)
        if len(body) != length:
            raise SourceProblem(CHANGED)
        return body

    def whole(self, file: str, stamp: Stamp) -> bytes:
        body = super().whole(file, stamp)
        self.check(file, stamp)
        return body

    def pieces(self, file: str, stamp: Stamp) -> Iterator[Buffer]:
        yield from super().pieces(file, stamp)
        self.check(file, stamp)

    def content(self, name: str) -> bytes:
        body = self._read(name, 0, MAX_CONTENT + 1)
        if len(body) > MAX_CONTENT:
            raise SourceProblem(f"is larger than {MAX_CONTENT} bytes")
        return body

    def _read(self, name: str, start: int | None, end: int | None) -> bytes:
        try:
            with quiet():
                return bytes(self._fs.cat_file(self._path(name), start=start, end=end))
        except FileNotFoundError:
            raise SourceProblem("the file does not exist, or was deleted during the run") from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise SourceProblem(f"the file cannot be read: {describe(error)}") from None

    def check(self, file: str, stamp: Stamp) -> None:
        path = self._path(self._name(file))
        try:
            with quiet():
                self._fs.invalidate_cache(path)
                now = _stamp(self._fs.info(path))
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise SourceProblem(f"the file cannot be looked at: {describe(error)}") from None
        if now != stamp:
            raise SourceProblem(CHANGED)

    def respell(self, spelled: Mapping[str, str]) -> None:
        """Take over how another process found names to be spelled."""
        self._spelled = dict(spelled)

    def _named(self, path: str) -> str:
        spelled = path[len(self._base) :].lstrip("/")
        name = "/".join(part for part in spelled.split("/") if part != ".")
        if name != spelled:
            self._spelled[name] = spelled
        return name

    def _path(self, name: str) -> str:
        name = self._spelled.get(name, name)
        return f"{self._base.rstrip('/')}/{name}" if self._base else name


def tree_of(
    src: str | os.PathLike[str],
    options: Mapping[str, str] | None = None,
    leave_out: Sequence[str] = (),
    corpus: str | None = None,
    include: Sequence[str] = (),
) -> Tree:
    """List the recordings under a folder or a URL.

    Args:
        leave_out, corpus, include: as for `walk.scan`; `corpus` may be a URL.
        options: profile, region and endpoint_url of a source on S3, but no credentials.

    Raises:
        InvalidArgument: not a folder, a malformed URL, or two files with the same logical path.
        NotFound, AccessDenied, StorageUnreachable: for a URL.
    """
    origin = origin_of(src, options or {})
    if isinstance(origin, LocalOrigin):
        return scan(origin.root, leave_out, corpus, include)
    return origin.scan(leave_out, corpus, include)


def origin_of(src: str | os.PathLike[str], options: Mapping[str, str]) -> LocalOrigin | RemoteOrigin:
    """The origin for a path or URL. Raises like `tree_of`."""
    text = os.fspath(src)
    if not is_url(text):
        found: LocalOrigin | RemoteOrigin = LocalOrigin(os.path.abspath(text))
    elif text.partition("://")[0] in ("file", "local"):
        found = LocalOrigin(os.path.abspath(text.partition("://")[2]))
    elif urlsplit(text).password is not None:
        raise InvalidArgument(
            "SRC contains a password, and URLs end up in logs: put it into the configuration of its file system"
        )
    elif text.startswith("s3://"):
        return S3Origin(text.rstrip("/"), options)
    else:
        found = FsspecOrigin(_with_schemes(text).rstrip("/"))
    if options:
        given = ", ".join(f"--source-{name.replace('_', '-')}" for name in options)
        raise InvalidArgument(f"{given}: only for a source on S3 (s3://...), and {found.root} is not one")
    return found


def from_elsewhere(described: tuple[Any, ...]) -> LocalOrigin | RemoteOrigin:
    """The origin that another process described by `Origin.elsewhere`. Raises like `tree_of`."""
    root, *more = described
    if not more:
        return LocalOrigin(root)
    found = origin_of(root, more[0])
    if isinstance(found, FsspecOrigin) and len(more) > 1:
        found.respell(more[1])
    return found


def _with_schemes(url: str) -> str:
    """A chain of URLs that ends in a local path, such as zip://::/abs/all.zip, with file:// before that path.

    fsspec would take the bare path for a scheme. The path may be relative.
    """
    first, *others = url.split("::")
    if not others or "://" in others[-1]:
        return url
    last = others.pop()
    if "/" not in last and "." not in last:  # a bare scheme, which fsspec allows
        return url
    return "::".join([first, *others, f"file://{os.path.abspath(os.path.expanduser(last))}"])


def is_url(text: str) -> bool:
    """Is it a URL rather than a path?"""
    return "://" in text


def _refuse_caches(url: str) -> None:
    """Refuse file systems that cache what they read in files, anywhere in a chain: no plaintext on disk."""
    from fsspec import get_filesystem_class
    from fsspec.implementations.cached import CachingFileSystem

    shown = without_secrets(url)
    for hop in url.split("::"):
        scheme, separator, _ = hop.partition("://")
        if not separator and not _SCHEME.fullmatch(scheme):  # fsspec takes it for a local path
            scheme = "file"
        try:
            kind = get_filesystem_class(scheme)
        except (ValueError, ImportError) as error:
            raise InvalidArgument(f"{shown}: fsspec cannot serve {scheme}://: {describe(error)}", root=shown) from None
        if issubclass(kind, CachingFileSystem):
            raise InvalidArgument(f"{shown}: {scheme} would write the recordings to this machine's disk; leave it out")


def _stamp(info: Mapping[str, Any]) -> Stamp:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    size = int(info.get("size") or 0)
    if size < 0:
        raise ValueError("a negative size")
    return Stamp(size, round((written_at(info) or 0.0) * 1e6) * 1000, version)
