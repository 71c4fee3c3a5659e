"""A small network that learns voices (or languages) from features, and what it achieves on held-out utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, Any]

CROP = 100  # frames: one second
EPOCHS = 15
BATCH = 32
REPLICATES = 500


class Interval(NamedTuple):
    """A value and a 95 % interval, from a bootstrap over voices and, within them, over utterances."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.0f} % [{100 * self.low:.0f}, {100 * self.high:.0f}]"


class Network(nn.Module):
    """Two convolutions over time, mean and deviation over the utterance, an embedding of 64, a linear classifier."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(features, 96, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(96),
            nn.Conv1d(96, 96, 3, padding=2, dilation=2), nn.ReLU(), nn.BatchNorm1d(96),
        )  # fmt: skip
        self.embedding = nn.Linear(2 * 96, 64)
        self.classes = nn.Linear(64, classes)

    def embed(self, batch: Tensor) -> Tensor:
        """[B, features, T] to [B, 64]."""
        found = self.frames(batch)
        return self.embedding(torch.cat([found.mean(2), found.std(2)], 1))

    def forward(self, batch: Tensor) -> Tensor:
        """Logits [B, classes]."""
        return self.classes(torch.relu(self.embed(batch)))


class Attacker:
    """A trained network, and the scale of its input."""

    def __init__(self, utterances: Sequence[Array], labels: Sequence[int], classes: int, seed: int = 0) -> None:
        """Train on utterances [features, frames] with their labels."""
        torch.manual_seed(seed)
        together = np.concatenate(utterances, 1)
        self._mean, self._scale = together.mean(1, keepdims=True), together.std(1, keepdims=True) + 1e-6
        inputs = [self._scaled(one) for one in utterances]
        targets = torch.tensor(labels)
        self.network = Network(len(self._mean), classes)
        optimizer = torch.optim.AdamW(self.network.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 4e-3, epochs=EPOCHS, steps_per_epoch=-(-len(inputs) // BATCH)
        )
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(inputs)).split(BATCH):
                batch = torch.stack([_crop(inputs[row]) for row in rows.tolist()])
                loss = nn.functional.cross_entropy(self.network(batch), targets[rows], label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self.network.eval()

    @torch.inference_mode()
    def classes(self, utterances: Sequence[Array]) -> Array:
        """The most likely class of each utterance."""
        return np.array([int(self.network(self._whole(one)).argmax()) for one in utterances])

    @torch.inference_mode()
    def embeddings(self, utterances: Sequence[Array]) -> Array:
        """[N, 64], of length 1."""
        found = torch.cat([self.network.embed(self._whole(one)) for one in utterances])
        return nn.functional.normalize(found, dim=1).numpy()

    def _scaled(self, utterance: Array) -> Tensor:
        return torch.from_numpy(((utterance - self._mean) / self._scale).astype("f4"))

    def _whole(self, utterance: Array) -> Tensor:
        return _long_enough(self._scaled(utterance))[None]


def _crop(utterance: Tensor) -> Tensor:
    long = _long_enough(utterance)
    at = int(torch.randint(long.shape[1] - CROP + 1, ()))
    return long[:, at : at + CROP]


def _long_enough(utterance: Tensor) -> Tensor:
    """Repeated until it has `CROP` frames."""
    return utterance.repeat(1, -(-CROP // utterance.shape[1]))


def equal_error_rate(scores: Array, target: Array) -> float:
    """The rate at which as many strangers are accepted as owners are refused."""
    order = np.argsort(scores)
    target = target[order]
    refused = np.cumsum(target) / max(1, target.sum())
    accepted = 1 - np.cumsum(~target) / max(1, (~target).sum())
    at = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[at] + accepted[at]) / 2)


def bootstrapped(measure: Callable[[Array], float], voices: Array, seed: int = 0) -> Interval:
    """A measure of utterances (by number), with its interval: voices are drawn again, then their utterances."""
    random = np.random.default_rng(seed)
    names = np.unique(voices)
    rows = {name: np.flatnonzero(voices == name) for name in names}

    def drawn() -> Array:
        chosen = random.choice(names, len(names))
        return np.concatenate([random.choice(rows[name], len(rows[name])) for name in chosen])

    found = [measure(drawn()) for _ in range(REPLICATES)]
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(measure(np.arange(len(voices))), float(low), float(high))
