"""The list of recordings to seal: a folder, what its names say, and what a manifest adds, as one table.

No recording is opened, except one that a manifest cuts into segments: the sample rate in its header turns seconds into
frames.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from securedata.corpus.ingest.draft import Draft
from securedata.corpus.ingest.subjects import describe_files, near_duplicates
from securedata.corpus.ingest.tables import Rows, read_rows
from securedata.corpus.ingest.walk import AUDIO_SUFFIXES, Problem, Tree, printable, scan
from securedata.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class SourceList:
    """What there is to seal: files in the order of their paths, segments of one file together, in that of their start.

    Attributes:
        root: absolute path of SRC.
        table: one row a recording or segment, with the columns of `draft.SCHEMA`. `path` is the unique logical path,
            `file` the absolute path on disk, `duration` the seconds that a manifest gives a whole recording, to be
            compared with its header (null: nothing said); the others are the manifest columns of their names.
        problems: what is not taken, and what is taken but deserves a look (`taken`).
        ignored: files without an audio suffix.
        hidden: files and folders that begin with a dot.
        unlisted: recordings that no row of the manifest names.
        near_duplicates: groups of subjects that differ only in case, blanks or punctuation.
        settings: the rule that names the subject, for the head of the corpus.
    """

    root: str
    # No names, no words in a repr: notebooks save them.
    table: pa.Table = field(repr=False)
    problems: list[Problem] = field(repr=False)
    ignored: int
    hidden: int
    unlisted: int
    near_duplicates: list[tuple[str, ...]] = field(repr=False)
    settings: dict[str, Any]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def bytes(self) -> int:
        """Bytes of all source files, each counted once per row, as progress reports them."""
        return sum(self.table.column("size").to_pylist())


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
) -> SourceList:
    """List the recordings under `src`, with what is known of them.

    Whose voice it is comes from exactly one of: the manifest's speaker column, a known layout, `speaker_pattern`,
    `one_subject`, `subject_per_file`. Other columns come from the manifest where it has a value, else from the layout
    or the pattern. All rows of one file have to name the same people.

    Args:
        src: the folder.
        manifest: a NeMo manifest (.json, .jsonl: JSON lines), or a .csv or .tsv with a header. Its paths are relative
            to its own folder, to `clips` in it (Common Voice), or to `src`, tried in this order.
        columns: which column of the manifest is meant: `{"speaker": "client_id"}`; None or '' for not at all.
        speaker_pattern: such as '{speaker}/{utterance}'; see `pattern`.
        one_subject: the only person in all of them.
        subject_per_file: each recording is another person, named by its path without extension.
        layout: 'auto', 'none', 'librispeech' or 'speechcommands'.
        only_listed: take only what the manifest names, as for one split of a corpus.

    Raises:
        SubjectUnknown: nothing says whose voices these are.
        InvalidArgument: rules that exclude each other, a manifest that is none, no recordings at all.
    """
    if manifest is None and (columns or only_listed):
        option = "--columns" if columns else "--only-listed"
        raise InvalidArgument(f"{option} is about a manifest: name one by --manifest")
    tree = scan(src)
    if not len(tree):
        raise InvalidArgument(
            f"{tree.root} holds no recordings ({', '.join(AUDIO_SUFFIXES)}): {tree.ignored} other files, "
            f"{tree.hidden} hidden, {len(tree.problems)} that cannot be taken"
            + "".join(f"; {problem.path}: {problem.reason}" for problem in tree.problems[:3])
        )
    rows = Rows() if manifest is None else read_rows(manifest, columns)
    described, settings = describe_files(
        tree,
        speaker_pattern=speaker_pattern,
        one_subject=one_subject,
        subject_per_file=subject_per_file,
        layout=layout,
        manifest_names_people=rows.names_people,
    )
    draft = Draft(tree, described)
    if manifest is None:
        draft.add_files()
    else:
        located = _locate(rows, manifest, tree, draft.problems)
        draft.add_rows(rows, located, os.path.basename(manifest), only_listed)
    names = set[str]() if subject_per_file else {name for people in set(draft.subjects) for name in people}
    return SourceList(
        root=tree.root,
        table=draft.table(),
        problems=sorted(draft.problems),
        ignored=tree.ignored + (0 if "layout" in settings["subject"] else len(tree.sidecars)),
        hidden=tree.hidden,
        unlisted=draft.unlisted,
        near_duplicates=near_duplicates(names),
        settings=settings,
    )


def _locate(rows: Rows, manifest: str | os.PathLike[str], tree: Tree, problems: list[Problem]) -> list[int]:
    """For each row the index of its file in the tree, or -1, which is a problem."""
    index = {path: i for i, path in enumerate(tree.paths)}
    own = os.path.dirname(os.path.abspath(manifest))
    bases = list(dict.fromkeys((own, os.path.join(own, "clips"), tree.root)))
    # A manifest may spell SRC through its links, or as it really is.
    roots = tuple(dict.fromkeys(os.path.join(root, "") for root in (tree.root, os.path.realpath(tree.root))))
    located = []
    for name, line in zip(rows.names, rows.lines, strict=True):
        # join() drops the base where the name is absolute.
        whole = (posixpath.normpath(posixpath.join(base, name)) for base in bases)
        inside = (path[len(root) :] for path in whole for root in roots if path.startswith(root))
        found = (index.get(path if path.isascii() else unicodedata.normalize("NFC", path), -1) for path in inside)
        i = next((i for i in found if i >= 0), -1)
        located.append(i)
        if i < 0:
            there = any(os.path.exists(os.path.join(base, name)) for base in bases)
            reason = "is not among the recordings taken from SRC" if there else "no such file"
            problems.append(Problem(printable(name), f"line {line} of the manifest: {reason}"))
    if max(located) < 0:
        raise InvalidArgument(
            f"{os.path.basename(manifest)} names {len(rows)} files, the first {rows.names[0]!r}, and none of them is a "
            f"recording under {tree.root}; its paths are taken relative to its own folder and to SRC"
        )
    return located
