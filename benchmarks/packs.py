"""Random reads of a corpus of packs beside the same corpus of single objects: one request each.

From an S3 server, libcurl alone reads the same bytes in the same rounds: the whole object, and its range of the pack.
What a range costs the server more is not ours, so the last figure is divided by that.

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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pycurl

from benchmarks.tools.stats import Figure, estimate, figures_table
from securedata.corpus.config import resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.writer import Writer
from securedata.lifecycle.packing.pack import pack
from tests.kit.servers import Seaweed, seaweed

_TARGET = 0.9


def filled(root: str, name: str, scratch: Path, contents: list[bytes]) -> None:
    """A corpus with these objects."""
    create_corpus(root, name, kms=[f"local://{scratch}/{name}.kek"])
    writer = Writer(resolve(name))
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1}
    puts = [put for _, put in sorted(writer.put_objects(iter(contents)))]
    writer.commit(rows_table([{"path": f"r/{at}", **one, **put.columns()} for at, put in enumerate(puts)]))


Way = Callable[[str], object]
"""Reads one recording."""


class Bare:
    """GETs of the same bytes by libcurl alone, over one connection, with URLs that were signed before."""

    def __init__(self, server: Seaweed) -> None:
        self._client, self._urls = server.client(), dict[str, str]()
        self._curl = pycurl.Curl()
        self._curl.setopt(pycurl.TCP_NODELAY, 1)
        self._curl.setopt(pycurl.BUFFERSIZE, 512 * 1024)

    def ways(self, single: Corpus, packed: Corpus, roots: tuple[str, str], paths: Iterable[str]) -> tuple[Way, Way]:
        """Read the object of a path, and its range of a pack."""
        places: dict[tuple[str, bool], tuple[str, str, int]] = {}
        for path in paths:
            for corpus, root in zip((single, packed), roots, strict=True):
                at = corpus.snapshot.index.location(corpus.find(path))
                key = object_key(at.object_id) if at.pack is None else pack_key(at.pack)
                bytes_ = "" if at.pack is None else f"{at.offset}-{(at.offset or 0) + at.sealed_size - 1}"
                places[path, corpus is packed] = (self._url(f"{root}/{key}"), bytes_, at.sealed_size)
        return (lambda path: self._get(*places[path, False])), (lambda path: self._get(*places[path, True]))

    def _url(self, key: str) -> str:
        if key not in self._urls:
            bucket, _, name = key.removeprefix("s3://").partition("/")
            asked = {"Bucket": bucket, "Key": name}
            self._urls[key] = self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=7200)
        return self._urls[key]

    def _get(self, url: str, range_: str, size: int) -> None:
        body = bytearray()
        self._curl.setopt(pycurl.URL, url)
        self._curl.setopt(pycurl.WRITEFUNCTION, body.extend)
        if range_:
            self._curl.setopt(pycurl.RANGE, range_)
        else:
            self._curl.unsetopt(pycurl.RANGE)
        self._curl.perform()
        assert len(body) == size, self._curl.getinfo(pycurl.RESPONSE_CODE)


def medians(ways: Sequence[Way], paths: Sequence[str]) -> list[float]:
    """Median seconds of a read, each way. Reads take turns, since other work comes in bursts."""
    taken: list[list[float]] = [[] for _ in ways]
    for number, path in enumerate(paths):
        for at in range(len(ways)):
            way = (at + number) % len(ways)
            begun = time.perf_counter()
            ways[way](path)
            taken[way].append(time.perf_counter() - begun)
    return [statistics.median(one) for one in taken]


def measure(
    kind: str, roots: tuple[str, str], scratch: Path, args: argparse.Namespace, bare: Bare | None = None
) -> list[Figure]:
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
        ways: list[Way] = [single.read, packed.read]
        if bare is not None:
            ways += bare.ways(single, packed, roots, {path for paths in rounds for path in paths})
        taken = [medians(ways, paths) for paths in rounds][1:]
    what = f"{kind}: random reads of {args.bytes // 1000} kB, speed in packs / as single objects"
    ours = [one[0] / one[1] for one in taken]
    figures = [Figure(what, _TARGET, estimate(ours))]
    if bare is not None:
        theirs = [one[2] / one[3] for one in taken]
        print(f"{kind}: libcurl alone, ranges of a pack / whole objects: {estimate(theirs)}")
        fair = [one / other for one, other in zip(ours, theirs, strict=True)]
        figures.append(Figure(f"{what}, / the same by libcurl alone", _TARGET, estimate(fair)))
    return figures


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
        figures = measure("folder", (str(scratch / "a"), str(scratch / "b")), scratch, args)
        shutil.rmtree(scratch / "a")
        shutil.rmtree(scratch / "b")
        with seaweed(scratch / "seaweed") as server:
            os.environ.update(server.environment())
            figures += measure("s3", ("s3://voice/single", "s3://voice/packed"), scratch, args, Bare(server))
    print(figures_table(figures))


if __name__ == "__main__":
    main()
