"""A lineage record on S3: written beside a model, replaced, taken over, looked for, deleted."""

from __future__ import annotations

import pytest

import securedata as sd
from securedata.lineage.files import find, remove
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def test_a_record_on_s3(cloud: Cloud, run: Run) -> None:
    root = cloud.make(clips=[clip(f"ann/{n}.wav", 0.5, seed=n) for n in range(2)])
    models = f"{root.rpartition('/')[0]}/models"
    with sd.EncryptedAudioDataset(root.name) as ds:
        first = sd.save_lineage(ds, f"{models}/run/m.pt")
        assert first == f"{models}/run/m.pt.lineage.json"
        before = find(f"{models}/run/m.pt")
        assert before is not None
        sd.save_lineage(ds, f"{models}/run/m.pt", base=f"{models}/run/m.pt")
        after = find(f"{models}/run/m.pt")
        assert after is not None
        assert before.id != after.id
        sd.save_lineage(ds, f"{models}/n.pt")
    done = run("lineage", root.name, "--subject", "ann", "--in", models, "--json")
    assert done.code == 0
    assert sorted(one["model"] for one in done.json["models"]) == [f"{models}/n.pt", f"{models}/run/m.pt"]
    remove(f"{models}/n.pt")
    remove(f"{models}/n.pt")
    assert run("lineage", root.name, "--subject", "ann", "--in", models, "--json").json["records"] == 1
    assert run("lineage", root.name, "--subject", "ann", "--in", f"{models}/none").code == 2
