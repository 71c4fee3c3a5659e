"""Previews an ingest: every recording that would be sealed is read, hashed and probed.

The corpus is opened for reading, if there is one. Nothing is written: no corpus, key, state or object.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import seconds
from securedata.corpus.rows.inherit import CLEARABLE
from securedata.corpus.schema import CUT
from securedata.corpus.segments import recording_path
from securedata.ingest.byte_budget import TOTAL, ByteBudget
from securedata.ingest.classify import Known, Todo, classify_tables, of_recordings
from securedata.ingest.copies.duplicates import Duplicates, other_people
from securedata.ingest.cutting import Cutter
from securedata.ingest.known_bad import NotTaken, amount, bad_of
from securedata.ingest.report import Sources, given
from securedata.ingest.sources.apart import Apart
from securedata.ingest.sources.origin import PIECE, SourceProblem, Stamp
from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk.tree import Problem
from securedata.media.audio.cut import cut_of
from securedata.media.audio.probe import NO_AUDIO, AudioInfo, probe
from securedata.media.reason import Undecodable
from securedata.printable import plural
from securedata.threads import BoundedPool

_ABOUT_FILE = ("path", "size", "source_mtime_ns", "source_sha256", "subjects")
COLUMNS = (*_ABOUT_FILE, *CLEARABLE, "sample_rate", "frames", "start", "frames_in_segment", *CUT.names)
"""Columns of the corpus that a preview needs."""


_OF_SOURCES = [
    *("path", "file", "size", "mtime_ns", "version", "subjects", "start", "frames_in_segment", "apart", "memory"),
    "media_type",
]
_CHANGES = frozenset({"add", "replace", "update"})


@dataclass(slots=True)
class Person:
    """What the corpus would hold of one person.

    Attributes:
        recordings: how many.
        seconds: of audio.
    """

    recordings: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class IngestPreview:
    """What would become of the sources; nothing was written.

    Attributes:
        added, replaced, updated, unchanged: rows.
        transcripts: of the rows that would be added, replaced or updated, how many have a transcript in the sources.
        consent: of the same rows, how many have which columns of consent there.
        bytes, seconds: of audio that would be sealed.
        people: totals by name, of what would be sealed or is unchanged; a recording of several counts for each.
        recordings: for each row its path, its people and what would be done.
        duplicates: groups of paths whose files are identical, including those in the corpus.
        problems, conflicts, erased, held, sources, apart, shared, new, hidden_names, near_duplicates: as `IngestReport`
            has them.
        root, name: of the corpus; None if one would be made.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    unchanged: int = 0
    transcripts: int = 0
    consent: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    people: dict[str, Person] = field(default_factory=dict, repr=False)
    recordings: list[dict[str, Any]] = field(default_factory=list, repr=False)
    duplicates: list[list[str]] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)
    conflicts: list[str] = field(default_factory=list, repr=False)
    erased: list[str] = field(default_factory=list, repr=False)
    held: list[str] = field(default_factory=list, repr=False)
    sources: Sources = field(default_factory=Sources)
    apart: Apart = field(default_factory=Apart)
    shared: list[str] = field(default_factory=list, repr=False)
    root: str | None = None
    name: str | None = None
    new: list[NotTaken] = field(default_factory=list, repr=False)
    hidden_names: list[str] = field(default_factory=list, repr=False)
    near_duplicates: list[tuple[str, ...]] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        return (
            f"{self.root or 'a new corpus'}, nothing written: {plural(self.added, 'row')} to add, {self.replaced:,} to "
            f"replace, {self.updated:,} to update, {self.unchanged:,} unchanged; "
            f"{amount(bad_of(self))} not taken"
        )

    @property
    def complete(self) -> bool:
        """Whether everything would be taken."""
        return not self.not_taken

    @property
    def not_taken(self) -> int:
        """Recordings, and other entries such as lost texts, that would not be in the corpus as SRC has them."""
        return (
            len(self.conflicts)
            + len(self.erased)
            + len(self.held)
            + sum(not problem.taken for problem in self.problems)
        )


