"""A manifest, beside the recordings or elsewhere: its rows, and the file that each of them names."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import Rows, read_rows
from securedata.ingest.sources.origin import LocalOrigin, SourceProblem
from securedata.ingest.sources.remote import is_url, origin_of
from securedata.ingest.sources.texts import spellings
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.printable import without_secrets


class Manifest:
    """One manifest, read.

    Attributes:
        name: for messages.
        rows: its rows.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        tree: Tree,
        columns: Mapping[str, str | None] | None,
        options: Mapping[str, str],
        segment_unit: str | None = None,
    ) -> None:
        """Read the file or URL `where`; if there is no such file, the one of that name under SRC.

        Raises:
            InvalidArgument: it is missing, or it is not a manifest.
            StorageError: its origin cannot be read.
        """
        self._tree = tree
        self._where = _found(os.fspath(where), tree)
        self.name = posixpath.basename(without_secrets(self._where) if is_url(self._where) else self._where)
        content = None
        if is_url(self._where):
            content = self._fetch(options)
        self.rows: Rows = read_rows(self._where, columns, content, segment_unit)

    def _fetch(self, options: Mapping[str, str]) -> bytes:
        root = self._tree.root
        try:
            if self._where.startswith(f"{root}/"):
                return self._tree.origin.content(self._where[len(root) + 1 :])
            folder, _, name = self._where.rpartition("/")
            of_s3 = self._where.startswith("s3://")
            return origin_of(folder, options if of_s3 else {}).content(name)
        except SourceProblem as problem:
            raise InvalidArgument(f"{self.name}: the manifest {without_secrets(self._where)}: {problem}") from problem

    def locate(self, problems: list[Problem]) -> list[int]:
        """For each row the index of its file in the tree, or -1, which adds a problem.

        Raises:
            InvalidArgument: none of the files is in the tree.
        """
        rows, tree = self.rows, self._tree
        index = {path: i for i, path in enumerate(tree.paths)}
        bases = self._bases()
        roots = tuple(dict.fromkeys(f"{unicodedata.normalize('NFC', root).rstrip('/')}/" for root in self._roots()))
        located, found_by = [], []
        for k, name in enumerate(rows.names):
            meant = ((index.get(path, -1), base) for base, path in self._meant(name, bases, roots))
            i, base = next((one for one in meant if one[0] >= 0), (-1, ""))
            located.append(i)
            found_by.append(base)
            if i < 0 and not tree.exclusions.names.isdisjoint(path for _, path in self._meant(name, bases, roots)):
                problems.append(Problem(printable(name), f"{rows.place(k)}: left out on request", taken=True))
            elif i < 0:
                exists = any(os.path.exists(os.path.join(base, name)) for base in bases if not is_url(base))
                not_taken = exists or is_url(tree.root)
                reason = "is not among the recordings taken from SRC" if not_taken else "no such file"
                problems.append(Problem(printable(name), f"{rows.place(k)}: {reason}"))
        self._drop_strays(located, found_by, bases, problems)
        if max(located) < 0:
            raise InvalidArgument(
                f"{self.name} names no recording under {tree.root}: its first row names {printable(rows.names[0])!r}; "
                "paths may be relative to the manifest's folder or to SRC"
            )
        return located

    def _drop_strays(self, located: list[int], found_by: list[str], bases: list[str], problems: list[Problem]) -> None:
        """Take back what only another folder than that of most rows leads to: it may be another recording."""
        counts = Counter(base for base in found_by if base)
        if len(counts) < 2:  # nearly always
            return
        usual = max((base for base in bases if base in counts), key=counts.__getitem__)
        for k, base in enumerate(found_by):
            if base in ("", usual):
                continue
            reason = (
                f"{self.rows.place(k)}: it is there only relative to {without_secrets(base)}, and "
                f"most rows are relative to {without_secrets(usual)}: write its absolute path"
            )
            problems.append(Problem(printable(self.rows.names[k]), reason))
            located[k] = -1

    def _meant(self, name: str, bases: list[str], roots: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """The paths under SRC that the name in a row may mean, best first, and the folder of a relative one."""
        for one in spellings(name):
            is_relative = not one.startswith("/") and not is_url(one)
            for base in bases:
                path = _join(base, one, base == self._tree.root)
                relative = base if is_relative else ""
                yield from ((relative, path[len(root) :]) for root in roots if path.startswith(root))

    def _bases(self) -> list[str]:
        own = self._where.rpartition("/")[0] if is_url(self._where) else os.path.dirname(os.path.abspath(self._where))
        return list(dict.fromkeys((own, f"{own.rstrip('/')}/clips", self._tree.root)))

    def _roots(self) -> tuple[str, ...]:
        """SRC as given, and with its links resolved: a manifest may spell it either way."""
        root = self._tree.root
        return (root, os.path.realpath(root)) if isinstance(self._tree.origin, LocalOrigin) else (root,)


def _found(where: str, tree: Tree) -> str:
    if where.startswith(("file://", "local://")):
        return where.partition("://")[2]
    if is_url(where) or os.path.isabs(where) or Path(where).exists():
        return where
    if isinstance(tree.origin, LocalOrigin):
        under_src = tree.origin.file(where)
        return under_src if os.path.exists(under_src) else where
    return tree.origin.file(where)


def _join(base: str, name: str, is_root: bool) -> str:
    """A name in a manifest as an absolute path or URL, which it may already be."""
    if is_url(name):
        scheme, _, rest = name.partition("://")
        return f"{scheme}://{posixpath.normpath(rest)}"
    if not is_url(base):
        whole = posixpath.normpath(posixpath.join(base, name))  # an absolute name replaces the base
        return unicodedata.normalize("NFC", whole)
    if is_root:  # kept as it is: a chain of URLs has no parent folder
        return unicodedata.normalize("NFC", f"{base}/{posixpath.normpath(name)}")
    scheme, _, rest = base.partition("://")
    return unicodedata.normalize("NFC", f"{scheme}://{posixpath.normpath(posixpath.join(rest, name))}")
