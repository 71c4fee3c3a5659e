"""The plot for `--png`. matplotlib is an optional extra, imported only here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securedata.bench.estimate import Estimate
from securedata.bench.loading import STAGES, Loading
from securedata.bench.throughput import Result, Throughput
from securedata.bench.units import number, size_name
from securedata.bench.work import AES_GCM, MEMCPY, SECUREDATA
from securedata.errors import ConfigError, InvalidArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _PALE, _ORANGE, _DARK, _LIGHT = "#1f5fa8", "#9dbfe0", "#c8541a", "#4a4a4a", "#a5a5a5"
_LINES = {
    MEMCPY: ("memcpy", _LIGHT, "s"),
    AES_GCM: ("one-shot AES-GCM: the limit", _DARK, "^"),
    SECUREDATA: ("securedata, whole objects", _BLUE, "o"),
}


def check(path: Path) -> None:
    """Check that the plot can be made, before anything is measured.

    Raises:
        ConfigError: matplotlib is not installed.
        InvalidArgument: there is no folder to write to.
    """
    try:
        import matplotlib.figure  # noqa: F401 - checks that it is installed
    except ImportError:
        raise ConfigError(
            "--png needs matplotlib, which is not installed: install the extra securedata-torch[plot]"
        ) from None
    if not path.parent.is_dir():
        raise InvalidArgument(f"--png: there is no folder {path.parent}; create it first")


def plot_throughput(measured: Throughput, host: dict[str, Any], path: Path) -> None:
    """Left: the fewest workers, by object size, beside the limits. Right: the gain from each added worker."""
    workers = measured.workers
    figure, axes = _figure(2 if len(workers) > 1 else 1)
    _by_size(axes[0], measured.of(workers[0]), workers[0])
    if len(workers) > 1:
        _by_workers(axes[1], measured)
    about = f"medians of {measured.rounds} rounds, bars: 95 % intervals"
    _finish(figure, "Decryption from memory into a reused buffer", host, about, path)


def plot_loading(measured: Sequence[Loading], host: dict[str, Any], corpus: dict[str, Any], path: Path) -> None:
    """Left: samples per second. Right: milliseconds per sample, by stage."""
    figure, axes = _figure(2)
    names = [str(loading.workers) for loading in measured]
    rates = [loading.per_second("samples") for loading in measured]
    medians = [rate.median for rate in rates]
    axes[0].bar(names, medians, yerr=_bars(rates), color=_BLUE, width=0.42, capsize=4)
    for name, rate in zip(names, rates, strict=True):
        _note(axes[0], number(rate.median), name, rate.high, _DARK, (0, 5), "center")
    axes[0].set_ylabel("samples per second")
    axes[0].set_xlabel("DataLoader workers (0: the main process)")
    axes[0].set_title("How fast samples arrive", loc="left", fontsize=11)
    base = [0.0] * len(names)
    for stage, colour in zip(STAGES, (_LIGHT, _ORANGE, _BLUE, _PALE), strict=True):
        times = [loading.ms_per_sample(stage).median for loading in measured]
        axes[1].bar(names, times, bottom=base, color=colour, width=0.42, label=stage)
        base = [a + b for a, b in zip(base, times, strict=True)]
    for name, top, loading in zip(names, base, measured, strict=True):
        share = f"decryption: {100 * loading.decrypt_share().median:.2g} %"
        _note(axes[1], share, name, top, _ORANGE, (0, 5), "center")
    axes[1].set_ylabel("milliseconds of a worker's time per sample")
    axes[1].set_xlabel("DataLoader workers (0: the main process)")
    axes[1].set_title("Where the time of a sample goes", loc="left", fontsize=11)
    axes[1].legend(frameon=False, fontsize=9, reverse=True, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for one in axes:
        one.margins(x=0.15, y=0.1)
        one.grid(visible=False, axis="x")
    name = corpus["name"] or corpus["root"]
    about = f"{corpus['rows']:,} recordings; medians of {len(measured[0].slices)} rounds, bars: 95 % intervals"
    _finish(figure, f"From sealed objects to tensors: {name}", host, about, path)


def _figure(panels: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure  # not pyplot, which needs a display and keeps state

    figure = Figure(figsize=(7.2 * panels, 5.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, which="major", color="#e6e6e6", linewidth=0.8)
        one.set_axisbelow(True)
    return figure, list(axes)


def _finish(figure: Figure, title: str, host: dict[str, Any], about: str, path: Path) -> None:
    wide = [name for name in ("vaes", "avx512f", "aes", "pmull") if host["flags"].get(name)]
    packages = host["packages"]
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(
        f"{host['cpu']}, {host['cores']} cores ({', '.join(wide) or 'no AES instructions known'}); "
        f"cryptography {packages['cryptography']}, {host['openssl']}\n{about}",
        fontsize=8.5,
        color="#555555",
        x=0.01,
        ha="left",
    )
    figure.savefig(path, format="png", dpi=150)


def _bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    return [[one.median - one.low for one in estimates], [one.high - one.median for one in estimates]]


def _by_size(axes: Axes, results: Sequence[Result], workers: int) -> None:
    whole = sorted((result for result in results if result.case.length is None), key=lambda result: result.case.size)
    sizes = [result.case.size for result in whole]
    for method, (label, colour, marker) in _LINES.items():
        rates = [result.gb_per_s(method) for result in whole]
        axes.errorbar(
            sizes,
            [rate.median for rate in rates],
            yerr=_bars(rates),
            label=label,
            color=colour,
            marker=marker,
            linewidth=2.4 if method == SECUREDATA else 1.4,
            capsize=3,
        )
        if method == SECUREDATA:
            for size, rate in zip(sizes, rates, strict=True):
                _note(axes, number(rate.median), size, rate.median, colour, (-6, 6), "right")
    ranges = sorted((result for result in results if result.case.length), key=lambda result: result.case.bytes)
    if ranges:
        rates = [result.gb_per_s(SECUREDATA) for result in ranges]
        axes.errorbar(
            [result.case.bytes for result in ranges],
            [rate.median for rate in rates],
            yerr=_bars(rates),
            label=f"securedata, ranges out of {size_name(ranges[0].case.size)}",
            color=_ORANGE,
            marker="D",
            markerfacecolor="white",
            linestyle=":",
            capsize=3,
        )
        for result, rate in zip(ranges, rates, strict=True):
            _note(axes, size_name(result.case.bytes), result.case.bytes, rate.median, _ORANGE, (8, -4), "left")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [size_name(size) for size in sizes])
    axes.set_xticks([], minor=True)
    _plain_numbers(axes)
    axes.margins(x=0.13, y=0.08)
    axes.set_xlabel("size of the object, or of the range")
    axes.set_ylabel("GB/s of plaintext")
    axes.set_title("1 worker: one core" if workers == 1 else f"{workers} workers together", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def _note(axes: Axes, text: str, x: float | str, y: float, colour: str, offset: tuple[int, int], side: str) -> None:
    axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", color=colour, fontsize=9, ha=side)


def _by_workers(axes: Axes, measured: Throughput) -> None:
    from matplotlib import colormaps

    counts = measured.workers
    columns = [[result for result in measured.of(count) if result.case.length is None] for count in counts]
    lines = list(zip(*columns, strict=True))
    limit = [result.gb_per_s(AES_GCM) for result in lines[-1]]
    axes.errorbar(
        counts,
        [rate.median for rate in limit],
        yerr=_bars(limit),
        label=f"one-shot AES-GCM, {lines[-1][0].case.name}",
        color=_DARK,
        marker="^",
        linestyle="--",
        linewidth=1.4,
        capsize=3,
    )
    for place, line in reversed(list(enumerate(lines, 1))):
        rates = [result.gb_per_s(SECUREDATA) for result in line]
        axes.errorbar(
            counts,
            [rate.median for rate in rates],
            yerr=_bars(rates),
            label=f"securedata, {line[0].case.name}",
            color=colormaps["Blues"](0.25 + 0.7 * place / len(lines)),
            marker="o",
            linewidth=2,
            capsize=3,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.set_yscale("log")  # like the other axis, so that a proportional gain is a straight line
    _plain_numbers(axes)
    axes.set_xlabel("workers (processes)")
    axes.set_ylabel("GB/s of plaintext, all workers together")
    axes.set_title("By number of workers", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _plain_numbers(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks([], minor=True)
