"""`securedata erase --models`: what it tells the operator, and what the receipt says."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root


@pytest.fixture
def models(run: Run, root: Root, tmp_path: Path) -> Path:
    run("operator", "init", "--name", "example.com/erasure")
    folder = tmp_path / "models"
    folder.mkdir()
    with sd.EncryptedAudioDataset(root) as ds:
        sd.save_lineage(ds, folder / "both.pt")
    with sd.EncryptedAudioDataset(root, speaker="bob") as ds:
        sd.save_lineage(ds, folder / "bob.pt")
    return folder


def test_it_shows_the_models_and_the_receipt_counts_them(run: Run, root: Root, models: Path) -> None:
    said = run("erase", root.name, "--subject", "ann", "--models", models, "--dry-run")
    assert said.code == 0
    title = "models trained with recordings of these people, which stay as they are (1):"
    assert f"{title}\n  {models}/both.pt\n" in said.err
    found = run("erase", root.name, "--subject", "ann", "--models", models, "--dry-run", "--json").json["models"]
    assert [one["model"] for one in found] == [f"{models}/both.pt"]
    done = run("erase", root.name, "--subject", "ann", "--models", models)
    assert done.code == 0
    assert f"{title}\n  {models}/both.pt\n" in done.err
    receipt = done.out.splitlines()[1].removeprefix("receipt: ")
    verified = run("receipt", "verify", receipt)
    assert verified.code == 0
    assert "Models looked for in 2 lineage records in 1 place; found: " in verified.out
    assert "Models trained on these recordings were found, and were not changed: 1." in verified.out
    assert "both.pt" not in Path(receipt).read_text()
    again = run("erase", root.name, "--subject", "ann", "--models", models, "--json")
    assert (again.code, again.json["receipt"], len(again.json["models"])) == (0, None, 1)


def test_without_it_nothing_is_said_of_models(run: Run, root: Root, models: Path) -> None:
    done = run("erase", root.name, "--subject", "ann", "--json")
    assert done.json["models"] is None
    assert "were not looked for" in run("receipt", "verify", done.json["receipt"]["path"]).out


def test_a_place_or_record_that_cannot_be_read(run: Run, root: Root, models: Path, tmp_path: Path) -> None:
    done = run("erase", root.name, "--subject", "ann", "--models", tmp_path / "nowhere")
    assert done.code == 2
    (models / "torn.lineage.json").write_text("")
    for more in ((), ("--dry-run",)):
        done = run("erase", root.name, "--subject", "ann", "--models", models, *more)
        assert done.code == 1
        assert "nothing was erased" in done.error
        assert str(models / "torn.lineage.json") in done.error
    with sd.EncryptedAudioDataset(root) as ds:
        assert len(ds) == 6
    for wrong in (("--finish",), ("--readmit", "ann", "--consent", "C1")):
        assert run("erase", root.name, *wrong, "--models", models).code == 2
