"""A part of a corpus on S3 under OpenBao, handed on to another bucket under another key; an erasure reaches it."""

from __future__ import annotations

import numpy as np
import pytest

import securedata as sd
from securedata.lifecycle.receipt.operator import make_operator
from tests.cloud.conftest import VERSIONED
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def test_a_part_goes_to_another_bucket_and_an_erasure_follows(cloud: Cloud, run: Run) -> None:
    make_operator("example.com/erasure")
    clips = [clip(f"{name}/{n}.flac", 0.5 + n / 10, speaker=name, seed=n) for name in ("ann", "bob") for n in range(3)]
    root = cloud.make(bucket=VERSIONED, clips=[*clips, clip("cid/long.wav", 90.0, speaker="cid", seed=7)])
    to, key = f"{root}-vendor", cloud.bao.make_key(f"{cloud.prefix}-vendor")
    options = ("--to-corpus", to, "--name", "vendor-s3", "--to-kms", key, "--path", "ann/*", "--path", "cid", "--json")
    done = run("export", root.name, *options)
    assert done.code == 0, done.err
    assert (done.json["added"], done.json["objects"], done.json["compared"]) == (4, 4, 4)
    with sd.EncryptedAudioDataset(root.name) as mine, sd.EncryptedAudioDataset("vendor-s3") as theirs:
        before = {one.speaker + one.utterance: one for one in mine}
        for one in theirs:
            assert np.array_equal(one.waveform, before[one.speaker + one.utterance].waveform)
        assert len(theirs) == 4
    assert run("export", root.name, *options).json["unchanged"] == 4
    done = run("erase", root.name, "--subject", "ann", "--json")
    assert done.code == 0, done.err
    assert [one["state"] for one in done.json["derived"]] == ["erased"]
    assert len([name for name in keys_in(cloud.weed, to) if "/objects/" in name]) == 1
    with sd.open_corpus("vendor-s3") as corpus:
        assert corpus.table.column("path").to_pylist() == ["cid/long.wav"]
