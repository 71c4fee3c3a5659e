"""The rows to seal, built from what names say and what a manifest adds."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby

import pyarrow as pa

from securedata.corpus.rows.inherit import stem
from securedata.corpus.schema import OPTIONAL
from securedata.corpus.schema import SCHEMA as ROWS
from securedata.corpus.segments import seconds_past, segment_path, to_frames
from securedata.corpus.state.consent import Consent
from securedata.errors import InvalidArgument
from securedata.ingest.sources.apart import Apart, heard
from securedata.ingest.sources.layouts.base import Described
from securedata.ingest.sources.manifest_reader import Rows
from securedata.ingest.sources.origin import SourceProblem
from securedata.ingest.sources.walk.tree import Problem, Tree
from securedata.media.audio.cut import memory
from securedata.media.audio.probe import AudioInfo
from securedata.media.media_type import media_type_of
from securedata.media.reason import Undecodable

_FIELDS = pa.schema([*ROWS, *OPTIONAL])
SCHEMA = pa.schema(
    [
        pa.field("path", pa.large_string(), nullable=False),
        pa.field("file", pa.large_string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("version", pa.large_string(), nullable=False),
        pa.field("subjects", pa.list_(pa.large_string()), nullable=False),
        pa.field("speaker", pa.large_string(), nullable=False),
        pa.field("utterance", pa.large_string(), nullable=False),
        pa.field("transcript", pa.large_string(), nullable=False),
        pa.field("split", pa.large_string(), nullable=False),
        pa.field("language", pa.large_string(), nullable=False),
        pa.field("start", pa.int64()),
        pa.field("frames_in_segment", pa.int64()),
        pa.field("duration", pa.float64()),
        *(_FIELDS.field(name) for name in Consent._fields),
        pa.field("extra", pa.large_string(), nullable=False),
        pa.field("described", pa.bool_(), nullable=False),
        pa.field("utterance_given", pa.bool_(), nullable=False),
        pa.field("apart", pa.bool_(), nullable=False),
        pa.field("memory", pa.int64()),
        _FIELDS.field("media_type"),
    ]
)


class SourceTable:
    """Builds the table, column by column."""

    def __init__(self, tree: Tree, described: Described) -> None:
        self.tree = tree
        self.described = described
        self.problems = list(tree.problems)
        self.unlisted = 0
        self.left_out = 0
        self.files: list[int] = []  # index into the tree
        self.paths: list[str] = []
        self.subjects: list[tuple[str, ...]] = []
        self.texts: dict[str, list[str]] = {
            name: [] for name in ("speaker", "utterance", "transcript", "split", "language")
        }
        self.start: list[int | None] = []
        self.frames: list[int | None] = []
        self.duration: list[float | None] = []
        self.consents: list[Consent] = []
        self.extra: list[str] = []
        self.described_rows: list[bool] = []
        self.utterance_given: list[bool] = []
        self.apart_rows: set[int] = set()  # indexes into the lists above; few are cut out
        self.memory: dict[int, int] = {}
        self.copies = False
        self.apart = Apart()

    def add_files(self) -> None:
        """Add all recordings, as their names and folders describe them."""
        for i in range(len(self.tree)):
            self._add_file(i, described=True)
        self.problems += self.described.problems

    def add_rows(self, rows: Rows, located: list[int], only_listed: bool = False, copies: bool = False) -> None:
        """Add the recordings that rows describe, and, unless `only_listed`, those that no row names.

        Args:
            rows: from a manifest, or from the tables of a layout.
            located: for each row the index of its file, or -1.
            copies: each row has a copy of its recording, of which others may have other segments, with other people: a
                segment becomes an object of its own, whomever it names.
        """
        listed = (k for k in range(len(rows)) if located[k] >= 0)
        self.copies = copies
        order = sorted(listed, key=lambda k: (located[k], rows.offset[k] or 0.0))
        groups = {i: list(group) for i, group in groupby(order, located.__getitem__)}
        for i in range(len(self.tree)):
            if i in groups:
                self._add_group(i, groups[i], rows)
            elif not only_listed:
                self._add_unlisted(i, rows)
        self.unlisted = len(self.tree) - len(groups)
        self.left_out = self.unlisted if only_listed else 0
        passed_over = {path for i, path in enumerate(self.tree.paths) if i not in groups} if only_listed else set()
        self.problems += [problem for problem in self.described.problems if problem.path not in passed_over]
        self._check_unique()

    def _add_file(self, i: int, described: bool) -> None:
        subject = self.described.subject[i]
        if subject:  # otherwise it has a problem already
            self._add(i, None, (subject,), ("", "", "", "", ""), None, "", described)

    def _add_unlisted(self, i: int, rows: Rows) -> None:
        path = self.tree.paths[i]
        unnamed = f"no row of {rows.of_what} names it"
        if rows.names_people:
            self.problems.append(Problem(path, f"{unnamed}, so its speaker is unknown"))
        elif self.described.subject[i]:
            self.problems.append(Problem(path, unnamed, taken=True))
            self._add_file(i, described=False)

    def _add_group(self, i: int, group: list[int], rows: Rows) -> None:
        """Add the rows of one file: all or none, because a row that is dropped might name another person."""
        path = self.tree.paths[i]
        for k in group:
            if rows.fault[k]:
                self.problems.append(Problem(path, f"{rows.place(k)}: {rows.fault[k]}"))
                return
            if rows.names_people and not rows.subjects[k]:
                self.problems.append(Problem(path, f"{rows.place(k)} names no speaker"))
                return
        if not rows.names_people and not self.described.subject[i]:
            return  # it has a problem already
        info = None
        if len(group) > 1 or rows.offset[group[0]] is not None:
            try:
                info = self._probe(i)
            except (Undecodable, SourceProblem) as error:
                self.problems.append(Problem(path, str(error)))
                return
        self._add_segments(i, group, rows, info)

    def _probe(self, i: int) -> AudioInfo:
        tree, origin = self.tree, self.tree.origin
        return origin.probe(origin.file(tree.names[i]), tree.stamp(i))

    def _add_segments(self, i: int, group: list[int], rows: Rows, info: AudioInfo | None) -> None:
        found = self._segments(i, group, rows, info)
        first: dict[tuple[int, int] | None, int] = {}
        for k, segment in found:
            if first.setdefault(segment, k) != k:
                self.problems.append(self._twice(i, rows, first[segment], k, segment is None))
        people = own = [rows.subjects[k] if rows.names_people else (self.described.subject[i],) for k, _ in found]
        apart = info is not None and (self.copies or any(set(names) != set(own[0]) for names in own))
        if apart and info is not None:
            spans = [(0, info.frames) if segment is None else (segment[0], sum(segment)) for _, segment in found]
            people = heard(spans, own)  # including rows that are left out
            path = self.tree.paths[i]
            more = {
                segment_path(path, *segment): set(people[at]) != set(own[at])
                for at, (k, segment) in enumerate(found)
                if segment is not None and first[segment] == k
            }
            self.apart.add(more, spans, info.frames, info.sample_rate)
        for at, (k, segment) in enumerate(found):
            if first[segment] != k:
                continue
            texts = (rows.speaker[k], rows.utterance[k], rows.transcript[k], rows.split[k], rows.language[k])
            if apart and not texts[0] and len(own[at]) == 1:
                texts = (own[at][0], *texts[1:])  # the speaker, even if others are heard
            duration = rows.duration[k] if segment is None and not rows.in_samples else None
            self._add(i, segment, people[at], texts, duration, rows.extra[k], True, rows.consent[k])
            if apart and segment is not None:
                self.apart_rows.add(len(self.paths) - 1)
            if info is not None and segment is not None:
                self.memory[len(self.paths) - 1] = memory(info, segment[1])

    def _segments(
        self, i: int, group: list[int], rows: Rows, info: AudioInfo | None
    ) -> list[tuple[int, tuple[int, int] | None]]:
        """Rows and their (start, frames), None for the whole recording; a segment outside it is a problem."""
        found: list[tuple[int, tuple[int, int] | None]] = []
        for k in group:
            if info is None:
                found.append((k, None))
                continue
            offset, duration = rows.offset[k] or 0.0, rows.duration[k]
            if rows.in_samples:
                offset /= info.sample_rate
                duration = None if duration is None else duration / info.sample_rate
            try:
                found.append((k, to_frames(offset, duration, info)))
            except ValueError as error:
                self.problems.append(Problem(self.tree.paths[i], f"{rows.place(k)}: {error}"))
                continue
            if past := seconds_past(offset, duration, info):
                reason = f"{rows.place(k)} ends {past:.2f} s after the recording ends, and is cut off there"
                self.problems.append(Problem(self.tree.paths[i], reason, taken=True))
        return found

    def _twice(self, i: int, rows: Rows, first: int, k: int, whole: bool) -> Problem:
        """The problem of a row for a recording that an earlier row describes; harmless if both say the same."""
        reason = f"{rows.place(k)} is left out: {rows.place_beside(first, k)} names the same recording"
        texts = (rows.speaker, rows.utterance, rows.transcript, rows.split, rows.language, rows.extra)
        same = all(column[first] == column[k] for column in (*texts, rows.consent))
        if not same:
            reason += " with other values"
            reason += "; if these are segments, name their columns: --columns offset=NAME end=NAME" if whole else ""
        return Problem(self.tree.paths[i], reason, taken=same)

    def _add(
        self,
        i: int,
        segment: tuple[int, int] | None,
        people: tuple[str, ...],
        texts: tuple[str, str, str, str, str],
        duration: float | None,
        extra: str,
        described: bool,
        consent: Consent = Consent(),  # noqa: B008 - immutable
    ) -> None:
        known = self.described
        path = self.tree.paths[i] if segment is None else segment_path(self.tree.paths[i], *segment)
        speaker, utterance, transcript, split, language = texts
        self.files.append(i)
        self.paths.append(path)
        self.subjects.append(people)
        named = known.utterance[i] if segment is None else ""
        # a row in the corpus keeps its utterance if this run knows only the file's stem, even from a pattern
        self.utterance_given.append(bool(utterance) or (bool(named) and named != stem(path)))
        self.texts["speaker"].append(speaker or (people[0] if len(people) == 1 else ""))
        self.texts["utterance"].append(utterance or named or stem(path))
        self.texts["transcript"].append(transcript or known.transcript[i])
        self.texts["split"].append(split or known.split[i])
        self.texts["language"].append(language or known.language[i])
        start, frames = segment or (None, None)
        self.start.append(start)
        self.frames.append(frames)
        self.duration.append(duration)
        self.consents.append(consent)
        self.extra.append(_merge(known.extra[i], extra))
        self.described_rows.append(described)

    def _check_unique(self) -> None:
        """Raises InvalidArgument if a file has the path that a segment of another file gets."""
        if len(set(self.paths)) == len(self.paths):
            return
        twice = next(path for path, count in Counter(self.paths).items() if count > 1)
        raise InvalidArgument(
            f"a file and a segment of another file would both be {twice!r} in the corpus; rename the file", path=twice
        )

    def _media_type(self, path: str) -> str | None:
        return media_type_of(path) if path in self.tree.included else None

    def table(self) -> pa.Table:
        """The finished table."""
        tree, rows = self.tree, len(self.paths)
        columns = {
            "path": self.paths,
            "file": [tree.origin.file(tree.names[i]) for i in self.files],
            "size": [tree.sizes[i] for i in self.files],
            "mtime_ns": [tree.mtimes[i] for i in self.files],
            "version": [tree.versions[i] for i in self.files],
            "subjects": self.subjects,
            **self.texts,
            "start": self.start,
            "frames_in_segment": self.frames,
            "duration": self.duration,
            **{name: [getattr(one, name) for one in self.consents] for name in Consent._fields},
            "extra": self.extra,
            "described": self.described_rows,
            "utterance_given": self.utterance_given,
            "apart": [k in self.apart_rows for k in range(rows)] if self.apart_rows else [False] * rows,
            "media_type": [self._media_type(tree.paths[i]) for i in self.files],
            "memory": [self.memory.get(k) for k in range(rows)] if self.memory else [None] * rows,
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _merge(named: dict[str, str] | None, extra: str) -> str:
    """The extras of a file's name and of its row as one JSON text; the row's values take precedence."""
    if not named:
        return extra
    both = {**named, **json.loads(extra)} if extra else named
    return json.dumps(both, ensure_ascii=False, separators=(",", ":"))
