"""WebDataset: tars whose members belong together if their names up to the first dot are equal: KEY.flac, KEY.json.

Members are read by their range of bytes, so compressed tars are refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from securedata.corpus.columns import target_of
from securedata.errors import InvalidArgument
from securedata.ingest.sources.members.shard import Shard
from securedata.ingest.sources.origin import SourceProblem
from securedata.ingest.sources.texts import NoText, strip, text_of
from securedata.ingest.sources.values import DECODER

_KEY = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")  # as in webdataset
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_TEXTS = ("txt", "lab", "cls")
_WITH_JSON = (*_TEXTS, "json")
_MAX_TEXT = 16 * 1024 * 1024
_BLOCK = 512
_TAIL = 1024 * 1024


class Member(NamedTuple):
    """A file in a tar: its name and its range of bytes."""

    name: str
    offset: int
    size: int

    def __repr__(self) -> str:  # the name often holds a person's name
        return f"Member({self.offset}, {self.size})"


class TarIndex:
    """What is in one tar.

    Attributes:
        members: its files, in order; the first of those with the same name.
        odd: name of a member -> why it cannot be taken.
        problem: what is wrong with the tar after these members; '' if nothing.
        orphans: names of texts that go with no recording.
        is_open: whether it has no end mark.
    """

    def __init__(self, shard: Shard) -> None:
        """Read the headers.

        Raises:
            SourceProblem: it is not a tar, or cannot be read.
        """
        self.members: dict[str, Member] = {}
        self.odd: dict[str, str] = {}
        self.problem = ""
        self.is_open = False
        self.orphans: list[str] = []
        self._groups: list[tuple[list[Member], dict[str, Member]]] = []
        self._shard = shard
        head = shard.read_at(0, min(_BLOCK, shard.stamp.size))
        for magic, kind in _COMPRESSED.items():
            if head.startswith(magic):
                raise SourceProblem(f"a tar compressed with {kind} cannot be read by range: decompress it first")
        with shard.open() as file:
            try:
                tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closed with its file
            except tarfile.TarError:
                raise SourceProblem("not a tar, or its first header is damaged") from None
            self._scan(tar)
        self._sort()

    def _scan(self, tar: tarfile.TarFile) -> None:
        seen = 0
        try:
            while (info := tar.next()) is not None:
                seen += 1
                self._add(info)
                tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header
        except tarfile.TarError:
            pass
        else:
            if not any(self._block(tar.offset)):
                self.is_open = tar.offset >= self._shard.stamp.size
                if self._has_more(tar.offset):
                    self.problem = (
                        f"another archive follows the end after member {seen}, and is not taken: unpack the file "
                        "(tar --ignore-zeros -xf) and pack it again"
                    )
                return
        self.problem = f"cut off or damaged after member {seen}: the rest is not taken"

    def _has_more(self, offset: int) -> bool:
        """Is there anything behind the mark of an end, which is filled up with zeros?"""
        size = self._shard.stamp.size
        pieces = (self._shard.read_at(at, min(_TAIL, size - at)) for at in range(offset, size, _TAIL))
        return any(piece.count(0) < len(piece) for piece in pieces)

    def _block(self, offset: int) -> bytes:
        return self._shard.read_at(offset, max(0, min(_BLOCK, self._shard.stamp.size - offset)))

    def _add(self, info: tarfile.TarInfo) -> None:
        name = info.name.removeprefix("./")
        if info.isdir():
            return
        if not info.isreg() or info.sparse is not None:
            self.odd[name] = "a link or another special member, not a file"
        elif info.offset_data + info.size > self._shard.stamp.size:
            self.odd[name] = "cut off: the tar ends in the middle of it"
        elif name in self.members:
            self.odd[f"{name} (again)"] = "the tar holds two members with this name; the first is taken"
        else:
            self.members[name] = Member(name, info.offset_data, info.size)

    def samples(self) -> Iterator[tuple[list[Member], dict[str, Any], str]]:
        """Recordings with the same key, the columns beside them, and what is wrong with those ('' if nothing)."""
        for recordings, texts in self._groups:
            try:
                if len({end.lower() for end in texts}) < len(texts):
                    raise SourceProblem("two texts of one kind")
                yield recordings, self._columns(texts), ""
            except (SourceProblem, NoText, ValueError, RecursionError):
                reason = (
                    "the texts beside it in the tar cannot be read (a .json must be one JSON object, and the only one)"
                )
                yield recordings, {}, reason

    def _sort(self) -> None:
        groups: dict[str, dict[str, Member]] = {}
        for name, member in self.members.items():
            found = _KEY.fullmatch(name)
            key, extension = found.groups() if found else (name, "")
            groups.setdefault(key, {})[extension] = member
        for group in groups.values():
            texts = {end: member for end, member in group.items() if end.lower() in _WITH_JSON}
            others = {end: member for end, member in group.items() if end not in texts}
            # of another sample, as 1.a.json beside 1.a.flac
            astray = [end for end in others if end.rpartition(".")[2].lower() in _WITH_JSON]
            self.orphans += [others.pop(end).name for end in astray]
            if others:
                self._groups.append((list(others.values()), texts))
            else:
                self.orphans += [member.name for member in texts.values()]

    def _columns(self, texts: dict[str, Member]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for extension, member in texts.items():
            if member.size > _MAX_TEXT:
                raise SourceProblem("a text of more than 16 MiB")
            text = text_of(self._shard.read_at(member.offset, member.size))
            if extension.lower() != "json":
                values.setdefault(extension.lower(), strip(text))
                continue
            found = DECODER.decode(text)
            if not isinstance(found, dict):
                raise SourceProblem("not one JSON object")
            values.update(found)
        return values


def words_of(values: dict[str, Any], chosen: dict[str, str | None]) -> None:
    """Use KEY.txt, else KEY.lab, as the transcript, unless the JSON holds one or the caller chose a column."""
    if "transcript" in chosen or any(target_of(name) == "transcript" for name in values):
        return
    for name in ("txt", "lab"):
        if name in values:
            values["transcript"] = values.pop(name)
            return


def check_columns(chosen: dict[str, str | None]) -> None:
    """Raises InvalidArgument if the caller chose a column of paths: a tar has none."""
    if chosen.get("path"):
        raise InvalidArgument("--columns path= is for manifests and tables: in a tar, every recording is a member")
