"""Names recordings inside shards, so that those in a corpus keep their paths when shards are added or removed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.schema import CUT
from securedata.corpus.segments import SEGMENT_SUFFIX
from securedata.errors import InvalidArgument
from securedata.ingest.classify import of_recordings
from securedata.ingest.sources.members.origin import InTable, InTar
from securedata.ingest.sources.origin import SourceProblem, Stamp

COLUMNS = ("path", "start", "source_mtime_ns", "source_sha256", *CUT.names)
"""Columns of the corpus that naming needs."""

ReadRows = Callable[[], Iterable[pa.Table]]
"""Reads `COLUMNS` of all rows of the corpus."""


class Claim(NamedTuple):
    """A recording inside a shard, before it has a path.

    Attributes:
        plain: the path that it has if no other recording has it.
        other: the path that names its shard.
    """

    plain: str
    other: str
    stamp: Stamp
    place: InTar | InTable

    def __repr__(self) -> str:  # the path often holds a person's name
        return f"Claim({self.stamp})"


class _Row(NamedTuple):
    mtime_ns: int
    sha256: bytes


def names_of(
    claims: Sequence[Claim], read_rows: ReadRows | None, digest: Callable[[InTar | InTable], bytes]
) -> list[str]:
    """The path of each recording: of several that claim one, the recording that the corpus has under it keeps it.

    If the corpus has none, the first one gets it that the corpus does not have under its other path.

    Args:
        read_rows: None: there is no corpus.
        digest: of the content of a recording, which is read only if its shard changed. May raise SourceProblem.

    Raises:
        InvalidArgument: two recordings would have the same path.
    """
    groups: dict[str, list[int]] = {}
    for i, claim in enumerate(claims):
        groups.setdefault(_nfc(claim.plain), []).append(i)
    kept = _under_other_path(claims, read_rows)
    undecided = {path: group for path, group in groups.items() if len(group) > 1 or kept[group[0]]}
    rows = _rows(undecided, read_rows)
    plain = np.ones(len(claims), dtype=bool)
    changed: dict[str, list[int]] = {}
    for path, group in undecided.items():
        plain[group] = False
        new = [i for i in group if not kept[i]]
        row = rows.get(path)
        same = [i for i in group if row and claims[i].stamp.mtime_ns == row.mtime_ns != 0]
        if same:
            plain[same[0]] = True
        elif row is None or len(group) == 1:
            plain[new[:1]] = True
        elif new:
            changed[path] = group
    _by_content(claims, changed, rows, kept, plain, digest)
    return _unique(claims, plain)


def _by_content(
    claims: Sequence[Claim],
    changed: dict[str, list[int]],
    rows: dict[str, _Row],
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    plain: np.ndarray[tuple[int], np.dtype[np.bool_]],
    digest: Callable[[InTar | InTable], bytes],
) -> None:
    """Find the recordings that the corpus has among those in changed shards, by reading them in their order."""
    path_of = {i: path for path, group in changed.items() for i in group}
    found = set[str]()
    for i in sorted(path_of):
        path = path_of[i]
        if path in found:
            continue
        try:
            same = digest(claims[i].place) == rows[path].sha256
        except SourceProblem:  # reported when it is sealed
            continue
        if same:
            plain[i] = True
            found.add(path)
    for path in changed.keys() - found:
        new = [i for i in changed[path] if not kept[i]]
        # the only one is a new version of what the corpus has; of several, each could replace another person's
        plain[new] = len(new) == 1


def _under_other_path(
    claims: Sequence[Claim], read_rows: ReadRows | None
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which recordings the corpus has under the path that names their shard."""
    mask = np.zeros(len(claims), dtype=bool)
    if read_rows is None or not claims:
        return mask
    others = pa.array([None if one.other == one.plain else _nfc(one.other) for one in claims], pa.large_string())
    for table in read_rows():
        mask |= pc.is_in(others, value_set=_paths(table), skip_nulls=True).to_numpy(zero_copy_only=False)
    return mask


def _rows(paths: Iterable[str], read_rows: ReadRows | None) -> dict[str, _Row]:
    """The rows of the corpus with these paths."""
    found: dict[str, _Row] = {}
    wanted = pa.array(paths, pa.large_string())
    if read_rows is None or not len(wanted):
        return found
    for table in read_rows():
        all_paths = _paths(table)
        hits = pa.array(np.flatnonzero(pc.is_in(all_paths, value_set=wanted).to_numpy(zero_copy_only=False)))
        times = table.column("source_mtime_ns").take(hits).to_pylist()
        digests = of_recordings(table, "recording_sha256", "source_sha256").take(hits).to_pylist()
        found.update(zip(all_paths.take(hits).to_pylist(), map(_Row, times, digests), strict=True))
    return found


def _paths(table: pa.Table) -> pa.Array:
    """Of each row, the path of its recording."""
    paths = of_recordings(table, "recording", "path")
    starts = table.column("start")
    if starts.null_count < len(starts):
        paths = pc.if_else(pc.is_valid(starts), pc.replace_substring_regex(paths, SEGMENT_SUFFIX, r"\1"), paths)
    return paths.cast(pa.large_string()).combine_chunks()


def _unique(claims: Sequence[Claim], plain: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    taken = set[str]()
    names = []
    for claim, is_plain in zip(claims, plain.tolist(), strict=True):
        name = claim.plain if is_plain and _nfc(claim.plain) not in taken else claim.other
        if _nfc(name) in taken:
            raise InvalidArgument(f"two members would both be {name!r} in the corpus; rename the file that holds one")
        taken.add(_nfc(name))
        names.append(name)
    return names


def _nfc(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)
