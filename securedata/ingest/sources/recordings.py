"""The list of recordings to seal, as one table: the files, what their names say, and what a manifest adds.

A recording is opened only if a manifest cuts it into segments: the sample rate in its header turns seconds into
frames.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from securedata.errors import InvalidArgument
from securedata.ingest.sources.apart import Apart
from securedata.ingest.sources.audio_folder import AUDIOFOLDER, AudioFolder, audio_folder
from securedata.ingest.sources.layouts.base import Described
from securedata.ingest.sources.layouts.registry import elsewhere
from securedata.ingest.sources.manifest import Manifest
from securedata.ingest.sources.members.members import Members, members_of
from securedata.ingest.sources.members.naming import ReadRows
from securedata.ingest.sources.origin import Origin, Stamp
from securedata.ingest.sources.remote import tree_of
from securedata.ingest.sources.source_table import SourceTable
from securedata.ingest.sources.subjects import describe_files, near_duplicates
from securedata.ingest.sources.walk.tree import Problem, Tree


@dataclass(frozen=True, slots=True)
class SourceList:
    """What there is to seal, sorted by path; the segments of one file are together, sorted by start.

    Attributes:
        origin: where the recordings are read.
        table: one row per recording or segment, with the columns of `source_table.SCHEMA`:

            - `path`: the unique logical path; `file`: the absolute path or the URL.
            - `size`: -1 if only reading tells it; `version`: the origin's identifier for the content, or ''.
            - `duration`: the seconds that a manifest gives for a whole recording, to compare with its header, or null.
            - `described`: True if a row of the manifest names it, and everywhere if there is no manifest.
            - `utterance_given`: False if the utterance is the default, the file's stem.
            - `apart`: True for a segment that becomes an object of its own.
            - `memory`: bytes that its samples take while a segment is cut out; null for whole recordings.
            - the others: the manifest columns of the same names.
        problems: what is not taken, and what is taken but deserves a look (`taken`).
        stamps: stamps of the files with a problem, by path; a changed file, or another problem, has another stamp.
        files: all files under SRC: those of the table, and the next four counts.
        companions, hidden: as `Tree` counts them.
        hidden_names: files and folders that begin with a dot.
        left_out: files that the caller asked to leave out, by pattern or because the manifest does not name them.
        not_taken: files without a row in the table, although nobody asked to leave them out.
        unlisted: recordings that no row of the manifest names.
        near_duplicates: groups of subjects that differ only in case, blanks or punctuation.
        apart: counts of recordings whose segments name different people.
        settings: the rule that names the subject, for the head of the corpus.
    """

    origin: Origin
    # a repr shows no names or transcripts: notebooks save it
    table: pa.Table = field(repr=False)
    problems: list[Problem] = field(repr=False)
    stamps: dict[str, Stamp] = field(repr=False)
    files: int
    companions: int
    hidden: int
    hidden_names: list[str] = field(repr=False)
    left_out: int
    not_taken: int
    unlisted: int
    near_duplicates: list[tuple[str, ...]] = field(repr=False)
    apart: Apart
    settings: dict[str, Any]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def root(self) -> str:
        """Absolute path of SRC, or its URL."""
        return self.origin.root

    @property
    def bytes(self) -> int:
        """Bytes of all source files, counted once per row, as progress does."""
        return sum(max(0, size) for size in self.table.column("size").to_pylist())


def list_sources(
    src: str | os.PathLike[str],
    *,
    manifest: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str | None] | None = None,
    speaker_pattern: str | None = None,
    one_subject: str | None = None,
    subject_per_file: bool = False,
    layout: str = "auto",
    only_listed: bool = False,
    leave_out: Sequence[str] = (),
    include: Sequence[str] = (),
    segment_unit: str | None = None,
    options: Mapping[str, str] | None = None,
    corpus: str | None = None,
    source_format: str = "auto",
    read_rows: ReadRows | None = None,
) -> SourceList:
    """List the recordings under `src`, with what is known about them.

    The subjects come from exactly one of: the manifest's speaker column, a known layout, `speaker_pattern`,
    `one_subject`, `subject_per_file`. Other columns come from the manifest where it has a value, else from the layout
    or the pattern. Segments of one file that name different people become objects of their own; see `apart`.

    Args:
        src: a folder, or a URL: s3://, or any other that fsspec can list and read.
        manifest: a NeMo manifest (.json, .jsonl: JSON lines), a .csv or .tsv with a header, or a .parquet: a file, a
            URL, or a name under `src`. Its paths are tried relative to its own folder, to `clips` in it (Common Voice),
            and to `src`.
        columns: which column of the manifest to read for a field: `{"speaker": "client_id"}`; None or '': none.
        speaker_pattern: such as '{speaker}/{utterance}'; see `pattern`.
        one_subject: the only person in all recordings.
        subject_per_file: each recording is a different person, named by its path without extension.
        layout: 'auto', 'none', or one of `layouts.names.LAYOUTS`.
        only_listed: take only what the manifest names, as for one split of a corpus.
        leave_out: patterns of paths under `src` to leave out; '*' matches any text, '/' included, and a folder's name
            matches all that is in it.
        include: patterns of files to take as they are, though they are no recordings.
        segment_unit: 's', 'ms' or 'samples', for times in the manifest whose column names do not tell the unit.
        options: profile, region and endpoint_url of a source on S3; None: as boto3 finds them.
        corpus: the root that the recordings go to; if it lies below `src`, its files are left out.
        source_format: one of `members.FORMATS`: whether the recordings are files, or inside other files.
        read_rows: reads the rows of the corpus; None: there is none. Recordings inside other files keep their paths.

    Raises:
        NotFound, AccessDenied, StorageUnreachable, SessionExpired: for a URL.
        SubjectUnknown: nothing names the speakers.
        InvalidArgument: conflicting rules, a file that is not a manifest, or no recordings under `src`.
    """
    tree = tree_of(src, options, leave_out, corpus, include)
    listed = _manifest(tree, manifest, columns, layout, source_format, options or {}, segment_unit, read_rows)
    if listed is None and (columns or only_listed or segment_unit):
        option = "--columns" if columns else "--only-listed" if only_listed else "--segment-unit"
        raise InvalidArgument(f"{option} needs a manifest: name one with --manifest")
    if not len(tree):
        if not all(problem.taken for problem in tree.problems):
            return _listed(SourceTable(tree, Described.blank(0)), {}, [])
        raise InvalidArgument(
            f"{tree.root} holds no recordings: {tree.companions} other files, {tree.hidden} hidden, "
            f"{tree.left_out} left out" + (f"; {where}" if (where := elsewhere(tree)) else "")
        )
    described, settings = describe_files(
        tree,
        speaker_pattern=speaker_pattern,
        one_subject=one_subject,
        subject_per_file=subject_per_file,
        layout="none" if layout == AUDIOFOLDER or (layout == "auto" and isinstance(listed, Members)) else layout,
        has_manifest=listed is not None,
        manifest_names_people=listed is not None and listed.rows.names_people,
        manifest_columns=listed.rows.columns if listed is not None else (),
    )
    table = SourceTable(tree, described)
    if listed is not None:
        table.add_rows(listed.rows, listed.locate(table.problems), only_listed, isinstance(listed, Members))
    elif described.rows is not None:
        table.add_rows(described.rows.rows, described.rows.located)
    else:
        table.add_files()
    names = set[str]() if subject_per_file else {name for people in set(table.subjects) for name in people}
    return _listed(table, settings, near_duplicates(names))


def _manifest(
    tree: Tree,
    manifest: str | os.PathLike[str] | None,
    columns: Mapping[str, str | None] | None,
    layout: str,
    source_format: str,
    options: Mapping[str, str],
    segment_unit: str | None,
    read_rows: ReadRows | None,
) -> Manifest | Members | AudioFolder | None:
    """What describes the recordings besides their names: a manifest, their shards, or an AudioFolder's metadata."""
    members = members_of(tree, source_format, columns or {}, segment_unit, read_rows)
    if members is not None:
        if manifest is not None:
            raise InvalidArgument(
                f"--manifest and the columns of {members.name} both describe the recordings: leave --manifest out, or "
                "use --source-format files"
            )
        return members
    if not len(tree):
        return None
    if manifest is not None:
        return Manifest(manifest, tree, columns, options, segment_unit)
    if layout not in ("auto", AUDIOFOLDER):
        return None
    return audio_folder(tree, columns or {}, segment_unit, wanted=layout == AUDIOFOLDER)


def _listed(table: SourceTable, settings: dict[str, Any], near: list[tuple[str, ...]]) -> SourceList:
    tree = table.tree
    bad = {problem.path for problem in table.problems}
    return SourceList(
        origin=tree.origin,
        table=table.table(),
        problems=sorted(table.problems),
        stamps={**{path: tree.stamp(i) for i, path in enumerate(tree.paths) if path in bad}, **tree.refused},
        files=tree.files,
        companions=tree.companions,
        hidden=tree.hidden,
        hidden_names=tree.hidden_names,
        left_out=tree.left_out + table.left_out,
        not_taken=tree.not_taken + len(tree) - len(set(table.files)) - table.left_out,
        unlisted=table.unlisted,
        near_duplicates=near,
        apart=table.apart,
        settings=settings,
    )
