"""One picture of the demo's results."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")  # a file, on a machine that may have no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from demo.features import LogMel
from demo.leaks import Leaks
from demo.search import entropy
from demo.train import Result

PLAIN, SEALED, GREY = "#c1543a", "#2f6f9f", "#9a9a9a"


def draw(
    path: Path,
    result: Result,
    waveform: Tensor,
    sample_rate: int,
    title: str,
    leaks: Leaks,
    shares: dict[str, float],
) -> None:
    """Write the picture to `path`."""
    figure, axes = plt.subplots(2, 3, figsize=(15, 8), layout="constrained")
    _wave(axes[0, 0], waveform, sample_rate, title)
    _mel(axes[0, 1], waveform, sample_rate)
    _bytes(axes[0, 2], leaks)
    _loss(axes[1, 0], result)
    _accuracy(axes[1, 1], result)
    _shares(axes[1, 2], shares)
    figure.suptitle("securedata demo: real voices, sealed on disk, plaintext only in memory", fontsize=14)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _wave(axes: Axes, waveform: Tensor, sample_rate: int, title: str) -> None:
    mono = waveform.mean(0).numpy()
    axes.plot(np.arange(len(mono)) / sample_rate, mono, color=PLAIN, linewidth=0.5)
    axes.set(
        title=f"{title}, decrypted in memory", xlabel="seconds", ylabel="amplitude", xlim=(0, len(mono) / sample_rate)
    )


def _mel(axes: Axes, waveform: Tensor, sample_rate: int) -> None:
    features = LogMel(sample_rate)(waveform)[0].numpy()
    extent = (0.0, waveform.shape[-1] / sample_rate, 0.0, float(len(features)))
    axes.imshow(features, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=np.percentile(features, 20))
    axes.set(title="its log-mel features: what the model sees", xlabel="seconds", ylabel="mel band")


def _bytes(axes: Axes, leaks: Leaks) -> None:
    for counts, name, colour in (leaks.source, "recordings", PLAIN), (leaks.store, "store", SEALED):
        axes.plot(100 * counts / counts.sum(), color=colour, label=f"{name}: {entropy(counts):.3f} bits per byte")
    axes.set(title="how often each byte value occurs", xlabel="byte value", ylabel="% of all bytes", xlim=(0, 255))
    axes.set_yscale("log")
    axes.legend()


def _loss(axes: Axes, result: Result) -> None:
    axes.plot(range(1, len(result.losses) + 1), result.losses, marker="o", color=SEALED)
    axes.set(title="training loss", xlabel="epoch", ylabel="cross-entropy")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _accuracy(axes: Axes, result: Result) -> None:
    epochs = range(1, len(result.accuracies) + 1)
    axes.plot(epochs, [100 * value for value in result.accuracies], marker="o", color=SEALED, label="the model")
    axes.axhline(100 * result.baseline, color=GREY, linestyle="--", label="always the most common voice")
    axes.set(title="which voice? texts not in training", xlabel="epoch", ylabel="% right", ylim=(0, 102))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")


def _shares(axes: Axes, shares: dict[str, float]) -> None:
    names = list(shares)
    values = [100 * shares[name] for name in names]
    bars = axes.barh(names, values, color=[PLAIN if name == "decrypt" else GREY for name in names])
    axes.bar_label(bars, labels=[f"{value:.1f} %" for value in values], padding=3)
    axes.invert_yaxis()
    axes.set(title="where the time of a sample goes", xlabel="% of its time", xlim=(0, 1.25 * max(values)))
