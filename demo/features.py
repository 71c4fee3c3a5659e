"""Log-mel features, computed in the loader's workers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MELS = 40
LOWEST = 20.0  # Hz


class LogMel:
    """waveform float32 [channels, frames] -> float32 [1, MELS, frames // hop + 1], with a mean of 0 over the clip.

    It uses torchaudio's MelSpectrogram if torchaudio can be imported, else the same computation on torch.stft, because
    torchaudio's last release does not work with every torch. Instances can be pickled, for spawned workers.
    """

    def __init__(self, sample_rate: int) -> None:
        self.n_fft = 1 << (round(0.032 * sample_rate) - 1).bit_length()
        hop = sample_rate // 100
        self.mel: nn.Module
        try:
            from torchaudio.transforms import MelSpectrogram
        except (ImportError, OSError) as error:
            reason = str(error).splitlines()[0]
            self.source = f"plain torch, because torchaudio cannot be imported ({reason})"
            self.mel = PlainMelSpectrogram(sample_rate, self.n_fft, hop)
        else:
            self.source = "torchaudio.transforms.MelSpectrogram"
            self.mel = MelSpectrogram(sample_rate, n_fft=self.n_fft, hop_length=hop, f_min=LOWEST, n_mels=MELS)

    def __call__(self, waveform: Tensor) -> Tensor:
        mono = waveform.mean(0, keepdim=True)
        short = self.n_fft - mono.shape[-1]
        if short > 0:
            mono = nn.functional.pad(mono, (0, short))
        mel = torch.log10(self.mel(mono) + 1e-8)
        return mel - mel.mean()


class PlainMelSpectrogram(nn.Module):
    """torchaudio's class with its defaults: Hann window, power 2, HTK mel scale, filters not normalised."""

    def __init__(self, sample_rate: int, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.window = torch.hann_window(n_fft)
        self.filters = mel_filters(n_fft // 2 + 1, LOWEST, sample_rate / 2, MELS)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(waveform, self.n_fft, self.hop, window=self.window, return_complex=True)
        return (spectrum.abs().square().transpose(-1, -2) @ self.filters).transpose(-1, -2)


def mel_filters(bins: int, low: float, high: float, mels: int) -> Tensor:
    """Triangular filters [bins, mels] on the HTK mel scale, 2595 log10(1 + f / 700)."""
    ends = 2595 * torch.log10(1 + torch.tensor([low, high]) / 700)
    points = 700 * (10 ** (torch.linspace(float(ends[0]), float(ends[1]), mels + 2) / 2595) - 1)
    frequencies = torch.linspace(0, high, bins).unsqueeze(1)
    rising = (frequencies - points[:-2]) / (points[1:-1] - points[:-2])
    falling = (points[2:] - frequencies) / (points[2:] - points[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)
