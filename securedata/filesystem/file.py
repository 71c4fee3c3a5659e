"""One object as fsspec's buffered file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fsspec.spec import AbstractBufferedFile

from securedata.corpus.objects.file import READ_AHEAD, FailsForGood
from securedata.corpus.option_values import as_whole
from securedata.errors import InvalidArgument, PlaintextRefused, RowReplaced
from securedata.filesystem.refused import refused
from securedata.foreign.describe import describe

IN_MEMORY = ("readahead", "none", "bytes", "first", "all", "adaptive", "blockcache", "background", "parts")
"""fsspec's caches that keep what they read in memory. Its "mmap" keeps it in a file."""


def check_cache_type(cache_type: str | None, export: bool) -> str:
    """The name of a cache that a file may use.

    Raises:
        PlaintextRefused: it would keep plaintext in a file, or in an unknown place.
    """
    name = cache_type or "none"
    if name not in IN_MEMORY and not export:
        raise refused(
            PlaintextRefused(
                f"cache_type={name!r} would keep plaintext in a file on disk: use one of {', '.join(IN_MEMORY)}, "
                "or open the filesystem with allow_plaintext_export=True"
            )
        )
    return name


class SecuredataFile(FailsForGood, AbstractBufferedFile):
    """An object, read-only and seekable: decrypts what its cache asks for, and keeps it in memory only.

    A failure is final: every later call, `close` included, raises the first error again.

    It stays the object that it was when opened, whatever `invalidate_cache` finds. A pickle of it
    carries references, and the receiver opens the path for itself.
    """

    DEFAULT_BLOCK_SIZE = READ_AHEAD

    def __init__(
        self,
        fs: Any,
        path: str,
        read_range: Callable[[int, int], bytearray],
        details: Mapping[str, Any],
        ukey: str,
        whole: bool = False,
        block_size: int | None = None,
        cache_type: str | None = "readahead",
        cache_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`details` is what `info` says about the path; `ukey` identifies the object. With `whole` the first read
        fetches all of it.

        Raises:
            PlaintextRefused, InvalidArgument
        """
        self._export: bool = fs.allow_plaintext_export
        if block_size is not None:
            block_size = as_whole("block_size", block_size, 1, 2**40)
        self._read_range = read_range
        self._whole = whole
        self._all: bytearray | None = None
        self._cache: Any = None
        self._cache_options = dict(cache_options or {})
        self._details = details
        self.ukey = ukey
        name = check_cache_type(cache_type, self._export)
        try:
            super().__init__(
                fs, path, "rb", block_size, True, name, cache_options=dict(self._cache_options), size=details["size"]
            )
        except (KeyError, TypeError) as error:
            raise InvalidArgument(f"cache_type={name!r} does not take these cache_options: {describe(error)}") from None

    @property
    def cache(self) -> Any:
        """fsspec's cache of what was decrypted. `blockcache::` would replace it with a file on disk, and is refused."""
        return self._cache

    @cache.setter
    def cache(self, cache: Any) -> None:
        if self._cache is not None and cache is not None and not self._export:
            raise refused(
                PlaintextRefused(
                    "a cache that replaces the file's own might keep plaintext on disk, as blockcache:: and "
                    "filecache:: do: open the URL without them, or the filesystem with allow_plaintext_export=True"
                )
            )
        self._cache = cache

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self._failure is not None:
            self._raise_failure()
        try:
            if not self._whole:
                return bytes(self._read_range(start, end - start))
            if self._all is None:
                self._all = self._read_range(0, self.size)
        except BaseException as error:
            self._fails(error)
            raise
        return bytes(memoryview(self._all)[start:end])

    def read(self, length: int | None = -1) -> bytes:
        if self._failure is not None:
            self._raise_failure()
        found: bytes = super().read(length)
        return found

    def seek(self, loc: int, whence: int = 0) -> int:
        if self._failure is not None:
            self._raise_failure()
        return int(super().seek(loc, whence))

    def tell(self) -> int:
        if self._failure is not None:
            self._raise_failure()
        return int(super().tell())

    def close(self) -> None:
        self._all = None
        super().close()

    def __hash__(self) -> int:
        return int(self.ukey, 16)

    def __repr__(self) -> str:
        # without the path, which is often a person's name: a notebook saves reprs, and fsspec logs them
        return f"<SecuredataFile of {getattr(self, 'size', 0)} bytes, at {getattr(self, 'loc', 0)}>"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        name = self._cache.name if self._cache is not None else "none"
        return _reopen, (self.fs, self.path, self.ukey, self.blocksize, self.loc, name, self._cache_options)


def _reopen(
    fs: Any, path: str, ukey: str, block_size: int, at: int, cache_type: str, cache_options: dict[str, Any]
) -> SecuredataFile:
    file: SecuredataFile = fs.open(path, block_size=block_size, cache_type=cache_type, cache_options=cache_options)
    if file.ukey != ukey:
        raise RowReplaced("the file was replaced after it was opened and pickled: open its path again", path=path)
    file.seek(at)
    return file
