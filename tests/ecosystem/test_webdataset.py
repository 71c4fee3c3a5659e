"""Sealed shards in WebDataset, which opens them in its own process and keeps none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webdataset
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import NoSuchPath, PlaintextRefused
from tests.kit.corpora.files import make_files, shard
from tests.kit.corpora.recorded import Root
from tests.kit.sources.recordings import clip, read, some_clips


@pytest.fixture
def shards(tmp_path: Path) -> Root:
    more = [clip(f"eve/{n}.wav", 0.1, seed=n, speaker="eve", transcript=f"number {n}") for n in range(4)]
    sd.webdataset.register()
    return make_files(tmp_path, {"shards/000.tar": shard(), "shards/001.tar": shard(more)})


URLS = "securedata://files/shards/{000..001}.tar"


def test_a_pipeline_with_another_url(shards: Root, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number:03}.tar").write_bytes(shards.clips[number].data)
    sealed, plain = (
        [
            (one["__key__"], one.get("wav"), one["json"]["text"])
            for one in webdataset.WebDataset(urls, shardshuffle=False).decode()
        ]
        for urls in (URLS, f"{tmp_path}/{{000..001}}.tar")
    )
    assert sealed == plain
    assert len(sealed) == 10
    assert (read(sealed[0][1]) == some_clips()[0].audio).all()


def keys(batch: list[Any]) -> list[str]:
    return [one["json"]["text"] for one in batch]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers(shards: Root, context: str) -> None:
    ds = webdataset.WebDataset(URLS, shardshuffle=2, workersplitter=webdataset.split_by_worker).decode()
    loader = DataLoader(
        ds, 2, num_workers=2 if context == "fork" else 1, collate_fn=keys, multiprocessing_context=context,
        worker_init_fn=sd.webdataset.worker_init,
    )  # fmt: skip
    assert len([text for batch in loader for text in batch]) == 10


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_cache_is_refused(shards: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(webdataset.cache, "default_cache_dir", str(kept))  # as WDS_CACHE sets it
    ds = webdataset.WebDataset(URLS, shardshuffle=False, cache_dir=str(kept))
    fill = (
        (lambda: webdataset.cache.FileCache().get_file("securedata://files/shards/000.tar"))
        if by_hand
        else (lambda: list(ds))
    )
    with pytest.raises(PlaintextRefused, match="WDS_CACHE"):
        fill()
    assert list(kept.iterdir()) == []


def test_where_it_may_it_is_kept(shards: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("fsspec").config.conf, "securedata", {"allow_plaintext_export": True})
    kept = tmp_path / "kept"
    kept.mkdir()
    assert len(list(webdataset.WebDataset(URLS, shardshuffle=False, cache_dir=str(kept)))) == 10
    assert len(list(kept.iterdir())) == 2


def test_a_missing_shard_raises(shards: Root) -> None:
    with pytest.raises(NoSuchPath):
        list(webdataset.WebDataset("securedata://files/shards/007.tar", shardshuffle=False))
