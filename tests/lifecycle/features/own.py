"""Functions that stand for a user's own features."""

from __future__ import annotations

import torch


def loudness(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """Energy of each hundredth of a second, as one feature."""
    hop = rate // 100
    return waveform.unfold(1, hop, hop).square().mean(2).unsqueeze(1)


def flat(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """Two dimensions, which is one too few."""
    return waveform


def refuses_short_ones(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """Raises for less than half a second."""
    if waveform.shape[1] < rate // 2:
        raise LookupError("ann is too short")
    return loudness(waveform, rate)


def loud(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """Beyond float16."""
    return loudness(waveform, rate) + 1e6


NOT_A_FUNCTION = 3
