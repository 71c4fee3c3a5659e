"""A recording of 4 GB (in `make test-full`; else of 200 MB) sealed, streamed and read by range in less than 300 MB."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.corpora.cloud import Cloud
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")

BOUND = 300_000_000
PIECE = 1 << 20

READ = """
import sys
from securedata.corpus.opening import open_corpus
import fsspec
from tests.kit.cli.peak import peak
name, size = sys.argv[1], int(sys.argv[2])
with open_corpus(name) as corpus:
    for at in (0, size // 2, size - 100_000):
        assert len(corpus.read_range("long.wav", at, 100_000)) == 100_000
with fsspec.open(f"securedata://{name}/long.wav", "rb") as file:
    read = 0
    while piece := file.read(8_000_000):
        read += len(piece)
assert read == size
print(peak(), file=sys.stderr)
"""


SIZES = [200_000_000, 4_000_000_000]
"""Bytes of the recording. Held as a whole, beside the 120 MB of the program itself, even the first breaks the bound."""


def recording(path: Path, size: int) -> Path:
    """A WAV without a sound, but for its beginning; sparse."""
    start = clip("a.wav", 1).data
    with path.open("wb") as file:
        file.write(start[:4] + (size - 8).to_bytes(4, "little") + start[8:40] + (size - 44).to_bytes(4, "little"))
        file.write(start[44:])
        file.truncate(size)
    return path


def peak_of(*command: str, digest: object = None) -> int:
    """Run it, with what it writes to standard output fed to a hash, and give its peak in bytes."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        while piece := process.stdout.read(PIECE):
            if digest is not None:
                digest.update(piece)  # type: ignore[attr-defined]  # hashlib's type has no public name
        said = process.stderr.read().decode()
    assert process.returncode == 0, said
    return int(said.splitlines()[-1])


@pytest.mark.full
@pytest.mark.quiet
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", SIZES)
def test_a_large_recording_in_bounded_memory(cloud: Cloud, tmp_path: Path, size: int) -> None:
    (tmp_path / "raw").mkdir()
    path = recording(tmp_path / "raw" / "long.wav", size)
    expected = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            expected.update(piece)
    root = cloud.make("sealed", [])
    encrypt = ("-m", "tests.kit.cli.peak", "encrypt", "--one-subject", "ann", "-q")
    peaks = {"sealed": peak_of(*encrypt, str(tmp_path / "raw"), root.name)}
    streamed = hashlib.sha256()
    peaks["streamed"] = peak_of("-m", "tests.kit.cli.peak", "cat", root.name, "long.wav", digest=streamed)
    assert streamed.digest() == expected.digest()
    peaks["read by range and by fsspec"] = peak_of("-c", READ, root.name, str(size))

    bucket, key = "voice", f"{cloud.prefix}/raw/long.wav"
    cloud.weed.client().upload_file(str(path), bucket, key)
    copy = cloud.make("copy", [])
    peaks["from a bucket"] = peak_of(*encrypt, f"s3://{bucket}/{cloud.prefix}/raw", copy.name)
    peaks["on a disk"] = peak_of(*encrypt, str(tmp_path / "raw"), f"{tmp_path}/local")
    assert max(peaks.values()) < BOUND, peaks
