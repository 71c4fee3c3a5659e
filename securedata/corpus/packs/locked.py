"""Recordings with legal holds of Object Lock that are moved: the legal holds stay on what was there before.

What is locked is a version of the head, manifest parts, and the objects or packs that these name: it still opens. New
packs are not locked by themselves, since they have other people's recordings in them: that is for people to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

from securedata.corpus.notices import log_notice
from securedata.corpus.packs.report import PackReport
from securedata.corpus.rows.checks import rows_of
from securedata.corpus.state.tables import part_missing, read_table
from securedata.corpus.writer import Writer
from securedata.errors import NotFound, SecuredataError
from securedata.keys.tags import Tagger

_COLUMNS = ("subjects", "object_id", "pack")


@contextmanager
def telling_unlocked(writer: Writer, made: Collection[bytes], report: PackReport) -> Iterator[None]:
    """Report the cases whose legal holds might not be on what was written, at the end and after an interruption.

    A hold that came meanwhile might have locked it already: its case is named all the same.

    Args:
        made: ids of the packs, or of the objects alone, that this run has put and sent to be committed.

    Raises:
        FormatError, MalformedManifest, PartMissing, StorageError: all cases with legal holds were named instead.
    """
    try:
        yield
    except BaseException:  # re-raised, Ctrl-C too: what was committed before stays, and a later run does not look at it
        with suppress(SecuredataError):  # the first error is the one to hear; if this fails too, all cases were named
            _tell(writer, made, report)
        raise
    _tell(writer, made, report)


def _tell(writer: Writer, made: Collection[bytes], report: PackReport) -> None:
    if not made:
        return
    try:
        report.unlocked = sorted(_cases(writer, frozenset(made)))
    except BaseException:  # re-raised: which of them cannot be known
        report.unlocked = sorted({one.case for one in writer.head.holds if one.object_lock})
        raise
    finally:
        if report.unlocked:
            log_notice(
                f"{report.root}: recordings of people under a hold were moved (case {', '.join(report.unlocked)}). The "
                "legal holds of Object Lock keep them where they were before, and they still open there. To lock the "
                "new copies as well, with other people's recordings, run 'securedata hold add --object-lock' again"
            )


def _cases(writer: Writer, made: frozenset[bytes]) -> set[str]:
    """Cases with legal holds whose people are in what was made, by the newest head; without these no part is read."""
    head = writer.refresh()
    holds = [one for one in head.holds if one.object_lock]
    tagger = Tagger(head.secret)
    found: set[str] = set()
    for part in head.parts if holds else ():
        try:
            view = read_table(writer.storage, writer.corpus_id, part, _COLUMNS)
        except NotFound as error:
            if any(one.id == part.id for one in writer.refresh().parts):
                raise part_missing(writer.root, part) from error
            return _cases(writer, made)  # its rows are in a newer part
        for one in holds:
            mine = view.take(pa.array(sorted(rows_of(view, tagger, {one.tag})), pa.int64()))
            if not made.isdisjoint((*mine.column("pack").to_pylist(), *mine.column("object_id").to_pylist())):
                found.add(one.case)
    return found
