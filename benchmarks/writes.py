"""Writing small files through fsspec: one commit a file, and one commit for a thousand.

python -m benchmarks.writes                a minute: a folder and an S3 server on this machine
python -m benchmarks.writes --files 100    fewer files in the transaction
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import fsspec
import numpy as np

from securedata.corpus.create import create_corpus
from securedata.filesystem import SecuredataFileSystem
from tests.kit.servers import seaweed


def single(fs: SecuredataFileSystem, content: bytes, count: int) -> float:
    """Median milliseconds of a write that is a commit of its own."""
    taken = []
    for number in range(count + 3):
        begun = time.perf_counter()
        fs.pipe_file(f"single/{number}", content)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[3:]) * 1e3


def together(fs: SecuredataFileSystem, content: bytes, count: int, prefix: str) -> float:
    """Milliseconds a file in a transaction of so many."""
    begun = time.perf_counter()
    with fs.transaction:
        for number in range(count):
            fs.pipe_file(f"{prefix}/{number}", content)
    return (time.perf_counter() - begun) / count * 1e3


def measure(root: str, scratch: Path, args: argparse.Namespace) -> None:
    """Print the figures of one root."""
    name = root.partition("://")[0] if "://" in root else "folder"
    create_corpus(root, name, kms=[f"local://{scratch}/{name}.kek"])
    fs = fsspec.filesystem("securedata", root=name, writable=True, subject="ann")
    content = np.random.default_rng(0).bytes(args.bytes)
    one = single(fs, content, args.singles)
    many = [together(fs, content, args.files, f"many-{number}") for number in range(args.rounds)]
    print(
        f"{name}: {one:.1f} ms a write of {args.bytes:,} bytes; in a transaction of {args.files:,}: "
        f"{statistics.median(many):.2f} ms a file (median of {args.rounds}, {min(many):.2f} to {max(many):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="of one transaction (default: %(default)s)")
    parser.add_argument("--singles", type=int, default=30, help="writes with a commit each (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=32_000, help="of a file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="transactions (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="securedata-writes-") as folder:
        scratch = Path(folder)
        for kind in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = str(scratch / kind)
        measure(str(scratch / "sealed"), scratch, args)
        with seaweed(scratch / "seaweed") as server:
            os.environ.update(server.environment())
            measure("s3://voice/writes", scratch, args)


if __name__ == "__main__":
    main()
