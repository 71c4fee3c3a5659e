"""Records are looked for below folders and URLs; what cannot be read is never passed over."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from securedata.errors import InvalidArgument, MalformedLineage, NotFound, SecuredataError
from securedata.keys.tags import Tagger
from securedata.lineage import files
from securedata.lineage.files import find, model_of, records, remove, save
from securedata.lineage.record import Lineage
from securedata.lineage.search import Records, read_records
from tests.lineage.test_record import CORPUS, ID, SECRET, entry, lineage

TAGGER = Tagger(SECRET)
LATER = "ff" * 16


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two models of ann and bob, one below a folder; one of cid; one of another corpus."""
    folder = tmp_path / "models"
    (folder / "runs" / "checkpoint-1").mkdir(parents=True)
    save(lineage(), str(folder / "a.pt"))
    save(lineage(id=LATER, complete=False), str(folder / "runs" / "checkpoint-1"))
    save(lineage(entries=(entry(people=tuple(TAGGER.in_lineage(bytes.fromhex(ID), ["cid"]))),)), str(folder / "c.pt"))
    save(lineage(entries=()), str(folder / "d.pt"))
    return folder


def named(found: Records, *people: str) -> list[tuple[str, str]]:
    return [(os.path.basename(one.path), one.record) for one in found.naming(CORPUS, TAGGER, people)]


def test_the_models_of_a_person(place: Path) -> None:
    found = read_records([str(place)])
    assert (found.places, len(found.found), found.unread) == (1, 4, ())
    assert named(found, "ann") == [("a.pt", ID), ("checkpoint-1", LATER)]
    assert named(found, "cid") == [("c.pt", ID)]
    assert named(found, "eve", "cid", "ann") == [("a.pt", ID), ("c.pt", ID), ("checkpoint-1", LATER)]
    assert named(found, "eve") == named(found) == []
    assert [os.path.basename(where) for where, _ in found.of(CORPUS)] == [
        "a.pt.lineage.json", "c.pt.lineage.json", "securedata.lineage.json",
    ]  # fmt: skip
    assert found.naming(bytes(16), TAGGER, ["ann"]) == ()
    assert found.naming(CORPUS, Tagger(bytes(32)), ["ann"]) == ()  # without the secret nobody can test a name


def test_a_record_that_is_found_twice_counts_once(place: Path) -> None:
    found = read_records([str(place), str(place / "runs"), str(place)])
    assert (found.places, len(found.found)) == (2, 4)


def test_what_cannot_be_read_is_told(place: Path) -> None:
    (place / "e.pt.lineage.json").write_text("{}")
    (place / "f.pt.lineage.json").write_bytes((place / "a.pt.lineage.json").read_bytes()[:-9])
    os.symlink("nowhere", place / "g.pt.lineage.json")
    os.mkfifo(place / "h.pt.lineage.json")
    (place / "a.pt").write_text("a model")
    found = read_records([str(place)])
    assert [os.path.basename(one.path)[0] for one in found.unread] == ["e", "f", "g", "h"]
    assert all(str(place) not in one.reason for one in found.unread)
    assert len(found.found) == 4
    with pytest.raises(MalformedLineage, match="4 lineage records or folders could not be read") as caught:
        found.require_read()
    assert str(place) not in str(caught.value)


def test_a_record_is_limited_before_it_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST", 100)
    assert len(read_records([str(place)]).unread) == 4


def test_a_checkpoint_that_goes_away_meanwhile_is_no_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = records(str(place))
    assert isinstance(next(seen)[1], Lineage)
    remove(str(place / "d.pt"))
    remove(str(place / "d.pt"))
    assert len([one for _, one in seen if isinstance(one, SecuredataError)]) == 0


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    for wrong in (str(tmp_path / "none"), "memory://nothing/here", f"file://{tmp_path}/none", "", "a\0b"):
        with pytest.raises(InvalidArgument):
            read_records([wrong])
    assert read_records([str(tmp_path)]).found == ()


def test_on_other_storage(place: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("a.pt.lineage.json", "c.pt.lineage.json"):
        fs.pipe_file(f"/bucket/deep/{name}", (place / name).read_bytes())
    fs.pipe_file("/bucket/a.pt", b"a model")
    fs.pipe_file("/bucket/x.lineage.json", b"broken")
    found = read_records(["memory://bucket"])
    assert [one.path for one in found.naming(CORPUS, TAGGER, ["ann"])] == ["memory://bucket/deep/a.pt"]
    assert [one.path for one in found.unread] == ["memory://bucket/x.lineage.json"]
    fs.rm("/bucket", recursive=True)


def test_a_folder_that_cannot_be_listed_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("runs"):
            raise PermissionError(13, "denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = read_records([str(place)])
    assert [os.path.basename(one.path) for one in found.unread] == ["runs"]


def test_the_model_of_a_record() -> None:
    assert model_of("/m/a.pt.lineage.json") == "/m/a.pt"
    assert model_of("s3://b/m/a.pt.lineage.json") == "s3://b/m/a.pt"
    assert model_of("/m/checkpoint-1/securedata.lineage.json") == "/m/checkpoint-1"


def test_a_record_that_cannot_be_read_is_not_no_record(tmp_path: Path) -> None:
    assert find(str(tmp_path / "m.pt")) is None
    (tmp_path / "m.pt.lineage.json").mkdir()
    with pytest.raises(SecuredataError) as caught:
        find(str(tmp_path / "m.pt"))
    assert not isinstance(caught.value, NotFound)
    with pytest.raises(SecuredataError):
        save(lineage(), str(tmp_path / "m.pt"))
