"""Sources whose recordings are inside other files: which files those are, and what they say about each recording."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from securedata.errors import InvalidArgument
from securedata.ingest.sources.manifest_reader import Rows, chosen_columns, collect, place_of
from securedata.ingest.sources.members.naming import Claim, ReadRows, names_of
from securedata.ingest.sources.members.origin import InTable, InTar, MemberOrigin
from securedata.ingest.sources.members.shard import Shard, missing_of, split_of
from securedata.ingest.sources.members.table import (
    ArrowShard,
    ParquetShard,
    TableShard,
    audio_column,
    perhaps_audio,
    values_of,
)
from securedata.ingest.sources.members.tar import TarIndex, check_columns, words_of
from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.texts import NoText, text_of
from securedata.ingest.sources.walk.file_kinds import TARS, is_tar
from securedata.ingest.sources.walk.listing import add, look_into_unknown, refuse, take_listed
from securedata.ingest.sources.walk.names import printable, wrong_name
from securedata.ingest.sources.walk.tree import Problem, Tree, closed_by

FORMATS = ("auto", "files", "webdataset", "parquet", "arrow")
"""How recordings come: as files, or inside files; 'auto': inside files if there are no others."""

UNKNOWN = -1
"""Size of a recording in Parquet, until it is read."""

_MEMBER = "\0member"  # the column of the recording's claim, by number; no other column can be called this
_SUFFIXES = {
    "webdataset": TARS,
    "parquet": (".parquet",),
    "arrow": (".arrow",),
}


class Members:
    """The recordings inside the shards of a tree, described like the rows of a manifest.

    Attributes:
        name: for messages.
        rows: one per recording.
    """

    def __init__(
        self,
        tree: Tree,
        kind: str,
        shards: dict[str, Stamp],
        columns: Mapping[str, str | None],
        read_rows: ReadRows | None,
    ) -> None:
        self.name = kind
        self._tree, self._kind, self._chosen = tree, kind, chosen_columns(columns)
        self._base = tree.origin
        self._origin = MemberOrigin(tree.origin)
        self._read_rows = read_rows
        self._claims: list[Claim] = []
        self._faults: list[tuple[int, str]] = []  # a claim, and what is wrong with its texts
        self._splits: list[str] = []
        self._files: list[str] = []  # the shard of each row
        self._shards = shards
        self.rows = Rows()

    def read(self, segment_unit: str | None) -> None:
        """Put the members into the tree in place of their shards.

        Raises:
            InvalidArgument: no shard has a column of recordings, or a required column is missing.
        """
        tree, chosen = self._tree, dict(self._chosen)
        audio = chosen.get("path")
        if self._kind == "webdataset":
            check_columns(chosen)
        # recordings in a shard are cut already: times refer to the original, unless the caller says otherwise
        chosen.setdefault("offset", None)
        chosen.setdefault("end", None)
        chosen["path"] = _MEMBER
        tree.origin = self._origin
        lines = self._lines_of_tars() if self._kind == "webdataset" else self._lines_of_tables(audio)
        first = next(lines, None)
        if first is not None:
            self.rows = collect(chain([first], lines), self.name, chosen, segment_unit, self._at)
            self.rows.files = self._files
        self._take_named()
        tree.unknown += [(name, stamp) for name, stamp in tree.shards.items() if stamp is not None]  # tars inside tars
        look_into_unknown(tree)
        self.rows.columns = tuple(name for name in self.rows.columns if name != _MEMBER)
        for k, split in enumerate(self._splits):
            self.rows.split[k] = self.rows.split[k] or split
        for name in missing_of(self._shards):
            tree.problems.append(
                Problem(printable(name), "this shard is missing, according to the numbers in the names of the others")
            )

    def _take_named(self) -> None:
        """Put the recordings into the tree, now that all claims to a path are known."""
        tree = self._tree
        names = names_of(self._claims, self._read_rows, self._origin.digest)
        for claim, name in zip(self._claims, names, strict=True):
            self._origin.places[name] = claim.place
            if isinstance(claim.place, InTar):
                take_listed(tree, name, claim.stamp)
                continue
            tree.files += 1
            if tree.exclusions.match(name):
                tree.left_out += 1
            else:
                add(tree, name, claim.stamp)
        self.rows.names = [names[int(number)] for number in self.rows.names]
        tree.problems += [Problem(printable(names[at]), fault, taken=True) for at, fault in self._faults]

    def _claim(self, plain: str, other: str, stamp: Stamp, place: InTar | InTable) -> int:
        self._claims.append(Claim(plain, other, stamp, place))
        return len(self._claims) - 1

    def locate(self, problems: list[Problem]) -> list[int]:
        """For each row the index of its recording in the tree, or -1 if it is not a recording."""
        index = {name: i for i, name in enumerate(self._tree.names)}
        return [index.get(name, -1) for name in self.rows.names]

    def _at(self, line: int) -> str:
        return place_of(self._files[-1], line)

    def _lines_of_tars(self) -> Iterator[tuple[int, dict[str, Any]]]:
        tree = self._tree
        for name, stamp in self._shards.items():
            shard = Shard(self._base, name, stamp)
            try:
                index = TarIndex(shard)
            except SourceProblem as problem:
                self._refuse(name, stamp, problem)
                continue
            tree.files -= 1
            claimed: dict[str, int] = {}
            for at, member in enumerate(index.members.values()):
                place = InTar(shard, member.offset, member.size)
                stamp_of_member = shard.stamp_of(at, member.size)
                other = f"{shard.stem}/{member.name}"
                claimed[member.name] = self._claim(member.name, other, stamp_of_member, place)
            for odd, reason in index.odd.items():
                tree.files += 1
                refuse(tree, printable(f"{name}/{odd}"), reason)
            if index.problem:
                tree.problems.append(Problem(printable(name), index.problem))
                tree.refused[name] = stamp
            elif index.is_open:
                reason = "it has no mark of its end, so it may have been cut off between two members"
                tree.problems.append(Problem(printable(name), reason, taken=True))
            if index.orphans:
                count = f"{len(index.orphans)} texts have" if len(index.orphans) > 1 else "1 text has"
                reason = f"{count} no recording, the first is {printable(index.orphans[0])!r}; names count up to a dot"
                tree.problems.append(Problem(printable(name), reason, taken=True))
            split, shown, line = split_of(name), printable(name), 0
            for recordings, values, fault in index.samples():
                words_of(values, self._chosen)
                for member in recordings:
                    line += 1
                    self._splits.append(split)
                    self._files.append(shown)
                    if fault:
                        self._faults.append((claimed[member.name], fault))
                    yield line, {**values, _MEMBER: str(claimed[member.name])}

    def _lines_of_tables(self, audio: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
        tree, columns = self._tree, dict[str, None]()
        found, without = set[str](), dict[str, TableShard]()
        for name, stamp in self._shards.items():
            try:
                table = _open(self._kind, Shard(self._base, name, stamp))
                column = audio_column(table.schema, audio)
                if column is None:
                    columns.update(dict.fromkeys(table.schema.names))
                    without[name] = table
                    continue
            except SourceProblem as problem:
                self._refuse(name, stamp, problem)
                continue
            found.add(column)
            tree.files -= 1
            try:
                yield from self._lines_of_table(table, column)
            except SourceProblem as problem:
                tree.problems.append(Problem(printable(name), f"{problem}; the rest of it is not taken"))
                tree.refused[name] = stamp
        for name, table in without.items():
            if found and (perhaps := perhaps_audio(table.schema, found)):
                reason = (
                    f"its column {perhaps!r} is not a struct<bytes, path> as in the other tables: write it as those are"
                )
                self._refuse(name, table.shard.stamp, SourceProblem(reason))
            else:
                tree.companions += 1
        if columns and not found:
            raise InvalidArgument(
                f"no column of recordings (struct<bytes, path>) in {len(self._shards)} files; they have "
                f"{', '.join(map(printable, columns))}: use --columns path=NAME for a column of bytes"
            )

    def _lines_of_table(self, table: TableShard, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
        shard, row, last_group, first = table.shard, 0, -1, 0
        split, shown = self._split(shard.name), printable(shard.name)
        for group, others, paths, sizes in table.others(column):
            if group != last_group:
                last_group, first = group, row
            for k, values in enumerate(values_of(others, table.schema)):
                inside = _inside(paths[k].as_py()) if paths is not None else ""
                other = f"{shard.stem}#{row}"
                size = UNKNOWN if sizes is None or not sizes[k].is_valid else sizes[k].as_py()
                place = InTable(table, column, group, row - first)
                claim = self._claim(inside or other, other, shard.stamp_of(row, size), place)
                values.pop(column, None)
                values.pop("", None)
                self._splits.append(split)
                self._files.append(shown)
                row += 1
                yield row, {**values, _MEMBER: str(claim)}
        shard.check()

    def _split(self, name: str) -> str:
        """The split in state.json, if the data set was saved to disk, else the one in the name."""
        if self._kind == "arrow":
            state = _state(self._base_content(posixpath.join(posixpath.dirname(name), "state.json")))
            if isinstance(state.get("_split"), str) and state["_split"]:
                return str(state["_split"])
        return split_of(name)

    def _base_content(self, name: str) -> bytes:
        try:
            return self._base.content(name)
        except SourceProblem:  # it is missing
            return b"{}"

    def _refuse(self, name: str, stamp: Stamp, problem: SourceProblem) -> None:
        refuse(self._tree, printable(name), str(problem))
        self._tree.refused[name] = stamp


def members_of(
    tree: Tree,
    source_format: str,
    columns: Mapping[str, str | None],
    segment_unit: str | None,
    read_rows: ReadRows | None,
) -> Members | None:
    """Replace shards in a tree by the recordings inside them; None if the recordings are files themselves.

    Args:
        read_rows: reads the rows of the corpus, whose recordings keep their paths; None: there is none.

    Raises:
        InvalidArgument: the format is unknown, there are no such files, or several kinds of them.
    """
    if source_format not in FORMATS:
        raise InvalidArgument(f"unknown source format {source_format!r}: choose one of {', '.join(FORMATS)}")
    kinds = {kind: _of_kind(tree, kind) for kind in _SUFFIXES} if source_format != "files" else {}
    if source_format != "auto":
        kinds = {kind: shards for kind, shards in kinds.items() if kind == source_format}
        if source_format != "files" and not kinds[source_format]:
            raise InvalidArgument(f"{tree.root} holds no file for --source-format {source_format}")
    elif len(tree):
        kinds = {}
    else:
        kinds = {
            kind: shards for kind, shards in kinds.items() if shards and _has_recordings(tree, kind, shards, columns)
        }
    if len(kinds) > 1:
        raise InvalidArgument(f"{tree.root} holds {' and '.join(kinds)}: choose one, such as --source-format parquet")
    found = None
    for kind, shards in kinds.items():
        for name in shards:
            del tree.shards[name]
        if kind != "webdataset":
            tree.companions -= len(shards)  # tables were counted as companions
        found = kind, shards
    for name, stamp in tree.shards.items():
        if is_tar(name) and stamp is not None:
            tree.unknown.append((name, stamp))
    more = bool(tree.unknown)
    look_into_unknown(tree)
    if source_format != "files":
        _refuse_unopened(tree)
    tree.tables = [name for name in tree.shards if not is_tar(name)]
    tree.shards = {}
    if found is None:
        if more:  # otherwise still sorted; sorting takes a tenth of a run that finds nothing new
            tree.sort()
        return None
    _without_files(tree)
    members = Members(tree, *found, columns, read_rows)
    members.read(segment_unit)
    return members


def _refuse_unopened(tree: Tree) -> None:
    """Tables of recordings that are not opened, beside what is taken: as companions they would be lost."""
    for kind in ("parquet", "arrow"):
        for name, stamp in _of_kind(tree, kind).items():
            try:
                schema = _open(kind, Shard(tree.origin, name, stamp)).schema
            except SourceProblem:  # not a table
                continue
            try:
                holds = audio_column(schema, None) is not None
            except InvalidArgument:  # several such columns
                holds = True
            if holds:
                tree.companions -= 1
                tree.refused[name] = stamp
                reason = f"it holds recordings, which --source-format {kind} takes in a run of its own"
                refuse(tree, printable(name), f"{reason}; --leave-out goes without it")


def _without_files(tree: Tree) -> None:
    """Leave out the recordings beside the shards: the caller chose the shards."""
    if not len(tree):
        return
    reason = f"it and {len(tree) - 1} more recordings beside the shards are left out: --source-format files takes them"
    tree.problems.append(Problem(tree.paths[0], reason, taken=True))
    tree.left_out += len(tree)
    for column in (tree.paths, tree.names, tree.versions):
        column.clear()
    del tree.sizes[:], tree.mtimes[:]


def _of_kind(tree: Tree, kind: str) -> dict[str, Stamp]:
    found = {}
    for name in sorted(tree.shards):
        last = posixpath.basename(name)
        if not name.lower().endswith(_SUFFIXES[kind]) or last.startswith("cache-") or wrong_name(name):
            continue
        stamp = tree.shards[name] or tree.origin.stamp(name)
        if stamp is not None:
            found[name] = stamp
    if kind == "arrow":
        found = _saved(tree, found)
    return found


def _saved(tree: Tree, shards: dict[str, Stamp]) -> dict[str, Stamp]:
    """Drop files that state.json beside them does not list: caches that the datasets library keeps."""
    listed: dict[str, set[str] | None] = {}
    for folder in {posixpath.dirname(name) for name in shards}:
        try:
            state = _state(tree.origin.content(posixpath.join(folder, "state.json")))
        except SourceProblem:  # it is missing
            continue
        files = state.get("_data_files")
        if isinstance(files, list):
            listed[folder] = {str(one.get("filename")) for one in files if isinstance(one, dict)}
    return {
        name: stamp
        for name, stamp in shards.items()
        if (files := listed.get(posixpath.dirname(name))) is None or posixpath.basename(name) in files
    }


def _has_recordings(tree: Tree, kind: str, shards: dict[str, Stamp], columns: Mapping[str, str | None]) -> bool:
    """Whether one of them has a column of recordings; tars are opened later."""
    if kind == "webdataset":
        return True
    chosen = chosen_columns(columns).get("path")
    for name, stamp in shards.items():
        try:
            if chosen or audio_column(_open(kind, Shard(tree.origin, name, stamp)).schema, None):
                return True
        except SourceProblem:  # reported by the run that takes the others
            continue
    return False


def _open(kind: str, shard: Shard) -> TableShard:
    return ParquetShard(shard) if kind == "parquet" else ArrowShard(shard)


def _state(content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(text_of(content))
    except (ValueError, NoText, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _inside(path: str | None) -> str:
    """A path in a row as a name in the corpus: an absolute path keeps only its last part; '' if there is none."""
    if not path or "\0" in path:
        return ""
    name = posixpath.normpath(path.replace("\\", "/"))
    if name.startswith(("/", "..")) or name[1:2] == ":" or "://" in path:
        name = posixpath.basename(name)
    return "" if closed_by(name) else name
