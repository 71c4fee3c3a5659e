"""The cache of sealed objects below a dataset: workers share it, and its counters reach `stats()`."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.storage.cache.folder import NAME
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"ann/{i}.flac", 0.1, seed=i) for i in range(24)])


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_fill_and_use_one_cache(root: Root, tmp_path: Path, method: str) -> None:
    ds = sd.EncryptedAudioDataset(root, cache=tmp_path / "cache", cache_size="1GB")
    loader = DataLoader(ds, batch_size=4, num_workers=2, shuffle=True, multiprocessing_context=method, collate_fn=list)
    for epoch in range(2):
        assert sum(len(batch) for batch in loader) == 24
        stats = ds.stats()
        assert stats.cache_misses + stats.cache_hits == 24 * (epoch + 1)
        assert stats.cache_misses <= 36, "most were fetched once: on a busy machine some find a lock taken"
    assert stats.cache_bytes > 20 * 1_000
    assert len(list((tmp_path / "cache" / NAME).glob("??/*"))) >= 22


def test_without_a_cache_nothing_is_counted(root: Root) -> None:
    ds = sd.EncryptedAudioDataset(root)
    assert len(ds[0]) == 6
    stats = ds.stats()
    assert (stats.cache_hits, stats.cache_misses, stats.cache_bytes) == (0, 0, 0)


def test_features_and_crops_are_read_through_it(root: Root, tmp_path: Path) -> None:
    ds = sd.EncryptedAudioDataset(root, cache=tmp_path / "cache", num_frames=100)
    for _ in range(3):
        assert [sample.waveform.shape[1] for sample in ds.__getitems__(range(24))] == [100] * 24
    stats = ds.stats()
    assert (stats.cache_misses, stats.cache_hits) == (24, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds.close()
