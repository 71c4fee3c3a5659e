"""Corpora that were made from a shared recording before it was split."""

from __future__ import annotations

from pathlib import Path

import securedata as sd
from securedata.corpus.writer import Writer
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root
from tests.kit.corpora.shared import TALK, share, talk


def people(root: str) -> list[list[str]]:
    return [row["subjects"] for row in manifest_of(root, "path", "subjects")]


def test_features_are_computed_again(old: Root, pen: Writer, tmp_path: Path) -> None:
    share(pen, talk())
    to = str(tmp_path / "features")
    sd.retain(old.name, to, features="fbank", workers=0)
    assert people(to) == [["ann", "ben"]] * 3
    report = sd.split(old)
    assert len(report.derived) == 1
    again = sd.retain(old.name, "features", features="fbank", workers=0)
    assert again.complete
    assert sorted(people(to)) == sorted([speaker] for *_, speaker in TALK)


def test_recordings_are_handed_on_again(old: Root, pen: Writer, tmp_path: Path) -> None:
    share(pen, talk())
    to = str(tmp_path / "copy")
    sd.export_to_corpus(old.name, to)
    assert people(to) == [["ann", "ben"]] * 3
    sd.split(old)
    again = sd.export_to_corpus(old.name, "copy")
    assert again.complete
    assert people(to) == people(old) == [["ann"], ["ben"], ["ann"]]
