"""Train on a sealed corpus, with DataLoader workers, to recognise voices."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, get_worker_info

import securedata as sd
from demo.features import LogMel
from demo.model import VoiceNet

BATCH = 32
WORKERS = 2
EPOCHS = 6


class VoiceBatch(NamedTuple):
    features: Tensor  # float32 [B, 1, MELS, T]
    lengths: Tensor  # int64 [B], frames of features
    labels: Tensor  # int64 [B]
    worker: int  # the process that made the batch
    unwraps: int  # how often it has asked the KMS


def voice_of(speaker: str, extra: str) -> str:
    """The table's column `voice`, if it has one, else the speaker. Columns of unknown names are kept in `extra`."""
    return str(json.loads(extra).get("voice", speaker)) if extra else speaker


class Collate:
    """sd.pad_collate, with numbers for the voices, and the number of KMS calls of this worker."""

    def __init__(self, voices: Sequence[str]) -> None:
        self.numbers = {voice: number for number, voice in enumerate(voices)}

    def __call__(self, samples: list[sd.Sample]) -> VoiceBatch:
        batch = sd.pad_collate(samples)
        labels = [self.numbers[voice_of(*names)] for names in zip(batch.speaker, batch.extra, strict=True)]
        worker = get_worker_info()
        assert worker is not None
        unwraps = kms_calls(worker.dataset.dataset)  # of the Subset's dataset
        return VoiceBatch(batch.waveform, batch.lengths, torch.tensor(labels), os.getpid(), unwraps)


def kms_calls(dataset: sd.EncryptedAudioDataset) -> int:
    """How often this process has asked the KMS for the dataset's keys, since it started or was forked."""
    return sum(corpus.counters.unwraps for corpus in dataset.corpora)


class TimedLogMel(LogMel):
    """LogMel that adds up the seconds it took in this process."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate)
        self.seconds = 0.0

    def __call__(self, waveform: Tensor) -> Tensor:
        began = time.perf_counter()
        features = super().__call__(waveform)
        self.seconds += time.perf_counter() - began
        return features


@dataclass
class Result:
    voices: list[str]
    train: int  # recordings
    test: int
    baseline: float  # share of the commonest voice among the test recordings
    losses: list[float] = field(default_factory=list)  # by epoch
    accuracies: list[float] = field(default_factory=list)
    samples: int = 0  # read by all workers, over all epochs
    seconds: float = 0.0  # wall clock of the epochs, training and testing
    unwraps: dict[int, int] = field(default_factory=dict)  # KMS calls of each worker process


def train(
    dataset: sd.EncryptedAudioDataset,
    labels: Sequence[str],
    train_rows: Sequence[int],
    test_rows: Sequence[int],
    say: Callable[[str], None],
    epochs: int = EPOCHS,
) -> Result:
    """Train on `train_rows`, test on `test_rows` after every epoch; `labels` are the voices of all rows."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the workers have the other cores
    voices = sorted({labels[row] for row in train_rows})
    counts = Counter(labels[row] for row in test_rows)
    result = Result(voices, len(train_rows), len(test_rows), max(counts.values()) / len(test_rows))
    loaders = [
        DataLoader(
            Subset(dataset, rows),
            BATCH,
            shuffle=rows is train_rows,
            num_workers=WORKERS,
            collate_fn=Collate(voices),
            persistent_workers=True,
        )
        for rows in (train_rows, test_rows)
    ]
    model = VoiceNet(len(voices))
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loaders[0]))
    for epoch in range(epochs):
        began, total, right = time.perf_counter(), 0.0, 0
        model.train()
        for batch in loaders[0]:
            loss = nn.functional.cross_entropy(model(batch.features, batch.lengths), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch.labels)
            result.unwraps[batch.worker] = batch.unwraps
        model.eval()
        with torch.no_grad():
            for batch in loaders[1]:
                right += int((model(batch.features, batch.lengths).argmax(1) == batch.labels).sum())
                result.unwraps[batch.worker] = batch.unwraps
        took = time.perf_counter() - began
        result.samples += len(train_rows) + len(test_rows)
        result.seconds += took
        result.losses.append(total / len(train_rows))
        result.accuracies.append(right / len(test_rows))
        say(f"epoch {epoch + 1}: loss {result.losses[-1]:.3f}, {result.accuracies[-1]:.1%} right, {took:.1f} s")
    return result
