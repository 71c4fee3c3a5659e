"""Hugging Face AudioFolder: metadata.csv, .jsonl or .parquet beside the recordings, or in the folder of each split.

Its column `file_name` is relative to the folder of the metadata. Splits come from the names of folders (`split_of`),
speakers from a column or a rule.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import Rows, chosen_columns, collect, lines_in, place_of
from securedata.ingest.sources.members.shard import split_of
from securedata.ingest.sources.origin import SourceProblem
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree

AUDIOFOLDER = "audiofolder"

_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_COLUMN = "file_name"


class AudioFolder:
    """All metadata of a tree, as one manifest.

    Attributes:
        name: for messages.
        rows: its rows, whose names are relative to the root.
    """

    def __init__(self, tree: Tree, files: Mapping[str, list[tuple[int, dict[str, Any]]]]) -> None:
        """`files`: name of a metadata file -> its rows, by line number."""
        self._tree, self._files = tree, files
        self._where: list[str] = []  # the metadata file of each row
        self.name = next(iter(files)) if len(files) == 1 else f"{len(files)} metadata files"
        self.rows = Rows()

    def read(self, columns: Mapping[str, str | None], segment_unit: str | None) -> None:
        """Read all rows. Raises InvalidArgument."""
        chosen = {"path": _COLUMN, **chosen_columns(columns)}
        self.rows = collect(self._lines(chosen["path"] or _COLUMN), self.name, chosen, segment_unit, self._at)
        self.rows.files = self._where
        for k, name in enumerate(self.rows.names):
            self.rows.split[k] = self.rows.split[k] or split_of(name)

    def _at(self, line: int) -> str:
        return place_of(self._where[-1], line)

    def _lines(self, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for name, lines in self._files.items():
            folder = posixpath.dirname(name)
            for line, values in lines:
                path = values.get(column)
                if isinstance(path, str) and path:
                    values[column] = posixpath.normpath(posixpath.join(folder, path.replace("\\", "/")))
                self._where.append(name)
                yield line, values

    def locate(self, problems: list[Problem]) -> list[int]:
        """For each row the index of its file in the tree, or -1, which adds a problem.

        Raises:
            InvalidArgument: none of the files is in the tree.
        """
        index = {path: i for i, path in enumerate(self._tree.paths)}
        located = []
        for k, name in enumerate(self.rows.names):
            path = unicodedata.normalize("NFC", name)
            located.append(index.get(path, -1))
            if path in index:
                continue
            if path in self._tree.exclusions.names:
                problems.append(Problem(printable(name), f"{self.rows.place(k)}: left out on request", taken=True))
            else:
                problems.append(Problem(printable(name), f"{self.rows.place(k)}: no such recording under SRC"))
        if max(located) < 0:
            raise InvalidArgument(
                f"{self.name}: no row names a recording under {self._tree.root}; the first names "
                f"{printable(self.rows.names[0])!r}, and {_COLUMN} must be relative to the folder of the metadata"
            )
        return located


def audio_folder(
    tree: Tree, columns: Mapping[str, str | None], segment_unit: str | None, *, wanted: bool
) -> AudioFolder | None:
    """The metadata of a tree; None if no metadata file has a column `file_name`.

    Args:
        wanted: the caller asked for this layout.

    Raises:
        InvalidArgument: a folder has two metadata files, one cannot be read, or there is none although it is wanted.
    """
    files: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    folders: dict[str, str] = {}
    column = chosen_columns(columns).get("path") or _COLUMN
    for name in sorted((*tree.companion_names, *tree.tables)):
        folder, last = posixpath.split(name)
        if last not in _NAMES:
            continue
        lines = _lines_of(tree, name, column)
        if not any(column in values for _, values in lines):
            continue
        if folder in folders:
            raise InvalidArgument(f"{folders[folder]} and {name} both describe {folder or 'SRC'}: remove one")
        folders[folder] = name
        files[name] = lines
    if not files:
        if wanted:
            raise InvalidArgument(f"{tree.root} holds no metadata.csv, .jsonl or .parquet with a column {column!r}")
        return None
    found = AudioFolder(tree, files)
    found.read(columns, segment_unit)
    return found


def _unreadable(name: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{name} cannot be read: {why}; fix it, or ignore it with --layout none")


def _lines_of(tree: Tree, name: str, column: str) -> list[tuple[int, dict[str, Any]]]:
    try:
        content = tree.origin.content(name)
        if not name.endswith(".parquet"):
            first = content.lstrip().partition(b"\n")[0].decode("utf-8-sig", "replace")
            fields = [field.strip().strip('"') for field in first.split(",")]
            if column not in fields if name.endswith(".csv") else f'"{column}"'.encode() not in content:
                return []  # not an AudioFolder; LJSpeech has a metadata.csv without a header
        return list(lines_in(content, name))
    except (SourceProblem, InvalidArgument) as error:
        raise _unreadable(name, str(error)) from None
