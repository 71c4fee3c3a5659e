"""Lhotse: manifests *recordings*.jsonl(.gz) with *supervisions*.jsonl(.gz), else *cuts*.jsonl(.gz), anywhere under SRC.

A supervision is a segment of one recording. If a recording has a file per channel, the supervision's channels choose
among them. Paths in a manifest are relative to SRC, or absolute. If another layout recognises more recordings by their
names, or as many, that one is used.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from securedata.errors import InvalidArgument
from securedata.ingest.sources.layouts.base import LOST, Described, Layout, LayoutRows, Text, content_of, is_split
from securedata.ingest.sources.layouts.lhotse.recordings import Book, Recording, located_in, recording_of
from securedata.ingest.sources.manifest_reader import collect, lines_in
from securedata.ingest.sources.origin import SourceProblem
from securedata.ingest.sources.texts import NoText, lines_of
from securedata.ingest.sources.values import DECODER
from securedata.ingest.sources.walk.names import printable
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.suffixes import without_suffix

_NAMED = re.compile(
    r"(?P<before>.*?)(?P<kind>recordings|supervisions|cuts)(?P<after>.*)\.jsonl(?:\.gz)?", re.IGNORECASE
)
_FIELDS = {
    "recordings": frozenset(("id", "sources", "sampling_rate")),
    "supervisions": frozenset(("id", "recording_id", "start", "duration")),
    "cuts": frozenset(("id", "start", "duration", "type")),
}
_CUTS = ("MonoCut", "MultiCut")
_OTHER_CUTS = (
    "is not a cut of one recording (a MonoCut or MultiCut), and is not taken",
    "are not cuts of one recording (MonoCut or MultiCut), and are not taken",
)
_NO_RECORDING = ("holds no recording", "hold no recording")
_OWN = (
    "id",
    "recording_id",
    "start",
    "duration",
    "text",
    "speaker",
    "language",
)  # of a supervision; others go to extra
_WHOLE = 0.005  # seconds between the end of a supervision and that of its recording


@dataclass(frozen=True, slots=True)
class _Named:
    """A manifest by its name.

    Attributes:
        kind: a key of `_FIELDS`.
        pair: the name without the kind, which is the same for recordings and supervisions that belong together.
        split: the split in the name; '' if there is none.
    """

    name: str
    kind: str
    pair: str
    split: str


def _manifests(tree: Tree) -> Iterator[_Named]:
    for name in tree.companion_names:
        folder, last = posixpath.split(name)
        if found := _NAMED.fullmatch(last):
            before, after = found["before"].rstrip("_-."), found["after"].lstrip("_-.")
            split = next((part for part in (after, before) if is_split(part)), "")
            yield _Named(name, found["kind"].lower(), f"{folder}/{before}|{after}", split)


def _first(manifest: _Named, content: bytes) -> dict[str, Any] | None:
    """The first line; None if it does not have the fields of its kind."""
    try:
        first = DECODER.decode(next(lines_of(content), (0, ""))[1])
    except (NoText, ValueError, RecursionError):
        return None
    return first if isinstance(first, dict) and first.keys() >= _FIELDS[manifest.kind] else None


def _sources(recording: Any) -> Iterator[str]:
    """The files that a recording names, as far as it is well-formed."""
    sources = recording.get("sources") if isinstance(recording, dict) else None
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and isinstance(source.get("source"), str):
            yield source["source"]


def first_source(tree: Tree) -> tuple[str, str] | None:
    """A manifest and the first file that it names; None if there is none."""
    for manifest in _manifests(tree):
        try:
            first = _first(manifest, content_of(tree, manifest.name)) or {}
        except SourceProblem:
            continue
        recording = first if manifest.kind == "recordings" else first.get("recording")
        sources = recording.get("sources") if isinstance(recording, dict) else None
        source = sources[0] if isinstance(sources, list) and sources else None
        if isinstance(source, dict) and source.get("type") == "file":  # a command or URL might hold a secret
            return manifest.name, str(source.get("source"))
    return None


def _count(tree: Tree) -> int:
    named: set[int] = set()
    index: Callable[[str], int] | None = None
    for manifest in _manifests(tree):
        if manifest.kind == "supervisions":
            continue
        try:
            content = content_of(tree, manifest.name)
        except SourceProblem:  # `describe` reports it, if another manifest tells the layout
            continue
        if _first(manifest, content) is None:
            continue
        index = index or located_in(tree)
        for _, values in lines_in(content, manifest.name):
            recording = values if manifest.kind == "recordings" else values.get("recording")
            named.update(index(name) for name in _sources(recording))
    return len(named - {-1})


def _describe(tree: Tree, described: Described) -> None:
    reader = _Reader(tree, described)
    lines = reader.rows()
    first = next(lines, None)
    if first is None:
        raise InvalidArgument(reader.why_nothing())
    rows = collect(_from(first, lines), "the Lhotse manifests", {}, None)
    rows.files, rows.of_what, rows.columns = reader.files, "the Lhotse manifests", ()
    for k, fault in reader.faults.items():
        rows.fault[k] = fault
    described.names_people = rows.names_people
    described.rows = LayoutRows(rows, reader.located)


def _from(first: tuple[int, dict[str, Any]], lines: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Any]:
    yield first
    yield from lines


@dataclass(slots=True, repr=False)  # holds names
class _Reader:
    """The rows in the manifests of a tree, and where each comes from.

    Attributes:
        located, files: for each row the index of its recording, and the name of its manifest.
        faults: row -> what is wrong with it.
    """

    tree: Tree
    described: Described
    located: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    index: Callable[[str], int] = field(init=False)
    left_out: Callable[[str], int] = field(init=False)

    def __post_init__(self) -> None:
        self.index = located_in(self.tree)
        self.left_out = located_in(self.tree, self.tree.exclusions.names)

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and values, by column, of each row.

        Raises:
            InvalidArgument: a malformed manifest, or a source that is not a file.
        """
        contents = {one: content for one in _manifests(self.tree) if (content := self._content(one)) is not None}
        kinds = {one.kind for one in contents}
        if "recordings" in kinds and ("supervisions" in kinds or "cuts" not in kinds):
            book = Book()
            for one, content in contents.items():
                if one.kind == "recordings":
                    self._enter(book, one, content)
            if "supervisions" not in kinds:
                yield from self._alone(book)
            for one, content in contents.items():
                if one.kind == "supervisions":
                    yield from self._supervisions(book, one, content)
                elif one.kind == "cuts":
                    reason = "is not read, for there are recordings and supervisions: it might name more people"
                    self.described.problems.append(Problem(printable(one.name), reason, taken=True))
            return
        for one, content in contents.items():
            if one.kind == "cuts":
                yield from self._cuts(one, content)

    def why_nothing(self) -> str:
        """Why there are no rows."""
        root = self.tree.root
        if not self.lost:
            return (
                f"{root} holds no Lhotse manifests that name recordings: *recordings*.jsonl(.gz) or *cuts*.jsonl(.gz)"
            )
        return (
            f"the Lhotse manifests name no recording under {root}: the first file they name is "
            f"{printable(self.lost[0])!r}; paths must be relative to SRC, or absolute and under it"
        )

    def _content(self, manifest: _Named) -> bytes | None:
        content = Text(self.tree, manifest.name, self.described).data()
        if not content or _first(manifest, content) is not None:
            return content or None
        wanted = ", ".join(sorted(_FIELDS[manifest.kind]))
        reason = f"not read, because its first line lacks a field of Lhotse {manifest.kind}: {wanted}"
        self.described.problems.append(Problem(printable(manifest.name), reason, taken=True))
        return None

    def _enter(self, book: Book, manifest: _Named, content: bytes) -> None:
        text = Text(self.tree, manifest.name, self.described)
        for line, values in lines_in(content, manifest.name):
            recording = recording_of(values, self.index, manifest.name, line, manifest.split)
            book.enter(manifest.pair, recording)
            self._note_lost(text, line, recording)
        text.report()

    def _note_lost(self, text: Text, line: int, recording: Recording) -> None:
        for name in recording.lost:
            if self.left_out(name) < 0:
                self.lost.append(name)
                text.note(LOST, line, name)

    def _alone(self, book: Book) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows of recordings without supervisions, whose speakers are unknown."""
        for recording in book.all():
            whole = {"id": recording.id, "start": 0, "duration": recording.duration}
            yield from self._row(recording.line, recording.manifest, whole, recording, recording.split)

    def _supervisions(self, book: Book, manifest: _Named, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        text = Text(self.tree, manifest.name, self.described)
        for line, values in lines_in(content, manifest.name):
            recording = book.find(manifest.pair, str(values.get("recording_id")), manifest.name, line)
            if recording is None or (not recording.files and not self._is_left_out(recording)):
                text.note(LOST, line, str(values.get("recording_id")))
                continue
            yield from self._row(line, manifest.name, values, recording, manifest.split or recording.split)
        text.report()

    def _is_left_out(self, recording: Recording) -> bool:
        return all(self.left_out(name) >= 0 for name in recording.lost)

    def _cuts(self, manifest: _Named, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        text = Text(self.tree, manifest.name, self.described)
        for line, cut in lines_in(content, manifest.name):
            if cut.get("type") not in _CUTS:
                text.note(_OTHER_CUTS, line, str(cut.get("id")))
                yield from self._mixed(line, manifest.name, cut.get("tracks"))
                continue
            if not isinstance(cut.get("recording"), dict):
                text.note(_NO_RECORDING, line, str(cut.get("id")))
                continue
            recording = recording_of(cut["recording"], self.index, manifest.name, line, manifest.split)
            self._note_lost(text, line, recording)
            supervisions = cut.get("supervisions") or [
                {"id": cut.get("id"), "start": 0, "duration": cut.get("duration")}
            ]
            if not isinstance(supervisions, list) or not all(isinstance(one, dict) for one in supervisions):
                raise InvalidArgument(f"{manifest.name}, line {line}: supervisions is not a list of JSON objects")
            for one in supervisions:
                start = _sum(cut.get("start"), one.get("start"))
                values = {"channel": cut.get("channel"), **one, "start": start, "cut": cut.get("custom")}
                yield from self._row(line, manifest.name, values, recording, manifest.split)
        text.report()

    def _mixed(self, line: int, name: str, tracks: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """A faulty row for each recording of a mixed cut, which might name more people in it."""
        cuts = [track.get("cut") for track in tracks if isinstance(track, dict)] if isinstance(tracks, list) else []
        recordings = [cut.get("recording") for cut in cuts if isinstance(cut, dict)]
        for i in sorted({self.index(source) for recording in recordings for source in _sources(recording)} - {-1}):
            self.faults[len(self.located)] = "it is part of a cut of several recordings, which is not read"
            self.located.append(i)
            self.files.append(name)
            yield line, {"path": self.tree.paths[i]}

    def _row(
        self, line: int, name: str, values: dict[str, Any], recording: Recording, split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """A supervision as a row for each file that holds its channels."""
        files = recording.of_channels(values.get("channel"))
        fault = recording.fault
        if not files:
            files, fault = recording.files, fault or "no source of its recording has its channel"
        start, duration = values.get("start"), values.get("duration")
        if start is None or duration is None:
            fault = fault or "it has no start or no duration"
        elif start == 0 and recording.duration is not None and _near(duration, recording.duration):
            start = None  # avoids reading the header; sealing compares the duration
        utterance, values = _utterance(values)
        extra = {key: value for key, value in values.items() if key not in _OWN and value is not None and value != ""}
        speaker = values.get("speaker")
        for i in files:
            path = self.tree.paths[i]
            row = {"path": path, "transcript": values.get("text"), "utterance": utterance, "split": split}
            row |= {"language": values.get("language"), "offset": start, "duration": duration}
            if speaker is not None and str(speaker).strip():
                row["speaker"] = speaker
            other = recording.id != posixpath.basename(without_suffix(path))
            if fault:
                self.faults[len(self.located)] = fault
            self.located.append(i)
            self.files.append(name)
            yield line, {**row, "extra": {**extra, "recording_id": recording.id} if other else dict(extra)}


def _utterance(values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What names a supervision, and its other values. Manifests of a corpus have paths as ids, the name in `custom`."""
    custom = values.get("custom")
    if not isinstance(custom, dict) or not isinstance(custom.get("utterance"), str) or not custom["utterance"]:
        return values.get("id"), values
    others = {key: value for key, value in custom.items() if key != "utterance"}
    return custom["utterance"], {**values, "custom": others or None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(one: Any, other: Any) -> Any:
    """The sum of two starts, or the one that is not a number, which becomes a fault of the row."""
    if _is_number(one) and _is_number(other):
        return round(one + other, 9)  # 0.1 + 0.2 is 0.3
    return one if not _is_number(one) else other


def _near(one: Any, other: float) -> bool:
    return _is_number(one) and abs(one - other) <= _WHOLE


LHOTSE = Layout("lhotse", _count, _describe, names_people=None)
