"""Checks that there is anything to take, before a corpus is made for it."""

from __future__ import annotations

from itertools import groupby

from securedata.ingest.report import IngestReport, Sources
from securedata.ingest.sources.origin import SourceProblem, Stamp
from securedata.ingest.sources.recordings import SourceList
from securedata.ingest.sources.walk.tree import Problem
from securedata.media.reason import Undecodable


def refused(sources: SourceList) -> IngestReport | None:
    """The report if nothing can be taken; None as soon as one can.

    Raises:
        StorageError: the place of the recordings cannot be read.
    """
    problems = list(sources.problems)
    columns = (
        sources.table.column(name).to_pylist() for name in ("file", "size", "mtime_ns", "version", "path", "media_type")
    )
    files = 0
    for file, rows in groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        _, size, mtime_ns, version, path, media_type = next(rows)
        if media_type is not None:  # taken as it is
            return None
        files += 1
        try:
            sources.origin.probe(file, Stamp(size, mtime_ns, version))
        except (Undecodable, SourceProblem) as error:
            problems.append(Problem(path, str(error)))
        else:
            return None
    counts = Sources(
        files=sources.files,
        companions=sources.companions,
        hidden=sources.hidden,
        left_out=sources.left_out,
        not_taken=sources.not_taken + files,
    )
    return IngestReport(problems=problems, sources=counts)
