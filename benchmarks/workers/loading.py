"""A process for one contender of benchmarks.loading: keeps its DataLoader alive, and times epochs on request.

python -m benchmarks.workers.loading CONTENDER

Requests and answers are lines of JSON: {"do": "begin", "environment": {}, "spec": {}, "batch": 32, "workers": 2,
"core": null},
{"do": "run", "batches": 8}, {"do": "check"}, {"do": "end"}.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any


class Batches:
    """The same shuffled batches for all contenders; `number` of them in each run."""

    def __init__(self, recordings: int, size: int) -> None:
        order = list(range(recordings))
        random.Random(1).shuffle(order)
        self.size = size
        self.all = [order[at : at + size] for at in range(0, recordings - size + 1, size)] or [order]
        self.number = len(self.all)
        self.indices: list[int] = list(range(recordings))

    def numbers(self) -> Iterator[list[int]]:
        return islice(cycle(self.all), self.number)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.numbers():
            yield [self.indices[number] for number in batch]

    def __len__(self) -> int:
        return self.number


class Loading:
    """A DataLoader whose workers run from `begin` to `end`."""

    def __init__(self, name: str, spec: Any, batches: Batches, workers: int, core: int | None) -> None:
        import torch
        from torch.utils.data import DataLoader

        from benchmarks.workers import loaders

        torch.set_num_threads(1)
        made = loaders.LOADERS[name](spec)
        batches.indices = list(made.indices)
        self._loader: Any = DataLoader(
            made.dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=loaders.collate,
            persistent_workers=True,
            multiprocessing_context="fork",
            worker_init_fn=None if core is None else lambda _: os.sched_setaffinity(0, {core}),
        )
        self._batches = batches
        self._size = batches.size
        self._last: dict[int, tuple[float, float]] = {}

    def run(self) -> dict[str, Any]:
        before, samples, sums = dict(self._last), 0, []
        stamps: dict[int, list[tuple[float, float]]] = {}
        began = time.perf_counter()
        for batch in self._loader:
            samples += len(batch.waveforms)
            self._last[batch.worker] = (batch.cpu, batch.sealing)
            stamps.setdefault(batch.worker, []).append((batch.at, batch.unblocked))
            if not before:
                sums.append(float(batch.waveforms.double().abs().sum()))
        wall = time.perf_counter() - began
        spent = [
            sum(now[which] - before.get(pid, (0.0, 0.0))[which] for pid, now in self._last.items()) for which in (0, 1)
        ]
        # between the first and the last batch of each worker: what it did neither run nor wait for a core
        blocked = sum(last[0] - first[0] - (last[1] - first[1]) for first, last in map(_ends, stamps.values()))
        awaited = sum(len(its) - 1 for its in stamps.values()) * self._size
        return {
            "samples": samples,
            "wall": wall,
            "cpu": spent[0],
            "sealing": spent[1],
            "blocked": blocked / max(awaited, 1),
            "sums": sums,
        }


def _ends(stamps: list[tuple[float, float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    return stamps[0], stamps[-1]


class Fetching:
    """Fetch bytes into this process, without workers and decoding."""

    def __init__(self, name: str, spec: Any, batches: Batches, workers: int, core: int | None) -> None:
        from benchmarks.workers import loaders

        self._read = loaders.BYTES[name](spec)
        self._batches = batches

    def run(self) -> dict[str, Any]:
        numbers = [number for batch in self._batches.numbers() for number in batch]
        began, cpu = time.perf_counter(), time.process_time()
        size = self._read(numbers)
        took = time.perf_counter() - began
        return {"samples": len(numbers), "wall": took, "cpu": time.process_time() - cpu, "bytes": size, "sums": []}


def main() -> None:
    (name,) = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints goes to stderr
    running: Loading | Fetching | None = None
    batches = Batches(1, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "begin":
            os.environ.update(request["environment"])
            from benchmarks.workers import loaders

            spec = loaders.Spec(**request["spec"])
            batches = Batches(len(spec.plain), request["batch"])
            kind = Fetching if name in loaders.BYTES else Loading
            running = kind(name, spec, batches, request["workers"], request.get("core"))
        elif request["do"] == "run":
            assert running is not None
            batches.number = request["batches"]
            answer = running.run()
        else:
            running = None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
