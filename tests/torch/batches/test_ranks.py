"""Ranks of a distributed job share a map-style dataset by torch's DistributedSampler: each recording once an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.distributed
import torch.multiprocessing
from torch.utils.data import DataLoader, DistributedSampler

import securedata as sd
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import clip

RANKS, EPOCHS = 2, 2


def read(rank: int, folder: str, root: str) -> None:
    """One rank: it opens the corpus for itself, and rank 0 writes down what all have read."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    ds = sd.EncryptedAudioDataset(root)
    sampler: Any = DistributedSampler(ds, shuffle=True, seed=3)
    loader = DataLoader(ds, batch_size=2, sampler=sampler, collate_fn=sd.pad_collate)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        mine = [name for batch in loader for name in batch.utterance]
        calls = ds.corpora[0].counters.unwraps
        found: list[Any] = [None] * RANKS
        torch.distributed.all_gather_object(found, (mine, calls))
        if rank == 0:
            Path(folder, f"epoch-{epoch}").write_text(repr(found))
    torch.distributed.destroy_process_group()


def test_each_recording_is_read_once_by_one_of_two_ranks(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip(f"ann/{n}.wav", 0.1, seed=n) for n in range(10)])
    torch.multiprocessing.start_processes(read, (str(tmp_path), str(root)), nprocs=RANKS, start_method="fork")
    orders = []
    for epoch in range(EPOCHS):
        ranks = eval((tmp_path / f"epoch-{epoch}").read_text())
        assert [len(mine) for mine, _ in ranks] == [5, 5]
        assert sorted(name for mine, _ in ranks for name in mine) == sorted(map(str, range(10)))
        assert [calls for _, calls in ranks] == [1, 1]  # to the KMS, for all epochs
        orders.append([mine for mine, _ in ranks])
    assert orders[0] != orders[1]  # set_epoch deals anew
