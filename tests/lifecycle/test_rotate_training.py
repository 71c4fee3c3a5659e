"""A training that runs across rotations, the second with fresh keys of objects: its workers go on, and renew."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

import securedata as sd
from securedata.lifecycle.rotate import rotate
from tests.kit.corpora.recorded import make_corpus
from tests.kit.counting_kms import Counted


def _only(samples: list[sd.Sample]) -> sd.Sample:
    """A collate_fn: batches of one, as they are."""
    [sample] = samples
    return sample


def test_a_training_across_two_rotations(tmp_path: Path, counted: Counted) -> None:
    root = make_corpus(tmp_path, kms=counted.uri)
    ttl, many = 0.5, 20
    with sd.EncryptedAudioDataset(root, ttl=ttl) as ds:
        opened = ds.corpora[0]._lease.grant.key_id
        loader = DataLoader(
            ds,
            batch_size=1,
            sampler=[k % len(ds) for k in range(many)],
            num_workers=2,
            prefetch_factor=1,
            multiprocessing_context="fork",
            collate_fn=_only,
        )
        counted.forget()
        seen = 0
        for k, sample in enumerate(loader):
            assert np.array_equal(sample.waveform.numpy(), root.clips[k % len(root.clips)].audio)
            if k in (2, 10):
                rotate(root.reference, data_keys=k == 10)
            time.sleep(0.15)
            seen += 1
        assert seen == many
        assert len(set(counted.unwraps)) == 3  # both workers, and this process for the rotations
        assert np.array_equal(ds[0].waveform.numpy(), root.clips[0].audio)
        assert ds.corpora[0]._lease.grant.key_id != opened
