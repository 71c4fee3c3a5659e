"""`python -m tests.peers [pytest's options]`: libraries that exclude each other, each file in the venv of a benchmark.

A venv is made when it is missing or has other pins, without dependencies, so that no torch is replaced. What fails in
one does not keep the others from running.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers import venv
from tests.kit.docs.tree import ROOT
from tests.kit.servers import seaweed
from tests.peers.conftest import GIVEN

ROOMS = {
    "loading": ("s3fs, s3torchconnector, litdata; about 120 MB", ("test_litdata.py",)),
    "shards": ("webdataset, mosaicml-streaming, litdata; 250 MB", ("test_mosaic.py",)),
    "hf": ("datasets, s3fs, speechbrain; about 200 MB", ("test_speechbrain.py", "test_s3fs.py")),
}
"""For each venv what it brings, and the tests that run in it."""


def main(options: list[str]) -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="securedata-peers-") as folder, seaweed(Path(folder)) as server:
        given = {f"{GIVEN}{name}": value for name, value in server.environment().items()}
        for name, (what, files) in ROOMS.items():
            requirements = ROOT / f"benchmarks/peers/{name}-requirements.txt"
            python = venv.python_of(ROOT / f".venv-peers-{name}", requirements, what)
            # their packages warn of each other, so warnings are no errors here
            command = [str(python), "-m", "pytest", "-W", "default", *(f"tests/peers/{file}" for file in files)]
            print(f"== .venv-peers-{name}", flush=True)
            done = subprocess.run([*command, *options], cwd=ROOT, env={**os.environ, **given})
            failed += [name] if done.returncode else []
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