class _Looked(NamedTuple):
    """One file: its digest and header, or why it would not be taken. The digest is b'' if it cannot be read.

    `uncut`: by row, why a segment that must be an object of its own would not be taken.
    """

    digest: bytes = b""
    info: AudioInfo | None = None
    problem: str = ""
    uncut: Mapping[int, str] = MappingProxyType({})


def preview(
    sources: SourceList,
    corpus: Corpus | None,
    *,
    threads: int | None = None,
    replace: bool = False,
    checksum: bool = False,
    reseal: bool = False,
    clear: Sequence[str] = (),
    if_duplicate: str = "take",
    progress: Callable[[int, int], None] | None = None,
) -> IngestPreview:
    """Preview what `seal_sources` would do.

    Args:
        corpus: opened with `COLUMNS`; None: there is none yet.
        others: as `seal_sources` takes them.

    Raises:
        StorageError: the place of the recordings cannot be read.
    """
    result = IngestPreview(problems=list(sources.problems), apart=sources.apart)
    table = sources.table
    rows = table.select(_OF_SOURCES)
    there: pa.Table | None = corpus.table if corpus is not None else None
    known = Known(table.num_rows, ())
    erased, kept = frozenset[str](), frozenset[str]()
    again = replace or reseal
    if corpus is not None and there is not None:
        described = table.column("path").filter(table.column("described")).to_pylist() if clear else []
        clear_of = dict.fromkeys(described, frozenset(clear))
        known = classify_tables(table, (), (there,), replace=again, checksum=checksum, reseal=reseal, clear=clear_of)
        erased = corpus.erased({name for names in table.column("subjects").to_pylist() for name in names})
        kept = corpus.held(pc.unique(pc.list_flatten(there.column("subjects"))).to_pylist())
    result.problems += [Problem(table.column("path")[i].as_py(), why) for i, why in known.refused.items()]
    todo = known.todo.tolist()
    at = [int(row) if part >= 0 else -1 for part, row in zip(known.part, known.row, strict=True)]
    held = [b""] * len(at)
    if there is not None:
        rows_there = there.take(pa.array([row for row in at if row >= 0], pa.int64()))
        cut = known.cut[known.part >= 0]
        digests_there = iter(of_recordings(rows_there, "recording_sha256", "source_sha256", cut).to_pylist())
        held = [next(digests_there) if row >= 0 else b"" for row in at]
    names = table.column("file").to_pylist()
    files = [list(group) for _, group in groupby(range(table.num_rows), key=names.__getitem__)]
    changes = np.zeros(table.num_rows, dtype=bool)
    entries = rows.to_pylist()
    for entry, apart in zip(entries, known.apart.tolist(), strict=True):
        entry["apart"] |= apart
    digests: dict[bytes, list[str]] = {}
    wanted = [group for group in files if any(todo[i] in (Todo.SEAL, Todo.HASH, Todo.CONFLICT) for i in group)]
    to_cut = {i for i, entry in enumerate(entries) if entry["apart"] and todo[i] in (Todo.SEAL, Todo.HASH)}
    all_looked = _look(sources, entries, wanted, to_cut, threads, progress)
    looked = dict(zip((group[0] for group in wanted), all_looked, strict=True))
    counts = result.sources
    twins, skipped = Duplicates(), 0
    twins.look((one.digest for one in looked.values() if one.digest), [] if there is None else [there])
    if there is not None and (replace or reseal):
        twins.leave(_recording(entries[g[0]]) for g in files if _leaves(g, todo, at, held, looked.get(g[0])))
    for group in sorted(files, key=lambda group: max(at[i] for i in group) < 0):  # what is in the corpus goes first
        found = looked.get(group[0])
        result.erased += [entries[i]["path"] for i in group if erased.intersection(entries[i]["subjects"])]
        group = [i for i in group if erased.isdisjoint(entries[i]["subjects"])]
        if not group:
            continue
        first = entries[group[0]]
        if found is not None and found.problem and _opens(group, todo, held, found, again):
            result.problems.append(Problem(first["path"], found.problem))
            continue
        uncut = [i for i in found.uncut if i in group and _opens([i], todo, held, found, again)] if found else []
        if found and uncut:
            result.problems += [Problem(entries[i]["path"], found.uncut[i]) for i in uncut]
            group = [i for i in group if i not in uncut]
            if not group:
                continue
        digest = found.digest if found else b""
        digest = digest or held[group[0]]
        digests.setdefault(digest, []).append(first["path"])
        recording = _recording(first)
        other = twins.other(digest, recording) if max(at[i] for i in group) < 0 else None
        if other is not None and if_duplicate == "fail":
            reason = f"has the content of {other}, which is taken"
            result.problems += [Problem(entries[i]["path"], reason) for i in group]
            continue
        if other is not None and if_duplicate == "skip":
            lost = [i for i in group if twins.lacks(other, entries[i]["subjects"])]
            result.problems += [Problem(entries[i]["path"], other_people(other)) for i in lost]
            skipped += len(lost) < len(group)
            continue
        done = [
            _settle(result, entries[i], todo[i], bool(known.differs[i]), at[i], held[i], there, found, again, kept)
            for i in group
        ]
        if any(done):
            twins.take(digest, recording, {name for i in group for name in entries[i]["subjects"]})
        counts.taken += not _CHANGES.isdisjoint(done)
        changes[[i for i, action in zip(group, done, strict=True) if action in _CHANGES]] = True
        counts.unchanged += set(done) <= {"leave", ""} and "leave" in done
        sealed = [i for i, action in zip(group, done, strict=True) if action in ("add", "replace")]
        result.bytes += max(0, first["size"]) if any(not entries[i]["apart"] for i in sealed) else 0
        if found and found.info:
            lengths = [entries[i]["frames_in_segment"] for i in sealed if entries[i]["apart"]]
            result.bytes += sum(cut_of(found.info, frames).size for frames in lengths)
    result.transcripts, result.consent = given(table, changes)
    counts.files, counts.companions, counts.hidden = sources.files, sources.companions, sources.hidden
    counts.left_out = sources.left_out + skipped
    counts.not_taken = sources.not_taken + len(files) - counts.taken - counts.unchanged - skipped
    result.duplicates = _duplicates(digests, there, {entry["path"] for entry in entries})
    return result


