"""Recordings with legal holds of Object Lock that are moved: the legal holds stay on what was there before.

What is locked is a version of the head, manifest parts, and the objects or packs that these name: it still opens. New
packs are not locked by themselves, since they have other people's recordings in them: that is for people to decide.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from securedata.corpus.notices import log_notice
from securedata.corpus.packs.report import PackReport
from securedata.corpus.rows.checks import rows_of
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.errors import NotFound
from securedata.keys.tags import Tagger

Places = Mapping[str, set[bytes]]
"""By case, the ids of the packs, or of the objects alone, with recordings of the people who are held for it."""

_COLUMNS = ("subjects", "object_id", "pack")


def locked_places(writer: Writer) -> Places:
    """Where recordings are whose people have legal holds, by the newest head; nothing is read if nobody has.

    A part that is gone by now, as its rows are in a newer one, is left out.

    Raises:
        FormatError, MalformedManifest, StorageError
    """
    head = writer.refresh()
    holds = [one for one in head.holds if one.object_lock]
    found: dict[str, set[bytes]] = {one.case: set() for one in holds}
    tagger = Tagger(head.secret)
    for part in head.parts if holds else ():
        try:
            view = read_table(writer.storage, writer.corpus_id, part, _COLUMNS)
        except NotFound:
            continue
        for one in holds:
            mine = view.take(pa.array(sorted(rows_of(view, tagger, {one.tag})), pa.int64()))
            pairs = zip(mine.column("pack").to_pylist(), mine.column("object_id").to_pylist(), strict=True)
            found[one.case].update(id if pack is None else pack for pack, id in pairs)
    return found


def tell_unlocked(writer: Writer, before: Places, report: PackReport) -> None:
    """Report the cases whose legal holds are not on what was written.

    Args:
        before: as `locked_places` found it.
    """
    after = locked_places(writer) if before else {}
    report.unlocked = sorted(case for case, places in after.items() if places - before.get(case, set()))
    if report.unlocked:
        log_notice(
            f"{report.root}: recordings of people under a hold were moved (case {', '.join(report.unlocked)}). The "
            "legal holds of Object Lock keep them where they were before, and they still open there. To lock the new "
            "copies as well, with other people's recordings, run 'securedata hold add --object-lock' again"
        )
