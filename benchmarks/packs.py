"""Random reads of a corpus of packs beside the same corpus of single objects: one request each.

python -m benchmarks.packs                 a minute: a folder and an S3 server on this machine
python -m benchmarks.packs --objects 500   fewer recordings
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.tools.stats import Figure, estimate, figures_table
from securedata.corpus.config import resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.writer import Writer
from securedata.lifecycle.packing.pack import pack
from tests.kit.servers import seaweed

_TARGET = 0.9


def filled(root: str, name: str, scratch: Path, contents: list[bytes]) -> None:
    """A corpus with these objects."""
    create_corpus(root, name, kms=[f"local://{scratch}/{name}.kek"])
    writer = Writer(resolve(name))
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1}
    puts = [put for _, put in sorted(writer.put_objects(iter(contents)))]
    writer.commit(rows_table([{"path": f"r/{at}", **one, **put.columns()} for at, put in enumerate(puts)]))


def share(single: Corpus, packed: Corpus, paths: list[str]) -> float:
    """Median time of a read from single objects / from packs. Reads take turns, since other work comes in bursts."""
    taken: dict[int, list[float]] = {id(single): [], id(packed): []}
    for number, path in enumerate(paths):
        for one in (packed, single) if number % 2 else (single, packed):
            begun = time.perf_counter()
            one.read(path)
            taken[id(one)].append(time.perf_counter() - begun)
    return statistics.median(taken[id(single)]) / statistics.median(taken[id(packed)])


def measure(kind: str, roots: tuple[str, str], scratch: Path, args: argparse.Namespace) -> Figure:
    """Compare a corpus with the same that is packed; the rounds take turns."""
    draw = np.random.default_rng(0)
    contents = [draw.bytes(args.bytes) for _ in range(args.objects)]
    names = (f"{kind}-single", f"{kind}-packed")
    for name, root in zip(names, roots, strict=True):
        filled(root, name, scratch, contents)
    report = pack(names[1], now=True)
    assert report.objects == args.objects, "everything is in packs"
    chosen = random.Random(0)
    with open_corpus(names[0]) as single, open_corpus(names[1]) as packed:
        rounds = [[f"r/{chosen.randrange(args.objects)}" for _ in range(args.reads)] for _ in range(args.rounds + 1)]
        shares = [share(single, packed, paths) for paths in rounds]
    what = f"{kind}: random reads of {args.bytes // 1000} kB, speed in packs / as single objects"
    return Figure(what, _TARGET, estimate(shares[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2_000, help="in each corpus (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=100_000, help="of an object (default: %(default)s)")
    parser.add_argument("--reads", type=int, default=500, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="securedata-packs-") as folder:
        scratch = Path(folder)
        for kind in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = str(scratch / kind)
        figures = [measure("folder", (str(scratch / "a"), str(scratch / "b")), scratch, args)]
        shutil.rmtree(scratch / "a")
        shutil.rmtree(scratch / "b")
        with seaweed(scratch / "seaweed") as server:
            os.environ.update(server.environment())
            figures.append(measure("s3", ("s3://voice/single", "s3://voice/packed"), scratch, args))
    print(figures_table(figures))


if __name__ == "__main__":
    main()
