"""A corpus of a million rows: opening it, reading from it, and the private memory of each DataLoader worker.

    python -m benchmarks.sections.million ROLE JSON     one measurement in a process of its own; corpus.py calls this

Memory is measured in fresh processes, so that an earlier measurement's memory does not hide a later one's peak.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.data.corpora import Made, real_rows
from benchmarks.tools.contender import ROOT
from benchmarks.tools.process import environment, forget_peak, peak_resident, private_dirty, resident, unmapped_memfds
from benchmarks.tools.stats import Figure, estimate
from benchmarks.tools.timing import Call, by_turns, run

SECONDS = 3.0
PEAK_MB = 600.0
WORKER_MB = 60.0
SAME = 1.0
METHODS = ("fork", "spawn", "forkserver")
WORKERS = 2


def measure_opening(work: Path, made: Made, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """Seconds and peak memory of opening, as a corpus and as a dataset.

    The index's memfds count in full, although their pages are resident only once they are touched.
    """
    figures, found = [], {}
    for what in ("corpus", "dataset"):
        opened = found[what] = [role(work, f"open-{what}", made) for _ in range(runs)]
        name = f"open the {what} of {made.rows:,} rows"
        seconds = estimate(one["seconds"] for one in opened)
        peak = estimate((one["peak_above"] + one["memfds"]) / 1e6 for one in opened)
        figures.append(Figure(f"{name}: time", SECONDS, seconds, at_most=True, unit="s"))
        figures.append(Figure(f"{name}: peak RSS above before, memfds whole", PEAK_MB, peak, at_most=True, unit="MB"))
    return figures, {"rows": made.rows, "runs": found}


def measure_workers(
    work: Path, made: Made, runs: int, methods: Sequence[str], ttl: float
) -> tuple[list[Figure], dict[str, object]]:
    """Private_Dirty of workers that read and renew, above that of workers whose dataset returns torch.zeros(1).

    Keys last only `ttl` seconds, so that each worker renews its own while it is measured.
    """
    figures, found = [], {}
    for method in methods:
        pairs = []
        for _ in range(runs):
            base = role(work, "workers", made, method=method, ttl=ttl, baseline=True)
            ours = role(work, "workers", made, method=method, ttl=ttl, baseline=False)
            pairs.append({"baseline": base, "ours": ours})
        above = estimate((_worst(pair["ours"]) - _worst(pair["baseline"])) / 1e6 for pair in pairs)
        name = f"{method} worker over {made.rows:,} rows: Private_Dirty above baseline"
        figures.append(Figure(name, WORKER_MB, above, at_most=True, unit="MB"))
        found[method] = pairs
    return figures, {"rows": made.rows, "ttl": ttl, "runs": found}


def measure_same(small: Made, large: Made, rounds: int) -> tuple[list[Figure], dict[str, object]]:
    """CPU of `ds[i]` for the same clips in a large and in a small corpus, in turn."""
    sides: list[list[Call]] = []
    for made in (small, large):
        dataset = _dataset(made)
        sides.append([partial(dataset.__getitem__, i) for i in real_rows(dataset.metadata)])
        run(sides[-1], len(sides[-1]))
    pairs = [by_turns(*sides) for _ in range(rounds)]
    ratio = estimate(of_large / of_small for of_small, of_large in pairs)
    name = f"ds[i] at {large.rows:,} rows / at {small.rows:,} rows"
    count = len(sides[0])
    each = [[of_small / count * 1e3, of_large / count * 1e3] for of_small, of_large in pairs]
    return [Figure(name, SAME, ratio, at_most=True, unit="x")], {"clips": count, "ms_each": each}


def role(work: Path, name: str, made: Made, **more: object) -> dict[str, Any]:
    """One measurement in a fresh process, which prints its answer as its last line."""
    command = [sys.executable, "-m", "benchmarks.sections.million", name, json.dumps(asdict(made) | more)]
    done = subprocess.run(command, cwd=ROOT, env=environment(work), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]  # an object, printed below


def _worst(found: dict[str, Any]) -> float:
    return float(max(worker["private_dirty"] for worker in found["workers"]))


# ------------------------------------------------------------------------------------------- in a process of its own


def _dataset(made: Made, ttl: float = 3600.0) -> Any:
    from securedata.torch.dataset import EncryptedAudioDataset

    return EncryptedAudioDataset(made.root, kms=made.kms, pin=made.pin, ttl=ttl)


def opening(what: str, made: Made) -> dict[str, Any]:
    import torch  # noqa: F401 - so that its memory does not count as the corpus's

    from securedata.corpus.opening import open_corpus

    gc.collect()
    forget_peak()
    before, began, cpu = resident(), time.perf_counter(), time.process_time()
    if what == "corpus":
        opened = open_corpus(made.root, kms=made.kms, pin=made.pin)
    else:
        opened = _dataset(made)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if len(opened) != made.rows:
        raise AssertionError(f"{len(opened)} rows, not {made.rows}")
    peak, after = peak_resident() - before, resident() - before
    return {"seconds": seconds, "cpu": cpu, "peak_above": peak, "after_above": after, "memfds": unmapped_memfds()}


class Probe:
    """A dataset that reads `inner` and returns the private memory of the worker that read it."""

    def __init__(self, inner: Any, rows: list[int]) -> None:
        self.inner = inner
        self.rows = rows

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, k: int) -> dict[str, Any]:
        self.inner[self.rows[k % len(self.rows)]]
        time.sleep(0.01)
        corpora = getattr(self.inner, "corpora", ())
        renewals = sum(corpus.counters.unwraps for corpus in corpora)
        return {"pid": os.getpid(), "private_dirty": private_dirty(), "unwraps": renewals}


class Zeros:
    def __getitem__(self, k: int) -> Any:
        import torch

        return torch.zeros(1)


def workers(made: Made, method: str, ttl: float, baseline: bool) -> dict[str, Any]:
    from torch.utils.data import DataLoader

    if baseline:
        probe = Probe(Zeros(), [0])
    else:
        dataset = _dataset(made, ttl=ttl)
        probe = Probe(dataset, real_rows(dataset.metadata))
    loader = DataLoader(probe, batch_size=None, num_workers=WORKERS, multiprocessing_context=method)
    last: dict[int, dict[str, Any]] = {}
    began = time.monotonic()
    for found in loader:
        last[found["pid"]] = found
        enough = time.monotonic() - began > (1.0 if baseline else 2 * ttl)
        renewed = baseline or all(one["unwraps"] for one in last.values())
        if len(last) == WORKERS and renewed and enough:
            break
    return {"workers": list(last.values()), "parent_private_dirty": private_dirty()}


def main(name: str, config: dict[str, Any]) -> None:
    more = {key: config.pop(key) for key in ("method", "ttl", "baseline") if key in config}
    made = Made(**config)
    if name.startswith("open-"):
        answer = opening(name.removeprefix("open-"), made)
    else:
        answer = workers(made, **more)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