def _recording(entry: dict[str, Any]) -> str:
    return recording_path(entry["path"], entry["start"], entry["frames_in_segment"])


def _leaves(group: list[int], todo: list[int], at: list[int], held: list[bytes], found: _Looked | None) -> bool:
    """Whether a file has, or may have, other content in the corpus after the run; one that is not taken does not."""
    if found is None or found.problem:
        return False
    return any(todo[i] == Todo.SEAL or (todo[i] == Todo.HASH and held[i] != found.digest) for i in group if at[i] >= 0)


def _opens(group: list[int], todo: list[int], held: list[bytes], found: _Looked, replace: bool) -> bool:
    """Whether the run would open a file, rather than see from its size, people or digest that nothing changes."""
    for i in group:
        if todo[i] == Todo.HASH:
            if not found.digest or (replace and held[i] != found.digest):
                return True
        elif todo[i] == Todo.SEAL:
            return True
    return False


def _settle(
    result: IngestPreview,
    entry: dict[str, Any],
    todo: int,
    differs: bool,
    at: int,
    held: bytes,
    there: pa.Table | None,
    found: _Looked | None,
    replace: bool,
    kept: frozenset[str],
) -> str:
    """Count one row; returns what would be done with it, '' if it would not be taken. `kept`: people under a hold."""
    if todo == Todo.HASH and found is not None:
        settled = Todo.UPDATE if differs else Todo.SKIP
        todo = settled if held == found.digest else Todo.SEAL if replace else Todo.CONFLICT
    if todo == Todo.REFUSE:
        return ""
    if todo == Todo.CONFLICT:
        result.conflicts.append(entry["path"])
        return ""
    changes = kept and at >= 0 and todo in (Todo.SEAL, Todo.UPDATE)
    if changes and there is not None and not kept.isdisjoint(there.column("subjects")[at].as_py()):
        result.held.append(entry["path"])
        return ""
    if todo == Todo.SEAL:
        action = "replace" if at >= 0 else "add"
        result.replaced += at >= 0
        result.added += at < 0
    else:
        action = "update" if todo == Todo.UPDATE else "leave"
        result.updated += todo == Todo.UPDATE
        result.unchanged += todo in (Todo.SKIP, Todo.LEAVE)
        result.shared += [entry["path"]] if todo == Todo.LEAVE else []
    seconds = _seconds(entry, at, there, found)
    result.seconds += seconds if todo == Todo.SEAL else 0.0
    for name in entry["subjects"]:
        person = result.people.setdefault(name, Person())
        person.recordings += 1
        person.seconds += seconds
    result.recordings.append({"path": entry["path"], "subjects": entry["subjects"], "action": action})
    return action


