"""The release of commit 9dfd651 and this one: each opens, verifies, exports and extends the corpora of the other.

Both run in processes of their own, as commands and as a training program. What the old one wrote is kept as data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from securedata.corpus.config import resolve
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.lifecycle.consent import require_purpose
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.rotate import rotate, rotate_head
from securedata.lifecycle.spellings import people_of
from tests.compatibility import sources
from tests.compatibility.release import Release, Where, kept_corpus, old_release
from tests.compatibility.sources import WRITTEN
from tests.kit.docs.tree import ROOT

pytestmark = pytest.mark.xdist_group("releases")  # each has one program that imports torch


class Pair(NamedTuple):
    """A release that writes, and another one that reads."""

    writer: Release
    reader: Release
    written: Callable[[Path], Where]
    """Makes the corpus of the writer in a folder."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with closing(old_release(tmp_path_factory.mktemp("old"))) as release:
        yield release


@pytest.fixture(scope="module")
def new() -> Iterator[Release]:
    with closing(Release(ROOT)) as release:
        yield release


@pytest.fixture(params=["old to new", pytest.param("new to old", marks=pytest.mark.full)])
def pair(request: pytest.FixtureRequest, old: Release, new: Release) -> Pair:
    return Pair(old, new, kept_corpus) if request.param == "old to new" else Pair(new, old, new.write)


def test_it_reads(pair: Pair, tmp_path: Path) -> None:
    found = pair.reader.read(pair.written(tmp_path))
    assert found == sources.rows(*WRITTEN)
    assert len(found) == 7
    assert sorted({row["extra"] for row in found}) == ["", *(f'{{"room":{n}}}' for n in (1, 2, 3, 4))]


@pytest.mark.full
def test_it_exports(pair: Pair, tmp_path: Path) -> None:
    where = pair.written(tmp_path)
    assert pair.reader.export(where, tmp_path / "restored") == sources.recordings(*WRITTEN)


@pytest.mark.full
def test_it_verifies_and_prunes(pair: Pair, tmp_path: Path) -> None:
    where = pair.written(tmp_path)
    orphan = where.root / "objects" / "00" / ("0" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"of a writer that was killed")
    two_days_ago = time.time() - 48 * 3600.0
    os.utime(orphan, (two_days_ago, two_days_ago))
    objects = set((where.root / "objects").rglob("?" * 32))

    found = pair.reader.verify(where, code=1)
    assert sorted(one["error"] for one in found["findings"]) == ["LeavingDue", "Orphan"]
    assert (found["parts"], found["rows"], found["objects"], found["objects_opened"]) == (3, 7, 5, 5)
    assert len(objects) == 7  # five of rows, the one of the recording that was replaced, and the orphan

    found = pair.reader.verify(where, "--prune", "--accept-generation", str(found["generation"]))
    assert (found["ok"], found["findings"]) == (True, [])
    left = set((where.root / "objects").rglob("?" * 32))
    assert (len(left), orphan in left, left < objects) == (5, False, True)
    found = pair.writer.verify(where)
    assert (found["ok"], found["leaving"], found["in_flight"], found["objects"]) == (True, 0, 0, 5)
    assert pair.reader.read(where) == sources.rows(*WRITTEN)


@pytest.mark.parametrize("pair", ["old to new", "new to old"], indirect=True)
def test_it_extends(pair: Pair, tmp_path: Path) -> None:
    where = pair.written(tmp_path)
    # a recording of a part of the other release is replaced, so that part is written again
    taken = pair.reader.encrypt("extension", tmp_path, where.root, *where.options)
    assert (taken["added"], taken["replaced"]) == (2, 1)
    steps = (*WRITTEN, "extension")
    for release in pair.writer, pair.reader:
        found = release.verify(where)
        assert (found["ok"], found["rows"], found["objects"]) == (True, 9, 6)
        assert release.read(where) == sources.rows(*steps)
    # the time of a row's first commit stays when the old release writes its part again; its own rows have none
    with open_corpus(where.root, kms=where.kms, pin=where.pin, columns=["path", "ingested"]) as corpus:
        known = [time is not None for time in corpus.table.column("ingested").to_pylist()]
    assert (sum(known), len(known)) == ((2, 9) if pair.written is kept_corpus else (6, 9))
    assert pair.writer.export(where, tmp_path / "restored") == sources.recordings(*steps)
    # and what it wrote is extended by the one that began
    again = pair.writer.encrypt("last", tmp_path, where.root, *where.options)
    assert (again["added"], again["replaced"]) == (1, 1)
    steps = (*steps, "last")
    assert pair.reader.verify(where)["ok"]
    assert pair.reader.read(where) == sources.rows(*steps)


@pytest.mark.full
def test_the_old_one_extends_what_is_being_sealed_again(old: Release, new: Release, tmp_path: Path) -> None:
    where = new.write(tmp_path)
    how = {"kms": where.kms, "pin": where.pin}
    rotate(where.root, data_keys=True, grace=14 * 24 * 3600.0, **how)
    rotate_head(Writer(resolve(where.root, **how)), data_keys=True)  # as if it had been killed after the rotation
    assert old.read(where) == sources.rows(*WRITTEN)
    taken = old.encrypt("extension", tmp_path, where.root, *where.options)
    assert (taken["added"], taken["replaced"]) == (2, 1)
    steps = (*WRITTEN, "extension")
    for release in old, new:  # it keeps the members that it does not know
        assert release.verify(where)["ok"]
    assert len(Writer(resolve(where.root, **how)).head.grace) == 1
    report = rotate(where.root, data_keys=True, **how)
    assert report.data_keys is not None
    assert (report.resumed, report.data_keys.objects, report.data_keys.finished) == (True, 6, True)
    for release in old, new:
        assert release.read(where) == sources.rows(*steps)


@pytest.mark.full
def test_config_entries_and_what_a_machine_has_seen_are_shared(pair: Pair, tmp_path: Path) -> None:
    writer, reader = (pair.writer, pair.reader)
    writer.run("init", tmp_path / "sealed", "--name", "shared", "--json")
    writer.encrypt("first", tmp_path, "shared")
    taken = reader.encrypt("second", tmp_path, "shared")
    assert (taken["added"], taken["root"]) == (1, str(tmp_path / "sealed"))
    assert writer.run("verify", "shared", "--prune", "--json")["ok"]  # it needs a generation that this machine has seen
    assert reader.run("verify", "shared", "--prune", "--json")["ok"]


def test_the_old_one_refuses_what_it_would_ignore(old: Release, tmp_path: Path) -> None:
    where = kept_corpus(tmp_path)
    reference = resolve(str(where.root), where.kms, where.pin)
    person = min(people_of(Writer(reference)))
    add_hold(Writer(reference), person, "7")
    head = (where.root / "head").read_bytes()
    source = tmp_path / "other"
    manifest = sources.put("extension", source)
    for command in (
        ("ls", where.root),
        ("verify", where.root),
        ("encrypt", source, where.root, "--manifest", manifest, "--replace", "--json"),
    ):
        assert "update securedata" in old.refuses(*command, *where.options), command[0]
    assert (where.root / "head").read_bytes() == head
    assert release_hold(Writer(reference), "7", subject=person).last
    require_purpose(Writer(reference))
    assert "update securedata" in old.refuses("ls", where.root, *where.options), "of a required purpose"
    require_purpose(Writer(reference), required=False)
    assert old.verify(where)["rows"] == 7
    assert old.encrypt("extension", tmp_path, where.root, *where.options)["added"] == 2
