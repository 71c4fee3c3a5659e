"""Features of a corpus on S3 under OpenBao, in another corpus there; then the recordings go, with all versions."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.lifecycle.receipt.operator import make_operator
from tests.cloud.conftest import VERSIONED
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def test_features_stay_and_recordings_go(cloud: Cloud, run: Run) -> None:
    make_operator("example.com/erasure")
    root = cloud.make(bucket=VERSIONED, clips=[clip(f"ann/{n}.flac", 0.5 + n / 10, seed=n) for n in range(4)])
    to, key = f"{root}-features", cloud.bao.make_key(f"{cloud.prefix}-features")
    options = ("--features", "mfcc", "--workers", "2", "--name", "mfcc-s3", "--to-kms", key, "--erase-raw", "--json")
    done = run("retain", root.name, "--to", to, *options)
    assert done.code == 0, done.err
    found = done.json
    assert (found["added"], found["opened"], found["identical"], found["raw_erased"]) == (4, 4, 4, 4)
    assert found["recorded"]["source"]["pin"] == root.pin
    assert not [name for name in keys_in(cloud.weed, root) if "/objects/" in name]
    with sd.EncryptedFeatureDataset("mfcc-s3") as ds:
        batches = list(DataLoader(ds, batch_size=2, num_workers=2, collate_fn=list))
        frames = {one.utterance: one.features.shape[2] for batch in batches for one in batch}
        assert frames == {str(n): 51 + 10 * n for n in range(4)}
    public = run("operator", "show", "--json").json["public"]
    assert run("receipt", "verify", found["receipt"], "--key", public).code == 0
