"""A small convolutional network that recognises the voice in a log-mel clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from demo.features import MELS


class VoiceNet(nn.Module):
    """features float32 [B, 1, MELS, T], lengths int64 [B] -> scores float32 [B, voices].

    Convolutions over time with the mels as channels, then the mean and deviation over each clip's own frames: it learns
    a voice's timbre, and ignores padding.
    """

    def __init__(self, voices: int, width: int = 48) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width if i else MELS, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU())
            for i in range(3)
        )
        self.scores = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width, voices))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        hidden = features.squeeze(1)
        inside = (torch.arange(hidden.shape[-1]) < lengths.unsqueeze(1)).unsqueeze(1).to(hidden.dtype)
        for convolution in self.convolutions:
            hidden = convolution(hidden) * inside
        count = inside.sum(-1)
        mean = hidden.sum(-1) / count
        variance = ((hidden - mean.unsqueeze(-1)) * inside).square().sum(-1) / count
        return self.scores(torch.cat([mean, (variance + 1e-5).sqrt()], dim=1))
