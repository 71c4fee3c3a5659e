"""A bar chart of the results of benchmarks.loading: samples per second, and the workers' CPU per sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.tools.loading_figures import Measured
from benchmarks.tools.stats import estimate


def draw(path: Path, found: Mapping[str, Measured]) -> bool:
    """Write the chart. False if there is no matplotlib or no section to show."""
    shown = [one for name, one in found.items() if name.startswith("latency")]
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    if not shown:
        return False
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(shown), 2, figsize=(11, 3.4 * len(shown)), squeeze=False, layout="constrained")
    for row, one in zip(axes, shown, strict=True):
        names = list(one.rounds)
        colours = ["#2f6f9f" if name.startswith("securedata") else "#9a9a9a" for name in names]
        for axis, values, label in (
            (row[0], {name: estimate(one.per_second(name)) for name in names}, "samples/s"),
            (row[1], {name: estimate(s * 1e3 for s in one.cpu(name)) for name in names}, "worker CPU, ms a sample"),
        ):
            medians = [values[name].median for name in names]
            below = [values[name].median - values[name].low for name in names]
            above = [values[name].high - values[name].median for name in names]
            axis.barh(names, medians, xerr=[below, above], color=colours, error_kw={"linewidth": 1})
            axis.invert_yaxis()
            axis.set(title=f"{one.name}: {label}")
        row[1].tick_params(labelleft=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True
