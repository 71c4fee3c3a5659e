"""Hugging Face streaming over s3fs beside a sealed corpus in the same store: the same lines, with another URL."""

from __future__ import annotations

import secrets
from typing import Any

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from tests.kit.sources.recordings import clip, write_clips

CLIPS = [clip(f"ann/{n}.wav", 0.2, seed=n) for n in range(4)]


@pytest.fixture
def prefix(store: str, tmp_path: Any) -> str:
    """PREFIX/plain has a shard as everybody may read it; PREFIX/sealed is `voice-a`, PREFIX/files the shard sealed.

    A table, since what `datasets` gives s3fs to open a tar (`block_size=0`), s3fs does not take.
    """
    (tmp_path / "shards").mkdir()
    parquet.write_table(pa.table({"wav": [one.data for one in CLIPS]}), tmp_path / "shards/000.parquet")
    prefix = f"{store}/{secrets.token_hex(4)}"
    with fsspec.open(f"{prefix}/plain/000.parquet", "wb") as file:
        file.write((tmp_path / "shards/000.parquet").read_bytes())
    sd.create_corpus(f"{prefix}/sealed", "voice-a", kms=[f"local://{tmp_path}/a.kek"])
    sd.ingest(write_clips(tmp_path / "wavs", CLIPS), "voice-a", speaker_pattern="{speaker}/{utterance}")
    sd.create_corpus(f"{prefix}/files", "files", kms=[f"local://{tmp_path}/b.kek"])
    sd.ingest(tmp_path / "shards", "files", include=["*.parquet"], one_subject="ann")
    return prefix


def streamed(url: str) -> list[bytes]:
    return [one["wav"] for one in datasets.load_dataset("parquet", data_files=url, split="train", streaming=True)]


def test_the_same_lines(prefix: str) -> None:
    wanted = [one.data for one in CLIPS]
    assert streamed(f"{prefix}/plain/000.parquet") == wanted
    assert streamed("securedata://files/000.parquet") == wanted


def test_a_root_in_the_url(prefix: str) -> None:
    """Then fsspec imports s3fs, which moves no bytes: the store is read by our own client."""
    with fsspec.open(f"securedata://ann/0.wav::{prefix}/sealed") as file:
        assert file.read() == CLIPS[0].data


def test_in_workers_beside_s3fs(prefix: str) -> None:
    assert fsspec.filesystem("s3").exists(f"{prefix}/plain/000.parquet")  # its loop runs in a thread of this process
    loader = DataLoader(sd.to_hf("voice-a", streaming=True), 2, num_workers=2, collate_fn=list)
    found = {one["audio"]["path"].rpartition("/")[2]: one["audio"]["array"] for rows in loader for one in rows}
    assert all(np.array_equal(found[f"{n}.wav"], one.audio[0]) for n, one in enumerate(CLIPS))
