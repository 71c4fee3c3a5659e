"""Which rows a selection takes."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.rows.changes import Select
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from securedata.lifecycle.select import All, ByConsent, ByPath, ByPerson, Expired
from tests.kit.corpora.rows import table

ROWS: list[dict[str, Any]] = [
    {"path": "ann/1.wav", "subjects": ["ann"], "consent_id": "C1"},
    {"path": "ann/day 2/3.flac", "subjects": ["ann", "bob"], "consent_id": "C2", "expires": 2000},
    {"path": "bob/1.wav", "subjects": ["bob"], "expires": 1000},
    {"path": "bob/[1].wav", "subjects": ["Bob"]},
    {"path": "bobby/1.wav", "subjects": ["bobby"], "consent_id": ""},
]


def rows() -> pa.Table:
    blank = {"object_id": b"o" * 16, "data_key": b"k" * 32, "source_sha256": b"s" * 32}
    at = lambda end: datetime.datetime.fromtimestamp(end, datetime.UTC) if end else None  # noqa: E731 - short
    return table(*({**blank, **one, "expires": at(one.get("expires"))} for one in ROWS))


PATHS = {
    ("ann/1.wav",): [0],
    ("ann",): [0, 1],
    ("ann/",): [0, 1],
    ("bob",): [2, 3],
    ("*/1.wav",): [0, 2, 4],
    ("**/*.flac",): [1],
    ("ann/*",): [0],
    ("ann/**",): [0, 1],
    ("bob/[1].wav",): [3],
    ("bob/[1].*",): [3],
    ("bob/?.wav", "bobby"): [2, 4],
    ("nobody", "ann/1.wa"): [],
    ("ANN",): [],
}


@pytest.mark.parametrize("patterns", PATHS)
def test_by_path(writer: Writer, patterns: tuple[str, ...]) -> None:
    assert hits(writer, ByPath(patterns)) == PATHS[patterns]


def test_patterns_that_match_nothing() -> None:
    select = ByPath(["ann", "nobody", "*/1.wav", "x/*", "bob/[1].wav"])
    assert select.unmatched(one["path"] for one in ROWS) == ["nobody", "x/*"]


@pytest.mark.parametrize(("names", "found"), [(["ann"], [0, 1]), (["bob", "bobby"], [1, 2, 4]), (["an"], []), ([], [])])
def test_by_person(writer: Writer, names: list[str], found: list[int]) -> None:
    tagger = Tagger(writer.head.secret)
    assert hits(writer, ByPerson(map(tagger.tag, names))) == found


@pytest.mark.parametrize(("consents", "found"), [(["C1"], [0]), (["C1", "C2"], [0, 1]), ([""], [4]), (["c1"], [])])
def test_by_consent(writer: Writer, consents: list[str], found: list[int]) -> None:
    assert hits(writer, ByConsent(consents)) == found


@pytest.mark.parametrize(("now", "found"), [(999.9, []), (1000.0, [2]), (1500.0, [2]), (9e9, [1, 2])])
def test_expired(writer: Writer, now: float, found: list[int]) -> None:
    assert hits(writer, Expired(now)) == found


def test_all(writer: Writer) -> None:
    assert hits(writer, All()) == [*range(len(ROWS))]


def hits(writer: Writer, select: Select) -> list[int]:
    view = rows()
    found = select.hits(writer.head, view)
    assert select.hits(writer.head, view.slice(0, 0)).tolist() == []
    some = pa.concat_tables([view.slice(0, 2), view.slice(2)])  # as parts come, in several chunks
    assert select.hits(writer.head, some).tolist() == found.tolist()
    return [int(i) for i in found.nonzero()[0]]
