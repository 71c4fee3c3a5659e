"""The second epoch from a cache on local disk asks an S3 server for no object, with workers too."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.storage.cache.folder import NAME
from tests.kit.cloud.forward import forward
from tests.kit.corpora.cloud import Cloud
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def test_the_second_epoch_asks_for_no_object(cloud: Cloud, tmp_path: Path) -> None:
    with forward(cloud.weed.endpoint) as between:
        clips = [clip(f"ann/{i}.flac", 0.2, seed=i) for i in range(20)]
        root = cloud.make("contractor-a", clips, endpoint=f"http://127.0.0.1:{between.port}")
        ds = sd.EncryptedAudioDataset(root, cache=tmp_path / "cache")
        asked = []
        for _ in range(3):
            between.requests.clear()
            for batch in DataLoader(ds, batch_size=4, num_workers=2, shuffle=True, collate_fn=list):
                assert len(batch) == 4
            asked.append(sum(line.startswith("GET ") and "/objects/" in line for line in between.requests))
        assert asked[0] >= 20
        assert asked[1] <= 1, "a worker that found a lock taken kept nothing"
        assert asked[2] == 0
    assert len(list((tmp_path / "cache" / NAME).glob("??/*"))) == 20
