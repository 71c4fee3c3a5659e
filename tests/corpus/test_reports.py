"""Each report prints as one line: what was done, how much and where, and no logical path."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.check.report import Finding, PruneReport, VerifyReport
from securedata.corpus.config import Reference
from securedata.corpus.create import CreateReport
from securedata.corpus.export.export import ExportReport
from securedata.errors import NotFound
from securedata.ingest.preview import IngestPreview
from securedata.ingest.report import IngestReport
from securedata.ingest.sources.walk.tree import Problem
from securedata.lifecycle.splitting.report import SplitReport

ORPHAN = Finding("Orphan", "one", key="objects/aa")
LOST = Finding("ObjectMissing", "other", paths=("ann/a.wav",))
PRUNED = PruneReport("/c", 3, 0.0, {"objects/aa", "objects/bb"}, 1, ["manifest/cc"])


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            VerifyReport("/c", b"", "", 3, rows=1, objects=1, objects_opened=1),
            "/c, generation 3: 1 row, 1 of 1 object opened, 0 findings",
        ),
        (
            VerifyReport("/c", b"", "", 3, rows=12, objects=1_000, objects_opened=999, findings=[ORPHAN, LOST, ORPHAN]),
            "/c, generation 3: 12 rows, 999 of 1,000 objects opened, 3 findings (1 ObjectMissing, 2 Orphan)",
        ),
        (
            VerifyReport("/c", b"", "", 3, pruned=PRUNED),
            "/c, generation 3: 0 rows, 0 of 0 objects opened, 0 findings; pruned 2 keys",
        ),
        (PRUNED, "/c, generation 3: 2 keys deleted (1 byte), 1 leaving list cleared"),
        (
            ExportReport("/c", "/out", written=1, right_already=2, failed=[("ann/a.wav", NotFound("gone"))]),
            "/c to /out: 1 file written, 2 already there, 1 failed",
        ),
        (
            CreateReport("/c", "voice-c", (), "a-pin", Path("/config"), (), (), (), Reference("/c")),
            "voice-c, a new corpus at /c, pin a-pin",
        ),
        (
            IngestReport(added=2, replaced=1, updated=3, unchanged=4, generation=5, root="/c", conflicts=["ann/a.wav"]),
            "/c, generation 5: 2 rows added, 1 replaced, 3 updated, 4 unchanged; 1 recording not taken",
        ),
        (
            IngestReport(erased=["ann/a.wav", "ann/b.wav"]),
            "no corpus was made: 0 rows added, 0 replaced, 0 updated, 0 unchanged; 2 recordings not taken",
        ),
        (
            IngestReport(
                root="/c",
                problems=[
                    Problem("ann/a.wav", "the file is empty"),
                    Problem("hub/train.parquet#7", "the file is empty"),
                    Problem("data/text", "not UTF-8 text"),
                    Problem("ann/b.wav", "no text beside it has its words", taken=True),
                ],
            ),
            "/c, generation 0: 0 rows added, 0 replaced, 0 updated, 0 unchanged; "
            "2 recordings and 1 other entry not taken",
        ),
        (
            IngestPreview(problems=[Problem("ann/a.txt", "lost"), Problem("ann", "its name is not valid UTF-8")]),
            "a new corpus, nothing written: 0 rows to add, 0 to replace, 0 to update, 0 unchanged; "
            "2 other entries not taken",
        ),
        (
            IngestPreview(added=1, updated=2),
            "a new corpus, nothing written: 1 row to add, 0 to replace, 2 to update, 0 unchanged; "
            "0 recordings not taken",
        ),
        (
            SplitReport(
                "/c", generation=7, objects=1, rows=3, unclear=["talk@0-9.wav"], held=["a@0-9.wav", "a@9-18.wav"]
            ),
            "/c, generation 7: 1 recording split into 3 segments; 1 segment not split, 2 under a hold",
        ),
        (
            SplitReport("/c", dry_run=True, objects=2, rows=1),
            "/c, generation 0: 2 recordings would be split into 1 segment; 0 segments not split, 0 under a hold",
        ),
    ],
)
def test_one_line(report: object, line: str) -> None:
    assert str(report) == line


def test_every_public_report_has_one() -> None:
    reports = [getattr(sd, name) for name in sd.__all__ if name.endswith(("Report", "Preview"))]
    assert len(reports) >= 4
    assert [kind.__name__ for kind in reports if kind.__str__ is object.__str__] == []
