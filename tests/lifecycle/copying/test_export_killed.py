"""`export_to_corpus` killed with -9 at every write, and run again: every recording is there once."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer
from tests.kit.corpora.contents import current
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import clip
from tests.lifecycle.copying.test_export_to_corpus import same_samples
from tests.lifecycle.features.test_retain_killed import killed_at


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    monkeypatch.setattr("securedata.lifecycle.deriving.storing.COMMIT_ROWS", 2)
    monkeypatch.setattr("securedata.lifecycle.sealing.TOGETHER", 1)
    clips = [clip(f"ann/{n}.wav", 0.1 + n / 100, seed=n) for n in range(5)]
    root = make_corpus(tmp_path, clips)
    to = tmp_path / "vendor-b"

    def export() -> sd.CorpusExportReport:
        return sd.export_to_corpus(root, to, threads=1)

    kills = 0
    while killed_at(kills, after, export):  # each run continues where the one before was killed
        kills += 1
        assert kills < 60
    assert kills >= 6
    report = export()
    assert (report.unchanged, report.compared, report.complete) == (5, 5, True)
    assert sorted(current(resolve(to))) == [one.path for one in clips]
    assert len(Writer(root.reference).head.derived) == 1
    assert same_samples(root, to) == 5
    assert sd.verify(to).ok
    assert sd.verify(root).ok
