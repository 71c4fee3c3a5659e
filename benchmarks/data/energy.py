"""The least that speech can be reduced to, as a function for `retain`: how loud it is, without its spectrum."""

from __future__ import annotations

import torch


def energy(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """The logarithm of the power of each hundredth of a second: [channels, 1, frames]."""
    hop = rate // 100
    return waveform.unfold(1, hop, hop).square().mean(2).clamp(min=1e-10).log().unsqueeze(1)
