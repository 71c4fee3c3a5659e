"""Cuts a second that lhotse loads from S3: a batch at once by `BatchLoader`, beside one URL after the other.

python -m benchmarks.sections.lhotse_cuts ROUNDS BATCH ROOT KMS PIN     in .venv-eco, which has lhotse; writes JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import corpora
from benchmarks.tools import nginx
from benchmarks.tools.stats import Figure, estimate
from tests.kit.servers import seaweed

CHECKOUT = Path(__file__).resolve().parents[2]
ECO = CHECKOUT / ".venv-eco" / "bin" / "python"
TARGET = 3.0
LATENCY = 0.02
"""Seconds that nginx adds to each request: without it, both only decode on cores that they share with the server."""


def measure(work: Path, files: Sequence[Path], runs: int, batch: int) -> tuple[list[Figure], dict[str, object]]:
    """The ratio of the two, in rounds by turns, of a corpus in an object store on this machine.

    Without what it needs there is no figure, and a remark that says so.
    """
    if not ECO.exists():
        return [], {"remark": "not run: there is no .venv-eco ('make eco' makes it)"}
    with seaweed(work / "seaweed") as server:
        os.environ.update(server.environment())
        made = corpora.corpus("s3://voice/cuts", work / "cuts.kek", files, len(files))
        command = [str(ECO), "-m", "benchmarks.sections.lhotse_cuts", str(runs), str(batch)]
        with nginx.fronts(server.endpoint, work / "nginx", LATENCY) as doors:
            if doors is None:
                return [], {"remark": "not run: there is no nginx with Lua (as root on Debian, apt installs it)"}
            done = subprocess.run(
                [*command, made.root, made.kms, made.pin], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True,
                env=os.environ | {"AWS_ENDPOINT_URL": doors.slow},
            )  # fmt: skip
    found = json.loads(done.stdout)
    shares = estimate(one["batch"] / one["each"] for one in found["rounds"])
    figure = Figure(
        f"lhotse, batches of {batch} cuts behind 20 ms: BatchLoader / one URL after another", TARGET, shares
    )
    return [figure], found


def rounds(count: int, batch: int, root: str, kms: str, pin: str) -> list[dict[str, float]]:
    """Cuts a second by each way; every round loads each cut by both, and they take turns at going first."""
    from lhotse import CutSet

    import securedata as sd

    cuts = list(sd.lhotse.cuts(sd.EncryptedAudioDataset(root, kms=kms, pin=pin)))
    batches = [CutSet.from_cuts(cuts[at : at + batch]) for at in range(0, len(cuts), batch)]
    load = sd.lhotse.BatchLoader()

    def speed(prepare: Callable[[Any], Any]) -> float:
        begun = time.perf_counter()
        for one in batches:
            for cut in prepare(one):
                cut.load_audio()
        return len(cuts) / (time.perf_counter() - begun)

    ways: dict[str, Callable[[Any], Any]] = {"batch": load, "each": iter}
    found = []
    for number in range(count + 1):
        order = list(ways) if number % 2 else list(reversed(ways))
        found.append({name: speed(ways[name]) for name in order})
    return found[1:]  # the first opens connections


if __name__ == "__main__":
    _, count, batch, *where = sys.argv
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump({"rounds": rounds(int(count), int(batch), *where)}, answers)
    answers.close()