def _seconds(entry: dict[str, Any], at: int, there: pa.Table | None, found: _Looked | None) -> float:
    if found is not None and found.info is not None:
        frames, rate = found.info.frames, found.info.sample_rate
    elif there is not None and at >= 0:
        frames, rate = there.column("frames")[at].as_py(), there.column("sample_rate")[at].as_py()
    else:
        return 0.0
    return seconds(frames, entry["frames_in_segment"], rate)


def _look(
    sources: SourceList,
    entries: list[dict[str, Any]],
    groups: list[list[int]],
    to_cut: set[int],
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[_Looked]:
    """Look at each file, in order."""
    budget = ByteBudget(TOTAL)

    def cut(i: int, cutter: Cutter) -> str:
        """Why a segment cannot be cut out; '' if it can."""
        with budget.take(entries[i]["memory"]):
            try:
                for _ in cutter.pieces(entries[i]["start"], entries[i]["frames_in_segment"]):
                    pass
            except (Undecodable, SourceProblem) as error:
                return str(error)
        return ""

    def look(group: list[int]) -> _Looked:
        entry = entries[group[0]]
        file, stamp = entry["file"], Stamp(entry["size"], entry["mtime_ns"], entry["version"])
        digest, data = hashlib.sha256(), None
        try:
            if stamp.size <= PIECE:
                data = sources.origin.whole(file, stamp)
                digest.update(data)
            else:
                for piece in sources.origin.pieces(file, stamp):
                    digest.update(piece)
        except SourceProblem as error:
            return _Looked(problem=str(error))
        if entry["media_type"] is not None:
            return _Looked(digest.digest(), NO_AUDIO)
        try:
            info = sources.origin.probe(file, stamp) if data is None else probe(data)
        except (Undecodable, SourceProblem) as error:
            return _Looked(digest.digest(), problem=str(error))
        segments = to_cut.intersection(group)
        if not segments:
            return _Looked(digest.digest(), info)
        cutter = Cutter.of(info, sources.origin, file, stamp) if data is None else Cutter.over(info, data)
        if cutter.is_copying:
            return _Looked(digest.digest(), info)
        uncut = {i: reason for i in sorted(segments) if (reason := cut(i, cutter))}
        return _Looked(digest.digest(), info, uncut=uncut)

    threads = threads or 2 * (os.cpu_count() or 1)
    with BoundedPool[list[int], _Looked]("securedata-preview", threads, 4 * threads) as pool:
        for group, found in pool.results((group, partial(look, group)) for group in groups):
            looked = found.result()
            if progress:
                progress(1, max(0, entries[group[0]]["size"]))
            yield looked


def _duplicates(digests: dict[bytes, list[str]], there: pa.Table | None, listed: set[str]) -> list[list[str]]:
    """Groups of paths with the same content, including those of the corpus that the sources do not list."""
    if there is not None:
        names = ("source_sha256", "path", "start", "recording")
        for digest, path, start, cut_from in zip(*(there.column(name).to_pylist() for name in names), strict=True):
            if digest in digests and path not in listed and start is None and cut_from is None:
                digests[digest].append(path)
    return sorted(sorted(paths) for digest, paths in digests.items() if digest and len(paths) > 1)
