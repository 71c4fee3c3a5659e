"""Corpora that were made from a shared recording before it was split."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

import securedata as sd
from securedata.corpus.config import Reference, drop_entry, resolve, write_entry
from securedata.corpus.rows.checks import refused
from securedata.corpus.writer import Writer
from securedata.lifecycle.erasure.erase import erase, open_to_erase, reach_derived
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root
from tests.kit.corpora.shared import TALK, share, talk
from tests.lifecycle.splitting.test_split import PATHS


@pytest.fixture
def operator() -> None:
    make_operator("example.com/erasure")


def people(root: str | Reference) -> list[list[str]]:
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


@pytest.mark.parametrize("later", [False, True], ids=["at once", "reached later"])
@pytest.mark.parametrize("made_by", ["retain", "export"])
def test_an_erased_piece_goes_from_what_was_made_before_the_split(
    old: Root, pen: Writer, tmp_path: Path, operator: None, made_by: str, later: bool
) -> None:
    """There its object, or what its features were computed from, is the whole recording by its digest."""
    share(pen, talk())
    to = tmp_path / "made"
    make(made_by, old.name, str(to))
    sd.split(old)
    reference = resolve(to)
    if later:
        drop_entry("made")
    erased = erase(open_to_erase(old.reference), Request("path", paths=(PATHS[1],)))
    assert [one.state for one in erased.derived] == ["not reached" if later else "erased"]
    if later:
        assert len(people(reference)) == 3
        write_entry("made", reference)
        [reach], [_] = reach_derived(open_to_erase(old.reference))
        assert reach.state == "erased"
    assert people(reference) == []
    assert not list((to / "objects").glob("*/*"))
    make(made_by, old.name, "made")
    assert people(reference) == [["ann"], ["ann"]], "the others' pieces come back"
    assert refused(
        Writer(reference).head, pa.table({"subjects": [["ben"]], "source_sha256": [sha256(talk()).digest()]})
    ) == [0]


def test_the_next_level_is_asked_for_pieces_too(old: Root, pen: Writer, tmp_path: Path, operator: None) -> None:
    share(pen, talk())
    make("export", old.name, str(tmp_path / "made"))
    make("retain", "made", str(tmp_path / "features"))
    sd.split(old)
    make("export", old.name, "made")
    erase(open_to_erase(old.reference), Request("path", paths=(PATHS[1],)))
    assert people(resolve("made")) == [["ann"], ["ann"]]
    assert people(resolve("features")) == []
    make("retain", "made", "features")
    assert people(resolve("features")) == [["ann"], ["ann"]]


def make(by: str, source: str, to: str) -> None:
    if by == "retain":
        assert sd.retain(source, to, features="fbank", workers=0).complete
    else:
        assert sd.export_to_corpus(source, to).complete
