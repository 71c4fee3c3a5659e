"""What one more task costs the process that commits, and what a worker needs: the figures of docs/scale.md.

python -m benchmarks.scale                a minute: 4,000 small files, sealed by two other processes
python -m benchmarks.scale --rows 100000  and a manifest part of so many rows, its bytes a row
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.data.rows import synthetic
from securedata.corpus.check.verify import verify
from securedata.corpus.state.tables import seal_table
from securedata.ingest.ingest import ingest
from tests.kit.sources.recordings import clip, write_clips


class Counting(Executor):
    """Counts what goes to the processes of another executor, and what comes back."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.slots = inner, 2
        self.tasks = self.sent = self.received = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks += 1
        self.sent += len(args[1]) + sum(len(one) for one in args[0].values() if isinstance(one, bytes))
        future: Future[Any] = self.inner.submit(fn, *args, **kwargs)
        future.add_done_callback(self.count)
        return future

    def count(self, future: Future[Any]) -> None:
        self.received += len(future.result()[1])


def memory() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def described(name: str, counting: Counting, objects: int, cpu: float, wall: float) -> str:
    return (
        f"{name}: {objects:,} objects in {counting.tasks:,} tasks, {wall:.1f} s; of the process that commits "
        f"{cpu / objects * 1e6:.0f} us CPU an object; {counting.sent / objects:.0f} bytes sent and "
        f"{counting.received / objects:.0f} received an object"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4000, help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="of the manifest part (default: %(default)s)")
    args = parser.parse_args()
    part, sealed = seal_table(next(synthetic(args.rows, at_most=args.rows)), bytes(16))
    print(f"a manifest part of {part.rows:,} rows: {len(sealed) / part.rows:.0f} bytes a row")
    with tempfile.TemporaryDirectory(prefix="securedata-scale-") as folder:
        scratch = Path(folder)
        for kind in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = str(scratch / kind)
        names = [f"spk{n % 50}/utterance-{n:06d}.wav" for n in range(args.files)]
        source = write_clips(scratch / "wavs", [clip(one, 0.1, 8000, seed=n) for n, one in enumerate(names)])
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
            begun = time.perf_counter()
            first = processes.submit(memory).result()
            print(f"a worker begins in {time.perf_counter() - begun:.1f} s with {first / 1e6:.0f} MB")
            for name in ("encrypt", "verify"):
                counting = Counting(processes)
                begun, cpu = time.perf_counter(), time.process_time()
                if name == "encrypt":
                    ingest(source, scratch / "a", speaker_pattern="{speaker}/{utterance}", engine=counting)
                else:
                    verify(scratch / "a", engine=counting)
                print(described(name, counting, args.files, time.process_time() - cpu, time.perf_counter() - begun))
            print(f"a worker has had {processes.submit(memory).result() / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
