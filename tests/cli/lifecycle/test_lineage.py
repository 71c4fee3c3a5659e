"""`securedata lineage`, as people and scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import drop_entry
from tests.kit.cli.commandline import Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, make_corpus


@pytest.fixture
def models(root: Root, tmp_path: Path) -> Path:
    """A model of ann, one of ann and bob, and one of another corpus."""
    folder = tmp_path / "models"
    folder.mkdir()
    with sd.EncryptedAudioDataset(root, speaker="ann") as ds:
        sd.save_lineage(ds, folder / "ann.pt")
    with sd.EncryptedAudioDataset(root) as ds:
        sd.save_lineage(ds, folder / "both.pt", complete=False)
    with sd.EncryptedAudioDataset(make_corpus(tmp_path / "other", name="voice-b")) as ds:
        sd.save_lineage(ds, folder / "other.pt")
    return folder


def test_a_person_is_looked_for(run: Run, root: Root, models: Path) -> None:
    said = run("lineage", root.name, "--subject", "bob", "--in", models)
    assert said.code == 0
    table, line, count = said.out.splitlines()
    assert table.split()[:3] == ["model", "record", "of"]
    assert line.split()[0] == str(models / "both.pt")
    assert line.split()[2:] == ["6", "3.50", "s", "2", "2"]
    assert count == "models trained with this person's recordings: 1 of 3 records"
    assert "records that do not know this corpus (1):" in said.err
    assert "trained from a model that has no record, so anybody may be in it, too (1):" in said.err
    said = run("lineage", root.name, "--subject", "ann", "--in", models, "--json")
    assert [Path(one["model"]).name for one in said.json["models"]] == ["ann.pt", "both.pt"]
    assert said.json["models"][0]["entries"][0]["filter"] == ["speaker"]
    assert (said.json["records"], said.json["unread"], said.json["absent"]) == (3, [], [])
    assert [Path(one).name for one in said.json["others"]] == ["other.pt.lineage.json"]


def test_a_person_who_was_erased_is_found(run: Run, root: Root, models: Path) -> None:
    erase(root, "bob")
    said = run("lineage", root.name, "--subject", "bob", "--in", models, "--json")
    assert (len(said.json["models"]), said.json["absent"]) == (1, [])


def test_a_model_of_what_was_made_from_the_recordings_is_found(run: Run, root: Root, tmp_path: Path) -> None:
    features, folder = tmp_path / "features", tmp_path / "models"
    folder.mkdir()
    sd.retain(root.name, str(features), features="fbank", workers=0, sample_rate=16_000)
    with sd.EncryptedFeatureDataset("features") as ds:
        sd.save_lineage(ds, folder / "model.pt")
    with sd.EncryptedAudioDataset(root) as audio, sd.EncryptedFeatureDataset("features") as ds:
        sd.save_lineage([audio, ds], folder / "both.pt")
    said = run("lineage", root.name, "--subject", "bob", "--in", folder, "--json").json
    assert [(Path(one["model"]).name, len(one["entries"])) for one in said["models"]] == [
        ("both.pt", 2),
        ("model.pt", 1),
    ]
    assert (said["others"], said["unreached"]) == ([], [])
    drop_entry("features")
    told = run("lineage", root.name, "--subject", "bob", "--in", folder)
    assert "corpora made from this one that were not read" in told.err
    assert told.out.splitlines()[-1] == "models trained with this person's recordings: 1 of 2 records"


def test_a_name_that_nobody_has(run: Run, root: Root, models: Path) -> None:
    said = run("lineage", root.name, "--subject", "Ann", "--in", models)
    assert (said.code, said.out) == (0, "models trained with this person's recordings: 0 of 3 records\n")
    assert "no row names this person, and nobody of that name was erased: Ann" in said.err
    assert "other spellings like Ann: ann" in said.err
    assert run("lineage", root.name, "--subject", "Ann", "--also", "ann", "--in", models, "--json").json["models"]


def test_a_record_that_cannot_be_read_is_an_error(run: Run, root: Root, models: Path) -> None:
    (models / "torn.pt.lineage.json").write_text("{")
    said = run("lineage", root.name, "--subject", "bob", "--in", models)
    assert said.code == 1
    assert said.out.splitlines()[-1] == "models trained with this person's recordings: 1 of 3 records"
    assert "1 record or folder could not be read" in said.error
    assert f"{models}/torn.pt.lineage.json: it is not a lineage record" in said.err
    said = run("lineage", root.name, "--subject", "bob", "--in", models, "--json")
    assert said.code == 1
    assert [Path(one["path"]).name for one in said.json["unread"]] == ["torn.pt.lineage.json"]


def test_a_place_that_is_not_there(run: Run, root: Root, tmp_path: Path) -> None:
    done = run("lineage", root.name, "--subject", "bob", "--in", tmp_path / "nowhere")
    assert (done.code, done.out) == (2, "")
    assert "no such folder" in done.err
    assert run("lineage", root.name, "--subject", "bob").code == 2
    assert run("lineage", root.name, "--subject", "", "--in", tmp_path).code == 2
