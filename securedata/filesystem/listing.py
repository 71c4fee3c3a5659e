"""Paths, names and listings of the filesystem: all come from the index in memory, and storage is never asked."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from glob import has_magic
from typing import Any

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from securedata.corpus import config
from securedata.corpus.config import Reference, resolve
from securedata.corpus.reader import Corpus
from securedata.corpus.state.head import Seen
from securedata.errors import InvalidArgument, IsAFolder, NoSuchPath, SecuredataError
from securedata.filesystem.location import BARE_FILE, BARE_FOLDER, Location, folder_info
from securedata.filesystem.opened import corpus_of, refresh_corpus, seen_of
from securedata.filesystem.overlay import Overlay, Written
from securedata.filesystem.tree import below, has_below

_PREFIX = "securedata://"


class Listing(AbstractFileSystem):
    """The half of the filesystem that needs only the index, and no objects."""

    protocol = "securedata"
    root_marker = ""

    def __init__(
        self,
        root: str | None,
        kms: str | Sequence[str] | None,
        pin: str | Sequence[str] | None,
        options: dict[str, str],
        accept_generation: int | None = None,
    ) -> None:
        super().__init__()
        self._root, self._kms, self._pin, self._options = root, kms, pin, options
        self._accept = accept_generation
        self._references: dict[str, Reference] = {}
        self._seen: dict[str, dict[bytes, Seen]] = {}
        if root is not None:
            self._reference(root)

    # ------------------------------------------------------------ paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = stringify_path(path)
        text = text.removeprefix(_PREFIX).removeprefix("securedata::")
        return unicodedata.normalize("NFC", text.strip("/"))

    def _reference(self, target: str) -> Reference:
        if target not in self._references:
            found = resolve(target, self._kms, self._pin)
            self._references[target] = replace(found, options={**found.options, **self._options})
        return self._references[target]

    def _names(self) -> list[str]:
        return sorted(config.load())

    def _split(self, path: str) -> tuple[str, str, str]:
        """A path as target, prefix and path in the corpus."""
        if self._root is not None:
            return self._root, "", path
        name, _, inner = path.partition("/")
        return _PREFIX + name, name + "/", inner

    def _corpus(self, target: str) -> Corpus:
        return corpus_of(self._reference(target), self._accept, self._seen.get(target))

    def __reduce__(self) -> tuple[Any, ...]:
        own = {target: seen_of(reference, self._accept) for target, reference in self._references.items()}
        known = {**self._seen, **{target: seen for target, seen in own.items() if seen}}
        return _unpickled, (type(self), self.storage_args, self.storage_options, known)

    def _go_on_from(self, seen: Mapping[str, Mapping[bytes, Seen]]) -> None:
        """Note what the pickled filesystem's openings had seen, by target and corpus id."""
        for target, more in seen.items():
            Seen.add(self._seen.setdefault(target, {}), more)

    def _overlay(self, target: str) -> Overlay[Any] | None:
        """What the transaction that is open here has changed in a corpus."""
        return None

    def _find(self, path: str) -> Location | None:
        target, prefix, inner = self._split(path)
        snapshot, overlay = self._corpus(target).snapshot, self._overlay(target)
        found = _at(Location(snapshot, prefix, inner, None, False, None, overlay))
        below = has_below if overlay is None else overlay.is_folder
        is_folder = not inner or below(snapshot.index, inner)
        return replace(found, is_folder=is_folder) if is_folder or found.is_file else None

    def _there(self, path: str) -> Location:
        location = self._find(path)
        if location is None:
            corpus = self._corpus(self._split(path)[0])
            raise NoSuchPath(
                f"no such file or folder in generation {corpus.generation} of {corpus.root}; "
                "invalidate_cache() opens the current generation",
                root=corpus.root,
                path=path,
            )
        return location

    def _file(self, path: str) -> Location:
        location = None if self._is_top(path) else self._there(path)
        if location is None or not location.is_file:
            raise IsAFolder("the path is a folder, and a file is needed: list it with ls(), or name a file", path=path)
        return location

    def _is_top(self, path: str) -> bool:
        """Whether it is a folder that exists without opening a corpus. Raises ConfigError for an unknown name."""
        if path and self._root is None:
            self._reference(_PREFIX + path.partition("/")[0])
        return "/" not in path if self._root is None else not path

    # ------------------------------------------------------------ list

    def info(self, path: Any, **kwargs: Any) -> dict[str, Any]:
        """Name, type and size of the plaintext in bytes; for audio also its format, and `mtime` of the source file.

        Nothing about people: what `info` says ends up in the logs and caches of other tools.

        Raises:
            NoSuchPath, and what opening the corpus raises
        """
        path = self._strip_protocol(path)
        return folder_info(path) if self._is_top(path) else self._there(path).info()

    def ls(self, path: Any, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What a folder holds, sorted by name; for a file, itself.

        Raises:
            NoSuchPath, and what opening the corpus raises
        """
        path = self._strip_protocol(path)
        if self._root is None and not path:
            found = {name: folder_info(name) for name in self._names()}
        else:
            location = self._there(path)
            found = (
                self._below(location, 1, True, not detail) if location.is_folder else {location.name: location.info()}
            )
            if not location.is_file and location.name:
                del found[location.name]
        return [found[name] for name in sorted(found)] if detail else sorted(found)

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        bare: bool = False,
        **kwargs: Any,
    ) -> Any:
        """All files below a folder; with `bare` the details hold the type only.

        At the top of a filesystem without a root it opens every corpus that the config names.
        """
        path = self._strip_protocol(path)
        if maxdepth is not None and maxdepth < 1:
            raise InvalidArgument("maxdepth must be at least 1")
        found: dict[str, dict[str, Any]] = {}
        if self._root is None and not path:
            for name in self._names():
                if withdirs:
                    found[name] = folder_info(name)
                if maxdepth != 1:
                    found |= self.find(name, maxdepth and maxdepth - 1, withdirs, True, bare or not detail)
        elif location := self._find(path):
            found = self._below(location, maxdepth, withdirs, bare or not detail)
        return {name: found[name] for name in sorted(found)} if detail else sorted(found)

    def _below(self, location: Location, maxdepth: int | None, withdirs: bool, bare: bool) -> dict[str, dict[str, Any]]:
        found = {}
        folders: set[str] = set()
        overlay = location.overlay
        if location.is_file:
            found[location.name] = location.info()
        if location.is_folder and location.inner + location.prefix:
            folders.add(location.inner)
        for paths, rows in below(location.snapshot.index, location.inner, maxdepth, folders):
            if overlay is not None:
                kept = [at for at, path in enumerate(paths) if path not in overlay.removed]
                paths, rows = [paths[at] for at in kept], rows[kept]
            found |= location.infos(paths, rows, bare)
        if overlay is not None:
            folders = {one for one in folders if overlay.is_folder(location.snapshot.index, one)}
            for path in overlay.below(location.inner):
                parts = path[len(location.inner) + 1 if location.inner else 0 :].split("/")
                levels = len(parts) if maxdepth is None else min(len(parts), maxdepth)
                if levels == len(parts):
                    found[location.prefix + path] = (
                        BARE_FILE if bare else _at(replace(location, inner=path, is_folder=False)).info()
                    )
                for level in range(1, min(levels + 1, len(parts))):
                    folders.add("/".join([*filter(None, [location.inner]), *parts[:level]]))
        if withdirs:
            for folder in folders:
                name = (location.prefix + folder).rstrip("/")
                found.setdefault(name, BARE_FOLDER if bare else folder_info(name))
        return found

    def glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Paths that match a pattern; opens only corpora whose names match."""
        text = stringify_path(path)
        detail = kwargs.pop("detail", False)
        name, inside, rest = self._strip_protocol(text).partition("/")
        if self._root is not None or not inside or not has_magic(name) or name == "**":
            return super().glob(text, maxdepth, detail=detail, bare=not detail, **kwargs)
        rest += "/" * text.endswith("/")
        found: dict[str, Any] = {}
        for one in self._names():
            if fnmatchcase(one, name):
                found |= super().glob(f"{one}/{rest}", maxdepth, detail=True, bare=not detail, **kwargs)
        return found if detail else list(found)

    def expand_path(self, path: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> list[Any]:
        """Paths with patterns and folders resolved. Raises NoSuchPath"""
        try:
            found: list[Any] = super().expand_path(path, recursive, maxdepth, **kwargs)
        except SecuredataError:
            raise
        except FileNotFoundError:  # fsspec's has the paths in its text
            raise NoSuchPath("no such file or folder") from None
        return found

    def du(self, path: Any, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **_: Any) -> Any:
        """Bytes of plaintext below a folder, or of each file there."""
        sizes = {name: info["size"] for name, info in self.find(path, maxdepth, withdirs, detail=True).items()}
        return sum(sizes.values()) if total else sizes

    def exists(self, path: Any, **kwargs: Any) -> bool:
        """Whether there is a file or folder. Raises an error that leaves this open, such as a refusal by the KMS."""
        return self._type(path) is not None

    def isfile(self, path: Any) -> bool:
        """Whether there is a file. Raises as `exists`."""
        return self._type(path) == "file"

    def isdir(self, path: Any) -> bool:
        """Whether there is a folder. Raises as `exists`."""
        return self._type(path) == "directory"

    def _type(self, path: Any) -> str | None:
        path = self._strip_protocol(path)
        if self._root is None and path and path.partition("/")[0] not in self._names():
            return None
        if self._is_top(path):
            return "directory"
        location = self._find(path)
        return None if location is None else "file" if location.is_file else "directory"

    def ukey(self, path: Any) -> str:
        """Identifies the bytes of a file: while it is the same, so are they. Not a digest of them.

        Raises:
            NoSuchPath, IsAFolder
        """
        return self._file(self._strip_protocol(path)).ukey()

    def checksum(self, path: Any) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

    def modified(self, path: Any) -> datetime:
        """When the source file was last changed.

        Raises:
            NoSuchPath, IsAFolder
            InvalidArgument: it was not recorded.
        """
        when = self._file(self._strip_protocol(path)).info().get("mtime")
        if when is None:
            raise InvalidArgument("the modification time of the source was not recorded")
        return datetime.fromtimestamp(when, UTC)

    def invalidate_cache(self, path: Any = None) -> None:
        """Open the current generation of a path's corpus, or of all corpora that this filesystem has used.

        Raises:
            as `open_corpus`
        """
        super().invalidate_cache(path)
        stripped = self._strip_protocol(path) if path is not None else ""
        if stripped and self._root is None:
            targets = [_PREFIX + stripped.partition("/")[0]]
        else:
            targets = list(self._references)
        for target in targets:
            self._references.pop(target, None)
            refresh_corpus(self._reference(target), self._accept)


def _at(place: Location) -> Location:
    """A path with the file that is there, if there is one: the transaction's, or the corpus's."""
    put = None if place.overlay is None else place.overlay.find(place.inner)
    if isinstance(put, Written):
        return replace(place, written=put, row=None)
    row = None
    if put is not None or place.overlay is None or place.inner not in place.overlay.removed:
        with contextlib.suppress(NoSuchPath):
            row = place.snapshot.index.find(put or place.inner)
    return replace(place, row=row, written=None)


def _unpickled(
    kind: type[Listing], given: Sequence[Any], options: Mapping[str, Any], seen: Mapping[str, Mapping[bytes, Seen]]
) -> Listing:
    """A filesystem from its pickle: this process's own with the same options, if there is one."""
    fs = kind(*given, **options)
    fs._go_on_from(seen)
    return fs
